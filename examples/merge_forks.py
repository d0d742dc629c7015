"""Fork a thread, let both branches continue, and merge what they found.

Two analysts continue from the same checkpoint without knowing about each other. What they
write to channels of `swarmstate.merge` joins without conflicts: the findings of both,
what both spent, and the later of two verdicts.

    python examples/merge_forks.py
    python examples/merge_forks.py agents.db
"""

from __future__ import annotations

import argparse
from typing import Annotated, Any

from langchain_core.messages import AnyMessage
from langgraph.checkpoint.swarmstate import SwarmStateSaver, add_messages
from langgraph.graph import START, StateGraph
from swarmstate.merge import LWWMap, ORSet, PNCounter, merge
from typing_extensions import TypedDict

SOURCES = {
    "sales": {"lamps sell in autumn", "desk lamps are returned most"},
    "support": {"desk lamps are returned most", "the switch breaks"},
}


class State(TypedDict):
    """What the branches share; `branch` names the writer, one per fork."""

    branch: str
    messages: Annotated[list[AnyMessage], add_messages]
    findings: Annotated[ORSet, merge]
    open_questions: Annotated[ORSet, merge]
    budget: Annotated[PNCounter, merge]
    verdicts: Annotated[LWWMap, merge]


def analyse(state: State) -> dict[str, Any]:
    """Examine the branch's source."""
    me = state["branch"]
    found = SOURCES.get(me, set())
    verdict = f"{len(found)} findings from {me}"
    return {
        "messages": [("ai", f"{me}: {verdict}")],
        "findings": state["findings"].add(*sorted(found), replica=me),
        "open_questions": state["open_questions"].remove(f"what does {me} know?"),
        "budget": state["budget"].decrement(me, 10 * len(found)),
        "verdicts": state["verdicts"].set("lamps", verdict, replica=me),
    }


def main(place: str) -> None:
    """Run both forks and merge them."""
    builder = StateGraph(State)
    builder.add_node("analyse", analyse)
    builder.add_edge(START, "analyse")
    with SwarmStateSaver(place) as saver:
        graph: Any = builder.compile(checkpointer=saver)
        thread: Any = {"configurable": {"thread_id": "lamps"}}
        saver.delete_thread("lamps")  # left by an earlier run of this program
        questions = ORSet().add("what does sales know?", "what does support know?", replica="main")
        start = {
            "branch": "main",
            "messages": [("user", "What is wrong with our lamps?")],
            "open_questions": questions.add("what do others sell?", replica="main"),
            "budget": PNCounter().increment("main", 100),
        }
        graph.invoke(start, thread)
        shared = graph.get_state(thread).config

        forks = {}
        for branch in SOURCES:
            begun = graph.update_state(shared, {"branch": branch}, as_node="__start__")
            graph.invoke(None, begun)
            forks[branch] = graph.get_state(thread)
            print(f"{branch}: {sorted(forks[branch].values['findings'].value)}")

        # To merge, pass one fork's values to the other's reducers.
        theirs = {name: forks["sales"].values[name] for name in State.__annotations__}
        graph.update_state(forks["support"].config, {**theirs, "branch": "main"})
        merged = graph.get_state(thread).values

    assert merged["findings"].value == SOURCES["sales"] | SOURCES["support"]
    assert merged["open_questions"].value == {"what do others sell?"}
    assert merged["budget"].value == 100 - 20 - 20
    assert merged["verdicts"].get("lamps") == "2 findings from support"
    said = [message.content for message in merged["messages"]]
    assert sorted(said[2:]) == ["sales: 2 findings from sales", "support: 2 findings from support"]
    print(f"merged: {sorted(merged['findings'].value)}, {merged['budget'].value} left")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("place", nargs="?", default=":memory:", help="a file, or a store's URL")
    main(parser.parse_args().place)
