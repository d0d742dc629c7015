"""Graphs with growing threads, and the turns of their users: the same in every process.

For each turn, a scenario defines the input of a graph with a checkpointer, and the
input with which a graph without one gets the same result.
"""

from __future__ import annotations

import base64
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.channels import DeltaChannel
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import _messages_delta_reducer

from benchmarks.text import text


class Scenario(ABC):
    """A graph and a conversation with it.

    Attributes:
        has_delta: Whether it has a long channel that can be a DeltaChannel.
    """

    has_delta = False

    @abstractmethod
    def build(self, *, delta: bool) -> StateGraph[Any, Any, Any, Any]:
        """Return the graph; with `delta`, long channels are DeltaChannels."""

    @abstractmethod
    def given(self, turn: int) -> dict[str, Any]:
        """Return the input of a turn."""

    def given_with(self, state: dict[str, Any], turn: int) -> dict[str, Any]:
        """Return the input of a turn for a graph without memory."""
        return {**state, **self.given(turn)}


class _ScriptedModel(BaseChatModel):
    """Asks for a tool, then answers; offline, with answers as long as those of real models."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        last = messages[-1]
        turn = str(last.id).partition("-")[2]
        if isinstance(last, ToolMessage):
            reply = AIMessage(text(f"answer {turn}", 700), id=f"answer-{turn}")
        else:
            arguments = {"query": text(f"query {turn}", 60), "limit": 5}
            call = {"name": "search", "args": arguments, "id": f"call-{turn}"}
            reply = AIMessage("", id=f"request-{turn}", tool_calls=[call])
        reply.response_metadata = {"model_name": "scripted", "finish_reason": "stop"}
        said = len(messages) * 120
        reply.usage_metadata = {
            "input_tokens": said,
            "output_tokens": 170,
            "total_tokens": said + 170,
        }
        return ChatResult(generations=[ChatGeneration(message=reply)])


class _DeltaMessagesState(TypedDict):
    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer)]


class Chat(Scenario):
    """An agent that calls a tool and answers: four messages and about 2 KB of text per turn."""

    has_delta = True

    def build(self, *, delta: bool) -> StateGraph[Any, Any, Any, Any]:
        model = _ScriptedModel()

        def agent(state: Any) -> dict[str, Any]:
            return {"messages": [model.invoke(state["messages"])]}

        def tools(state: Any) -> dict[str, Any]:
            call = state["messages"][-1].tool_calls[0]
            turn = str(call["id"]).partition("-")[2]
            result = text(f"result {turn}", 1_000)
            message = ToolMessage(
                result, tool_call_id=call["id"], name=call["name"], id=f"result-{turn}"
            )
            return {"messages": [message]}

        def route(state: Any) -> str:
            last = state["messages"][-1]
            return "tools" if isinstance(last, AIMessage) and last.tool_calls else END

        schema: Any = _DeltaMessagesState if delta else MessagesState
        builder = StateGraph(schema)
        builder.add_node("agent", agent)
        builder.add_node("tools", tools)
        builder.add_edge(START, "agent")
        builder.add_conditional_edges("agent", route, ["tools", END])
        builder.add_edge("tools", "agent")
        return builder

    def given(self, turn: int) -> dict[str, Any]:
        return {"messages": [HumanMessage(text(f"question {turn}", 200), id=f"question-{turn}")]}

    def given_with(self, state: dict[str, Any], turn: int) -> dict[str, Any]:
        return {"messages": [*state.get("messages", ()), *self.given(turn)["messages"]]}


class Images(Chat):
    """The same agent; every fourth question comes with a 5 MB image."""

    def given(self, turn: int) -> dict[str, Any]:
        if turn % 4:
            return super().given(turn)
        data = base64.b64encode(random.Random(turn).randbytes(3_750_000)).decode()
        content: list[str | dict[str, Any]] = [
            {"type": "text", "text": text(f"question {turn}", 200)},
            {"type": "image", "base64": data, "mime_type": "image/png"},
        ]
        return {"messages": [HumanMessage(content, id=f"question-{turn}")]}


def _merge(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    return {**left, **right}


class _FilesState(TypedDict):
    files: Annotated[dict[str, dict[str, Any]], _merge]
    step: int


def _merge_all(state: dict[str, Any], writes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for part in (state, *writes) for key, value in part.items()}


class _DeltaFilesState(TypedDict):
    files: Annotated[dict[str, dict[str, Any]], DeltaChannel(_merge_all)]
    step: int


class Files(Scenario):
    """A deep agent's workspace: 100 files of 2 KB, one of them edited per turn."""

    has_delta = True

    def build(self, *, delta: bool) -> StateGraph[Any, Any, Any, Any]:
        def edit(state: Any) -> dict[str, Any]:
            number = state["step"]
            return {"files": {_file_name(number * 37 % 100): _file(f"edit {number}")}}

        schema: Any = _DeltaFilesState if delta else _FilesState
        builder = StateGraph(schema)
        builder.add_node("edit", edit)
        builder.add_edge(START, "edit")
        return builder

    def given(self, turn: int) -> dict[str, Any]:
        if turn:
            return {"step": turn}
        return {"step": 0, "files": {_file_name(i): _file(f"file {i}") for i in range(100)}}


def _file_name(number: int) -> str:
    return f"/workspace/notes/chapter-{number:03}.md"


def _file(seed: str) -> dict[str, Any]:
    return {
        "content": [text(f"{seed}/{line}", 78) for line in range(25)],
        "created_at": "2026-01-01T09:00:00+00:00",
        "modified_at": "2026-01-01T10:00:00+00:00",
    }


class _StepsState(TypedDict):
    target: int
    count: int
    notes: list[str]


class Steps(Scenario):
    """A long thread with little state: 20 supersteps per turn."""

    def build(self, *, delta: bool) -> StateGraph[Any, Any, Any, Any]:
        def work(state: _StepsState) -> dict[str, Any]:
            count = state.get("count", 0) + 1
            return {
                "count": count,
                "notes": [*state.get("notes", ())[-4:], text(f"note {count}", 80)],
            }

        def route(state: _StepsState) -> str:
            return "work" if state["count"] < state["target"] else END

        builder = StateGraph(_StepsState)
        builder.add_node("work", work)
        builder.add_edge(START, "work")
        builder.add_conditional_edges("work", route, ["work", END])
        return builder

    def given(self, turn: int) -> dict[str, Any]:
        return {"target": (turn + 1) * 20}


class _NotesState(TypedDict):
    asked: int
    notes: list[dict[str, Any]]


class Notes(Scenario):
    """A graph without reducers: each turn passes on all notes and a new one of 1 KB."""

    def build(self, *, delta: bool) -> StateGraph[Any, Any, Any, Any]:
        def research(state: _NotesState) -> dict[str, Any]:
            asked = state["asked"]
            note = {
                "title": text(f"title {asked}", 60),
                "body": text(f"note {asked}", 900),
                "sources": [text(f"source {asked}/{number}", 30) for number in range(2)],
            }
            return {"notes": [*state.get("notes", ()), note]}

        builder = StateGraph(_NotesState)
        builder.add_node("research", research)
        builder.add_edge(START, "research")
        return builder

    def given(self, turn: int) -> dict[str, Any]:
        return {"asked": turn}


class _DraftsState(TypedDict):
    asked: int
    report: str
    files: Annotated[dict[str, dict[str, Any]], _merge]


class Drafts(Scenario):
    """Each turn adds 1 KB to a report and corrects a line in one of ten 20 KB files."""

    def build(self, *, delta: bool) -> StateGraph[Any, Any, Any, Any]:
        def write(state: _DraftsState) -> dict[str, Any]:
            asked = state["asked"]
            report = state.get("report", "") + text(f"section {asked}", 1_000)
            name = _file_name(asked * 7 % 10)
            lines = state["files"][name]["content"].split("\n")
            lines[asked * 37 % len(lines)] = text(f"line {asked}", 78)
            # As deep agents store files: each with its whole text.
            file = {**state["files"][name], "content": "\n".join(lines)}
            return {"report": report, "files": {name: file}}

        builder = StateGraph(_DraftsState)
        builder.add_node("write", write)
        builder.add_edge(START, "write")
        return builder

    def given(self, turn: int) -> dict[str, Any]:
        if turn:
            return {"asked": turn}
        files = {
            _file_name(number): {
                "content": "\n".join(text(f"file {number}/{line}", 78) for line in range(250)),
                "encoding": "utf-8",
            }
            for number in range(10)
        }
        return {"asked": 0, "files": files}


class _OpaqueState(TypedDict):
    report: dict[str, Any]
    asked: int
    count: int


class Opaque(Scenario):
    """A 200 KB dict that never changes, next to a counter that does."""

    def build(self, *, delta: bool) -> StateGraph[Any, Any, Any, Any]:
        def count(state: _OpaqueState) -> dict[str, Any]:
            return {"count": state.get("count", 0) + 1}

        builder = StateGraph(_OpaqueState)
        builder.add_node("counter", count)
        builder.add_edge(START, "counter")
        return builder

    def given(self, turn: int) -> dict[str, Any]:
        if turn:
            return {"asked": turn}
        source = random.Random("report")
        rows = {
            f"row-{number}": {
                "title": text(f"row {number}", 120),
                "values": [source.random() for _ in range(8)],
                "flags": {"checked": number % 2 == 0, "source": "ledger"},
            }
            for number in range(800)
        }
        return {"asked": 0, "report": {"rows": rows, "generated_by": "audit"}}


SCENARIOS: dict[str, Scenario] = {
    "chat": Chat(),
    "files": Files(),
    "images": Images(),
    "notes": Notes(),
    "steps": Steps(),
    "drafts": Drafts(),
    "opaque": Opaque(),
}
