"""Messages load as with LangGraph's serializer, including edge cases of validation."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from langchain_core import messages as lc
from langchain_core.documents import Document

from tests.langgraph.helpers.same_as_stock import (
    check_same,
    damage,
    held,
    ours,
    plain,
    texts,
    values,
)

kwargs = st.dictionaries(
    texts | st.just("tool_calls"), values | st.lists(values, max_size=2), max_size=3
)
blocks = st.dictionaries(st.sampled_from(["type", "text", "args", "id"]), plain, max_size=3)
content = texts | st.lists(texts | blocks, max_size=3)
call = st.fixed_dictionaries(
    {"name": texts, "args": st.dictionaries(texts, values, max_size=2), "id": st.none() | texts}
)
bad_call = st.fixed_dictionaries(
    {"name": texts, "args": texts, "id": st.none() | texts, "error": st.none() | texts}
)
chunk = st.fixed_dictionaries(
    {
        "name": st.none() | texts,
        "args": st.none() | texts | st.just('{"a": 1}'),
        "id": st.none() | texts,
        "index": st.none() | st.integers(0, 3),
    }
)
counts = st.integers(0, 2**31)
usage = st.fixed_dictionaries(
    {"input_tokens": counts, "output_tokens": counts, "total_tokens": counts},
    optional={
        "output_token_details": st.dictionaries(st.sampled_from(["audio", "other"]), counts),
        "input_token_details": st.dictionaries(st.sampled_from(["audio", "cache_read"]), counts),
        "cost": st.floats(),
    },
)
common: dict[str, Any] = {
    "content": content,
    "additional_kwargs": kwargs,
    "response_metadata": kwargs,
    "id": st.none() | texts,
    "name": st.none() | texts,
}
ai: dict[str, Any] = {
    **common,
    "tool_calls": st.lists(call, max_size=2),
    "invalid_tool_calls": st.lists(bad_call, max_size=1),
    "usage_metadata": st.none() | usage,
}
tool: dict[str, Any] = {
    **common,
    "tool_call_id": texts,
    "artifact": values,
    "status": st.sampled_from(["success", "error"]),
}


def of(cls: Any, fields: dict[str, Any], **more: Any) -> st.SearchStrategy[Any]:
    def build(given: dict[str, Any]) -> Any:
        try:
            return cls(**given)
        except TypeError:  # AIMessageChunk writes arguments as JSON.
            reject()

    return st.fixed_dictionaries({**fields, **more}).map(build)


named = {**common, "name": texts}
messages = st.one_of(
    of(lc.HumanMessage, common),
    of(lc.HumanMessageChunk, common),
    of(lc.SystemMessage, common, example=plain),
    of(lc.SystemMessageChunk, common),
    of(lc.FunctionMessage, named),
    of(lc.FunctionMessageChunk, named),
    of(lc.ChatMessage, common, role=texts),
    of(lc.ChatMessageChunk, common, role=texts),
    of(lc.ToolMessage, tool),
    of(lc.ToolMessageChunk, tool),
    of(lc.AIMessage, ai),
    of(
        lc.AIMessageChunk,
        ai,
        tool_call_chunks=st.lists(chunk, max_size=2),
        chunk_position=st.sampled_from([None, "last"]),
    ),
    of(lc.RemoveMessage, {"id": texts}),
    of(Document, {"page_content": texts, "metadata": st.dictionaries(texts, values, max_size=2)}),
)


@given(messages)
def test_messages_are_the_same_as_through_stock(message: Any) -> None:
    check_same(message)


@given(messages, st.lists(st.tuples(st.randoms(), values), min_size=1, max_size=3))
def test_damaged_messages_are_the_same_as_through_stock(
    message: Any, damages: list[tuple[random.Random, Any]]
) -> None:
    message = copy.deepcopy(message)
    for chooser, value in damages:
        damage(message, chooser, copy.deepcopy(value))
    check_same(message)


def changed(message: Any, change: Callable[[Any], object]) -> Any:
    change(message)
    return message


def calling(**more: Any) -> Any:
    call = {"name": "f", "args": {"a": 1}, "id": "1", "type": "tool_call"}
    return changed(lc.AIMessage("a"), lambda m: m.tool_calls.append({**call, **more}))


RAW = {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
SERVER: list[Any] = [{"type": "server_tool_call_chunk", "args": "{}", "id": "1"}]
V1 = {"output_version": "v1"}
EDGES: dict[str, Any] = {
    "call": calling(),
    "call with an index": calling(index=0),
    "call with extras": calling(extras={"a": 1}),
    "call with a number": calling(name=1),
    "call of another type": calling(type="function"),
    "call without type": changed(calling(), lambda m: m.tool_calls[0].pop("type")),
    "call without id": changed(calling(), lambda m: m.tool_calls[0].pop("id")),
    "call in another order": changed(
        calling(), lambda m: m.tool_calls[0].update(name=m.tool_calls[0].pop("name"))
    ),
    "invalid call with an index": changed(
        lc.AIMessage("a"),
        lambda m: m.invalid_tool_calls.append(
            {"type": "invalid_tool_call", "id": None, "name": None, "args": None, "error": None}
            | {"index": 0}
        ),
    ),
    "raw calls": changed(lc.AIMessage("a"), lambda m: m.additional_kwargs.update(RAW)),
    "raw calls beside a call": changed(calling(), lambda m: m.additional_kwargs.update(RAW)),
    "raw calls of a chunk": changed(
        lc.AIMessageChunk(content="a"), lambda m: m.additional_kwargs.update(RAW)
    ),
    "chunk with a call": changed(
        lc.AIMessageChunk(content="a"), lambda m: m.tool_calls.extend(calling().tool_calls)
    ),
    "chunk of a call": changed(
        lc.AIMessageChunk(content="a"),
        lambda m: m.tool_call_chunks.append(
            {"name": "f", "args": "{", "id": "1", "index": 0, "type": "tool_call_chunk"}
        ),
    ),
    "last chunk": changed(
        lc.AIMessageChunk(content=SERVER, response_metadata=V1),
        lambda m: vars(m).update(chunk_position="last"),
    ),
    "removal with content": changed(
        lc.RemoveMessage(id="1"), lambda m: vars(m).update(content="a")
    ),
    "removal with an empty list": changed(
        lc.RemoveMessage(id="1"), lambda m: vars(m).update(content=[])
    ),
    "usage in another order": changed(
        lc.AIMessage("a"),
        lambda m: vars(m).update(
            usage_metadata={"total_tokens": 1, "input_tokens": 1, "output_tokens": 0}
        ),
    ),
    "fields in another order": changed(
        lc.HumanMessage("a"), lambda m: vars(m).update(content=vars(m).pop("content"))
    ),
    "field too many": changed(lc.HumanMessage("a"), lambda m: vars(m).update(more=1)),
    "field missing": changed(lc.HumanMessage("a"), lambda m: vars(m).pop("name")),
    "extra field named as a field": changed(
        lc.HumanMessage("a"), lambda m: m.__pydantic_extra__.update(id="1")
    ),
    "extra field": lc.HumanMessage("a", example=True),
    "extra content blocks": changed(
        lc.HumanMessage("a"), lambda m: m.__pydantic_extra__.update(content_blocks=[])
    ),
}


@pytest.mark.parametrize("name", EDGES)
def test_edges_of_validation_are_the_same_as_through_stock(name: str) -> None:
    check_same(EDGES[name])


@pytest.mark.parametrize("value", [2**70, "lone \ud800"], ids=["big int", "surrogate"])
def test_what_stock_would_lose_in_a_message_is_kept(value: Any) -> None:
    message = lc.ToolMessage("a", tool_call_id="1", artifact=[value])
    assert held(ours.loads_typed(ours.dumps_typed(message)).artifact) == held([value])
