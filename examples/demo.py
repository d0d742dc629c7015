"""An agent that is killed in the middle of a run, resumes, and is forked.

    python examples/demo.py [FOLDER]

The agent ships 40 lamps from Bergen to Oslo: it checks the stock, asks three
carriers for quotes in parallel, and books the cheapest. It works offline: a small
scripted model replaces a real one.

1. A process runs the agent and is killed with SIGKILL while it waits for the
   third quote. The first two are in the file, although their step never ended.
2. A new process resumes from the file and requests only the third quote again.
3. The thread is forked from an earlier checkpoint, with a different quote: the
   fork books another carrier, and the first branch does not change.

Every claim it prints is checked; the exit status is 1 if one is false.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Send, StateSnapshot

THREAD: RunnableConfig = {"configurable": {"thread_id": "lamps"}}
QUOTES = {"road": 540, "rail": 420, "sea": 480}

# ---- The agent: nothing here knows that it will be killed, except the held tool.

calls_log = Path()  # each tool logs its call here, outside the agent's state
held: str | None = None  # the carrier that never answers, in the process to be killed


def note(call: str) -> None:
    """Log a tool call."""
    with calls_log.open("a", encoding="utf-8") as log:
        log.write(call + "\n")


@tool
def check_stock(city: str) -> str:
    """Return how many lamps a warehouse has."""
    note(f"check_stock {city}")
    return f"{city} has 64 lamps"


@tool
def quote(carrier: str) -> str:
    """Ask a carrier for its price in euros."""
    note(f"quote {carrier}")
    if carrier == held:
        tell("waiting", carrier)
        sys.stdin.read()
    return f"{carrier}: {QUOTES[carrier]} EUR"


@tool
def book(carrier: str) -> str:
    """Book a carrier."""
    note(f"book {carrier}")
    return f"booked {carrier}"


TOOLS = [check_stock, quote, book]


class Clerk(BaseChatModel):
    """A scripted model: its answers depend only on the conversation."""

    @property
    def _llm_type(self) -> str:
        return "clerk"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        answer = self.answer([str(m.content) for m in messages if isinstance(m, ToolMessage)])
        return ChatResult(generations=[ChatGeneration(message=answer)])

    @staticmethod
    def answer(results: list[str]) -> AIMessage:
        """Return the next message, given the `results` of the tools so far."""
        if not results:
            return request(("check_stock", {"city": "Bergen"}))
        if len(results) == 1:
            return request(*(("quote", {"carrier": carrier}) for carrier in QUOTES))
        if results[-1].startswith("booked"):
            return AIMessage(f"Done: 40 lamps go from Bergen to Oslo, {results[-1]}.")
        prices = [result.removesuffix(" EUR").split(": ") for result in results[1:]]
        cheapest = min(prices, key=lambda price: int(price[1]))
        return request(("book", {"carrier": cheapest[0]}))


def request(*wanted: tuple[str, dict[str, str]]) -> AIMessage:
    """Return a message that asks for tools."""
    return AIMessage(
        "",
        tool_calls=[
            {"name": name, "args": arguments, "id": f"{name}-{'-'.join(arguments.values())}"}
            for name, arguments in wanted
        ],
    )


def build(saver: SwarmStateSaver) -> CompiledStateGraph[MessagesState]:
    """Return the agent: a model that calls tools, each in its own task."""
    model = Clerk()

    def agent(state: MessagesState) -> dict[str, list[AIMessage]]:
        return {"messages": [model.invoke(state["messages"])]}

    def route(state: MessagesState) -> Sequence[Send] | str:
        message = state["messages"][-1]
        calls = message.tool_calls if isinstance(message, AIMessage) else []
        return [Send("tools", [call]) for call in calls] or END

    builder = StateGraph(MessagesState)
    builder.add_node("agent", agent)
    builder.add_node("tools", ToolNode(TOOLS))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", route, ["tools", END])
    builder.add_edge("tools", "agent")
    return builder.compile(checkpointer=saver)


# ---- The process that runs the agent.


def tell(event: str, detail: str) -> None:
    """Report to the parent process, one line per event: tools run at the same time."""
    os.write(sys.stdout.fileno(), (json.dumps([event, detail]) + "\n").encode())


class WatchedSaver(SwarmStateSaver):
    """Tells the parent process what is durable, as soon as it is."""

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store the writes of a finished task, then tell."""
        super().put_writes(config, writes, task_id, task_path)
        for _, value in writes:
            for message in value if isinstance(value, list) else []:
                if isinstance(message, ToolMessage):
                    tell("kept", str(message.content))


def work(folder: Path, task: str) -> None:
    """Run the agent: `start` until the parent kills it, or `resume` to the end."""
    global held
    held = "sea" if task == "start" else None
    saver = WatchedSaver(str(folder / "agents.db"))
    question = MessagesState(messages=[HumanMessage("Ship 40 lamps from Bergen to Oslo, cheaply.")])
    result = build(saver).invoke(question if task == "start" else None, THREAD, durability="sync")
    tell("answer", result["messages"][-1].content)
    saver.close()


@contextmanager
def process(folder: Path, task: str) -> Iterator[tuple[subprocess.Popen[str], Iterator[list[str]]]]:
    """Run `work` in its own process and yield the process with the events it reports."""
    with subprocess.Popen(
        [sys.executable, __file__, str(folder), task],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        yield child, map(json.loads, child.stdout)


# ---- The story.


def check(claim: str, holds: bool) -> None:
    """Print a claim, and end the demo if it is false."""
    print(f"   {'ok' if holds else 'WRONG'}: {claim}")
    if not holds:
        sys.exit(1)


def texts(messages: Sequence[AnyMessage]) -> list[str]:
    """Return the tool results in a conversation."""
    return [str(message.content) for message in messages if isinstance(message, ToolMessage)]


def show(messages: Sequence[AnyMessage]) -> None:
    """Print a conversation."""
    for message in messages:
        calls = message.tool_calls if isinstance(message, AIMessage) else []
        asked = ", ".join(f"{call['name']}({', '.join(call['args'].values())})" for call in calls)
        print(f"   {message.type:>6} | {asked or message.content}")


def run_and_kill(folder: Path) -> None:
    """Kill the agent once two quotes are durable and the third is being requested."""
    print("\n1. An agent runs in its own process ...")
    with process(folder, "start") as (child, events):
        # Three tool results are durable and the third carrier is being asked.
        for name, detail in islice(events, 4):
            print(f"   {name:>7}: {detail}")
        child.kill()
        status = child.wait()
    check("the process was killed with SIGKILL while a tool ran", status == -signal.SIGKILL)

    size = (folder / "agents.db").stat().st_size
    print(f"\n2. What the file kept ({size:,} bytes)")
    with SwarmStateSaver(str(folder / "agents.db")) as saver:
        state = build(saver).get_state(THREAD)
    show(state.values["messages"])
    check(
        "the finished step is stored, and both quotes of the interrupted step",
        texts(state.values["messages"])
        == ["Bergen has 64 lamps", "road: 540 EUR", "rail: 420 EUR"],
    )
    unfinished = [task for task in state.tasks if task.result is None]
    check("only the third quote is still missing", len(unfinished) == 1)


def resume(folder: Path) -> None:
    """Let a new process take over."""
    print("\n3. A new process resumes")
    with process(folder, "resume") as (child, events):
        told = list(events)
        for name, detail in told:
            print(f"   {name:>7}: {detail}")
    check("it ran to completion", child.returncode == 0 and "booked rail" in told[-1][1])
    calls = Counter(calls_log.read_text(encoding="utf-8").splitlines())
    for call, times in calls.items():
        print(f"   {times} x {call}")
    check("no finished tool ran again", calls.pop("quote sea") == 2 and set(calls.values()) == {1})


def fork(folder: Path) -> None:
    """Go back to the quotes, change one, and let the agent decide again."""
    print("\n4. A fork: what if the ship had cost 310 EUR?")
    with SwarmStateSaver(str(folder / "agents.db")) as saver:
        graph = build(saver)
        first = graph.get_state(THREAD)
        before = [snapshot.config for snapshot in graph.get_state_history(THREAD)]
        quoted = next(
            snapshot
            for snapshot in graph.get_state_history(THREAD)
            if snapshot.next == ("agent",) and len(texts(snapshot.values["messages"])) == 4
        )
        other = graph.update_state(
            quoted.config, {"messages": [cheaper_ship(quoted)]}, as_node="tools"
        )
        graph.invoke(None, other)
        second = graph.get_state(THREAD)
        print("   first branch")
        show(first.values["messages"][-4:])
        print("   second branch")
        show(second.values["messages"][-4:])
        check("the fork booked the ship", texts(second.values["messages"])[-1] == "booked sea")
        check("the first branch is unchanged", graph.get_state(first.config) == first)
        after = [snapshot.config for snapshot in graph.get_state_history(THREAD)]
        check(
            f"the thread holds both: {len(before)} checkpoints, then {len(after)}",
            after[-len(before) :] == before and len(after) > len(before),
        )


def cheaper_ship(quoted: StateSnapshot) -> ToolMessage:
    """Return the ship's quote with another price; the same id makes it replace the old one."""
    message = next(m for m in quoted.values["messages"] if str(m.content).startswith("sea"))
    return ToolMessage("sea: 310 EUR", tool_call_id=message.tool_call_id, id=message.id)


def main(folder: Path) -> None:
    """Tell the whole story in `folder`."""
    run_and_kill(folder)
    resume(folder)
    fork(folder)
    print("\nAll of it was one line of code: builder.compile(checkpointer=SwarmStateSaver(...))")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    # What the demo passes to its own processes.
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        target = options.folder or Path(temporary)
        target.mkdir(parents=True, exist_ok=True)
        calls_log = target / "calls.log"
        if options.command:
            work(target, options.command)
        elif calls_log.exists():
            raise SystemExit(
                f"{target} contains the files of an earlier demo: choose another folder"
            )
        else:
            main(target)
