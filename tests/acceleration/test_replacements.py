"""Each replacement alone returns what the original returns."""

from __future__ import annotations

import queue
from operator import is_
from typing import Any

import pytest
from langchain_core.language_models import GenericFakeChatModel, _utils, chat_models
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage, convert_to_messages
from langchain_core.utils._signature import _signature_parameters
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.acceleration import chat_models as ours
from langgraph.checkpoint.swarmstate.acceleration import runtimes, signatures, streaming
from langgraph.pregel._checkpoint import put_writes_accepts_task_path
from langgraph.runtime import ExecutionInfo, Runtime

BLOCKS: list[Any] = [
    {"type": "text", "text": "look"},
    {"type": "image", "source_type": "base64", "data": "aGk=", "mime_type": "image/png"},
    {"type": "file", "base64": "aGk=", "mime_type": "a/b"},
    {"type": "input_audio", "input_audio": {"format": "wav", "data": "aGk="}},
    {"text": "without a type"},
]
TEXTS = [HumanMessage("hello"), AIMessage("hi"), ToolMessage("found", tool_call_id="1")]


def shown(messages: list[Any]) -> list[Any]:
    """Return types and contents without ids, since new blocks get random ones."""
    contents = [
        [{key: value for key, value in block.items() if key != "id"} for block in message.content]
        if isinstance(message.content, list)
        else message.content
        for message in messages
    ]
    return [*map(type, messages), *contents]


@pytest.mark.parametrize("messages", [[], TEXTS, [*TEXTS, HumanMessage(BLOCKS), AIMessage("")]])
def test_messages_reach_models_and_tracers_as_before(messages: list[Any]) -> None:
    assert shown(ours.normalize(messages)) == shown(_utils._normalize_messages(messages))
    assert ours.format_for_tracing(messages) == chat_models._format_for_tracing(messages)
    assert ours.convert(messages) == convert_to_messages(messages)
    assert ours.convert([*messages, ("user", "said")])[:-1] == messages
    assert ours.convert(messages) is not messages


class Shouting(HumanMessage):
    """A message whose content differs from what its dict holds."""

    def __getattribute__(self, name: str) -> Any:
        return BLOCKS if name == "content" else super().__getattribute__(name)


def test_a_message_with_an_attribute_of_its_own_is_asked_for_it() -> None:
    messages: list[Any] = [*TEXTS, Shouting(content="hello")]
    assert shown(ours.normalize(messages)) == shown(_utils._normalize_messages(messages))


@pytest.mark.parametrize(
    "given", [TEXTS, [], tuple(TEXTS), [*TEXTS, ("user", "said")], "said", ["said", {"role": "x"}]]
)
def test_models_are_given_the_same_prompt(given: Any) -> None:
    model = GenericFakeChatModel(messages=iter([]))
    try:
        expected = model._convert_input(given)
    except ValueError as error:
        with pytest.raises(type(error)):
            ours.convert_input(model, given)
        return
    found: Any = ours.convert_input(model, given)
    assert found == expected
    assert found.__class__ is expected.__class__
    assert vars(found).keys() == vars(expected).keys()
    assert found.model_fields_set == expected.model_fields_set
    if given is TEXTS:
        messages: Any = vars(found)["messages"]
        assert messages is not given
        assert all(map(is_, messages, given))


@pytest.mark.parametrize(
    "overrides", [{}, {"node_attempt": 3}, {"node_first_attempt_time": 1.0, "run_id": "r"}]
)
def test_runtimes_keep_what_is_not_overridden(overrides: dict[str, Any]) -> None:
    info = ExecutionInfo("checkpoint", "ns", "task", "thread", "run", 2, 0.5)
    runtime: Any = Runtime(context="c", previous="p", execution_info=info, stream_writer=print)
    expected = runtime.patch_execution_info(**overrides)
    assert runtimes.patch_execution_info(runtime, **overrides) == expected
    assert runtimes.override(runtime, context=1) == runtime.override(context=1)
    with pytest.raises(TypeError, match="unknown"):
        runtimes.override(runtime, unknown=1)


def test_the_queue_hands_out_what_came_before_it_was_waited_for() -> None:
    waiting = streaming.LazyQueue()
    for item in range(3):
        waiting.put(item)
    assert waiting.get() == 0
    waiting.wait()
    waiting.put(3)
    assert [waiting.get() for _ in range(3)] == [1, 2, 3]
    with pytest.raises(queue.Empty):
        waiting.get()


def test_parameters_are_those_of_each_method() -> None:
    class Old(InMemorySaver):
        def put_writes(self, config: Any, writes: Any, task_id: Any) -> None:  # type: ignore[override]  # the old signature
            raise NotImplementedError

    model = GenericFakeChatModel(messages=iter(()))
    for _ in range(2):
        for saver in (SwarmStateSaver(), InMemorySaver(), Old()):
            found = signatures.accepts_task_path(saver.put_writes)
            assert found is put_writes_accepts_task_path(saver.put_writes)
        assert signatures.parameters(model._generate) == _signature_parameters(model._generate)
    assert not signatures.accepts_task_path(lambda config, writes, task_id: None)
