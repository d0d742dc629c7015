"""Support triage: rules assign a ticket, a person approves, and a thread is replayed with a change.

No model and no network: the agents are functions with scripted answers.

    python examples/support_triage.py [DIRECTORY]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from langchain_core.messages import AnyMessage
from langgraph.checkpoint.swarmstate import SwarmStateSaver, add_messages
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from swarmstate import HandoffGraph
from typing_extensions import TypedDict


class Ticket(TypedDict, total=False):
    """The state of one thread."""

    messages: Annotated[list[AnyMessage], add_messages]
    amount: float
    vip: bool
    outcome: str


def rules() -> HandoffGraph:
    """Return the rules for handoffs; they can be checked before anything runs."""
    graph = HandoffGraph()
    for name in ("triage", "refunds", "technician", "front desk", "approval", "pay"):
        graph.add_node(name)
    text = "lower(messages[-1].content)"
    graph.add_edge("triage", "front desk", when="vip", priority=10)
    graph.add_edge("triage", "refunds", when=f"matches({text}, 'refund|money back')")
    graph.add_edge("triage", "technician", when=f"matches({text}, 'broken|flicker|dark')")
    graph.add_edge("triage", "front desk")
    graph.add_edge("refunds", "approval", when="amount > 50 or not exists(amount)")
    graph.add_edge("refunds", "pay")
    return graph


def say(who: str, what: str) -> dict[str, Any]:
    """Return the update of an agent that says something and finishes."""
    return {"messages": [("ai", f"{who}: {what}")], "outcome": who}


def approval(state: Ticket) -> Command[str]:
    """Wait for a person, however long it takes; meanwhile the run is on disk."""
    if interrupt(f"Refund {state.get('amount', 'an unknown amount')}?"):
        return Command(goto="pay")
    return Command(goto=END, update=say("approval", "refused"))


def build(handoffs: HandoffGraph) -> StateGraph[Any]:
    """Return the graph of agents; its edges are the rules."""
    builder: StateGraph[Any] = StateGraph(Ticket)
    builder.add_node("triage", handoffs.as_node("triage"))
    builder.add_node("refunds", lambda state: {})
    builder.add_conditional_edges("refunds", handoffs.as_router("refunds"), ["approval", "pay"])
    builder.add_node("approval", approval)
    builder.add_node("pay", lambda state: say("pay", f"{state.get('amount', 0)} are on the way"))
    builder.add_node("technician", lambda state: say("technician", "Try another bulb."))
    builder.add_node("front desk", lambda state: say("front desk", "How can I help?"))
    builder.add_edge(START, "triage")
    return builder


def check(claim: str, holds: bool) -> None:
    """Print a claim, and end the program if it is false."""
    if not holds:
        raise SystemExit(f"   FAILED: {claim}")
    print(f"   ok: {claim}")


def main(folder: Path) -> None:
    """Route tickets, approve one as another process would, and go back in time."""
    handoffs = rules()
    check("the rules are sound", handoffs.is_dag() and handoffs.validate() == [])
    path = folder / "tickets.db"
    thread: Any = {"configurable": {"thread_id": "ticket-7"}}

    print("A refund of 80 needs a person")
    folder.mkdir(parents=True, exist_ok=True)
    with SwarmStateSaver(path) as saver:
        saver.delete_thread("ticket-7")  # left by an earlier run of this program
        graph = build(handoffs).compile(checkpointer=saver)
        ticket = {"messages": [("user", "My lamp is broken, I want my MONEY BACK")], "amount": 80}
        paused = graph.invoke(ticket, thread)
        check("the run waits for approval", "__interrupt__" in paused)
        explained = handoffs.explain("refunds", graph.get_state(thread).values)
        print("   " + str(explained).replace("\n", "\n   "))
        check("the amount was decisive", explained.questions[0].values == {"amount": 80})

    print("Later, in another process, it is approved")
    with SwarmStateSaver(path) as saver:
        graph = build(handoffs).compile(checkpointer=saver)
        done = graph.invoke(Command(resume=True), thread)
        check("the refund is paid", done["outcome"] == "pay")

    print("What if the customer had been a VIP? Back to the beginning, with one change")
    with SwarmStateSaver(path) as saver:
        graph = build(handoffs).compile(checkpointer=saver)
        first = next(each for each in graph.get_state_history(thread) if each.next == ("triage",))
        fork = graph.update_state(first.config, {"vip": True}, as_node="__start__")
        check("the front desk takes it", graph.invoke(None, fork)["outcome"] == "front desk")
        check(
            "the earlier run is still there",
            any(each.values.get("outcome") == "pay" for each in graph.get_state_history(thread)),
        )

    print("A thousand tickets routed without running the graph")
    routed = handoffs.route_many("refunds", [{"amount": number} for number in range(1_000)])
    check("949 need approval", routed.count("approval") == 949)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, nargs="?")
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        main(options.directory or Path(temporary))
