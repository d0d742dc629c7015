"""One kickoff of a crew with memory; prints the recalled memories and the prompt."""

from __future__ import annotations

import os
import sys

from crewai import Agent, Crew, Task
from crewai.memory import unified_memory
from crewai_swarmstate import install

from tests.crewai.helpers.offline import ScriptedLLM, embed

uri, topic, answer = sys.argv[1:]
install(uri)
# Replaces CrewAI's default embedder, so that no network is needed.
unified_memory._default_embedder = lambda: embed  # type: ignore[assignment, return-value]

llm = ScriptedLLM(model="scripted", answer=answer)
agent = Agent(role="clerk", goal="know things", backstory="patient", llm=llm)
task = Task(description=topic, expected_output="a line", agent=agent)
crew = Crew(agents=[agent], tasks=[task], memory=True)
crew.kickoff()
memory = crew._memory
assert isinstance(memory, unified_memory.Memory)
# CrewAI writes memories in the background.
memory.drain_writes()
print("PROMPT", repr(llm.prompts[0]), flush=True)
print("MEMORIES", memory._storage.count(), flush=True)
os._exit(0)
