"""A LangGraph agent and a CrewAI crew that share what they know.

Both keep it in one file: the crew recalls what the agent learns, and vice
versa. Models and embeddings are stand-ins, so it runs offline.

    pip install "crewai-swarmstate[crewai]" langgraph langgraph-checkpoint-swarmstate
    python examples/crewai/crew_and_graph.py [FOLDER]
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import re
import tempfile
from pathlib import Path
from typing import Any, TypedDict

# CrewAI reads these when it is imported.
os.environ.update(CREWAI_DISABLE_TELEMETRY="true", CREWAI_TRACING_ENABLED="false")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")

from crewai import Agent, Crew, Task
from crewai.llms.base_llm import BaseLLM
from crewai.memory.types import MemoryRecord
from crewai.memory.unified_memory import Memory
from crewai_swarmstate import SwarmStateStorage, install, shared_store
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.graph import END, START, StateGraph
from pydantic import Field


def embed(texts: list[str]) -> list[list[float]]:
    """Stand in for a model: texts that share words are near each other."""
    return [_embed(text) for text in texts]


def _embed(text: str) -> list[float]:
    vector = [0.0] * 128
    for word in re.findall(r"\w+", text.lower()):
        digest = hashlib.sha256(word.encode()).digest()
        vector[digest[0] % 128] += 1.0
    norm = math.hypot(*vector) or 1.0
    return [each / norm for each in vector]


class StandIn(BaseLLM):
    """Gives a fixed answer and records what it was asked."""

    answer: str
    asked: list[str] = Field(default_factory=list)

    def call(self, messages: Any, *args: Any, **kwargs: Any) -> str:
        """Return the answer in the form CrewAI expects."""
        self.asked.append(str(messages))
        return f"Thought: I know.\nFinal Answer: {self.answer}"


class State(TypedDict, total=False):
    """The state of the LangGraph agent."""

    heard: str
    question: str
    recalled: list[str]


def agent(memories: SwarmStateStorage, saver: SwarmStateSaver) -> Any:
    """Return a graph that remembers what it hears and recalls what it is asked about."""

    def remember(state: State) -> State:
        if heard := state.get("heard"):
            [embedding] = embed([heard])
            memories.save([MemoryRecord(content=heard, scope="/shared", embedding=embedding)])
        return {}

    def recall(state: State) -> State:
        [embedding] = embed([state["question"]])
        found = memories.search(embedding, limit=2)
        return {"recalled": [record.content for record, _ in found]}

    builder = StateGraph(State)
    builder.add_node("remember", remember)
    builder.add_node("recall", recall)
    builder.add_edge(START, "remember")
    builder.add_edge("remember", "recall")
    builder.add_edge("recall", END)
    return builder.compile(checkpointer=saver)


def crew(question: str, answer: str) -> tuple[str, str]:
    """Let a crew with memory answer; return its answer and its model's prompt."""
    llm = StandIn(model="stand-in", answer=answer)
    clerk = Agent(role="harbor clerk", goal="help ships", backstory="patient", llm=llm)
    task = Task(description=question, expected_output="a line", agent=clerk)
    memory = Memory(llm=llm, embedder=embed)
    result = Crew(agents=[clerk], tasks=[task], memory=memory).kickoff()
    memory.drain_writes()
    return str(result), llm.asked[0]


def check(claim: str, holds: bool) -> None:
    """Print a claim, and stop if it is false."""
    print(f"   {'ok' if holds else 'WRONG'}: {claim}", flush=True)
    if not holds:
        raise SystemExit(1)


def main(folder: Path) -> None:
    """Let the agent and the crew learn from each other."""
    folder.mkdir(parents=True, exist_ok=True)
    uri = folder / "shared.db"
    install(uri)
    memories = SwarmStateStorage(uri)
    graph = agent(memories, SwarmStateSaver(shared_store(uri)))
    config = {"configurable": {"thread_id": "harbor"}}

    print("The LangGraph agent hears something.")
    graph.invoke({"heard": "The lighthouse lamp is green", "question": "lamp"}, config)

    print("The CrewAI crew is asked about it.")
    answer, asked = crew("Which color is the lighthouse lamp?", "The pilot boat leaves at six")
    check("the crew was reminded of what the agent had heard", "lamp is green" in asked)

    print("The LangGraph agent is asked about what the crew said.")
    state = graph.invoke({"heard": "", "question": "When does the pilot boat leave?"}, config)
    check("the agent recalls what the crew said", any(answer in each for each in state["recalled"]))

    history = list(graph.get_state_history(config))
    check("the agent's own thread is in the same file", len(history) > 4)
    print(f"Namespaces of {uri.name}: {', '.join(shared_store(uri).namespaces())}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(options.folder or Path(temporary))
