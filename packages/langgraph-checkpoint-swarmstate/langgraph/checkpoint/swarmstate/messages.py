"""A reducer for lists of messages that works for what is new, not for what is there."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Literal, cast

from langchain_core.messages import (
    BaseMessage,
    BaseMessageChunk,
    RemoveMessage,
    convert_to_messages,
    message_chunk_to_message,
)

from swarmstate.finding import InstanceFinder

from .requiring import requiring_langgraph

__all__ = ["REMOVE_ALL_MESSAGES", "add_messages"]

REMOVE_ALL_MESSAGES = "__remove_all__"
"""The id of a `RemoveMessage` that removes all messages before it."""


def add_messages(
    left: Any = None,
    right: Any = None,
    *,
    format: Literal["langchain-openai"] | None = None,
) -> Any:
    """Merge two lists of messages by their ids, as `langgraph.graph.add_messages` does.

    The result, the errors and what happens to the arguments are LangGraph's: new messages are
    appended, one with a known id replaces that message, a `RemoveMessage` removes it, ids that
    are missing are assigned in place. Whatever happened to the messages since the last call is
    seen; an id that is assigned is new. What takes long in a long history, three walks over
    all messages and an index of them, is one quick look at each id here. Where anything is
    out of the ordinary, such as messages with properties of their own, LangGraph's function
    does the work; so it does for a `format`.

    Args:
        left: The messages so far. Without both, a reducer with this `format` is returned.
        right: A message or a list of them, in any form that LangGraph takes.
        format: None, or "langchain-openai".

    Raises:
        ValueError: A message to remove is not there, only one of `left` and `right` is given,
            or the format is unknown.
    """
    if left is not None and right is not None:
        return _merge(left, right, format=format)
    if left is not None or right is not None:
        with requiring_langgraph():
            from langgraph.graph.message import add_messages as original

        return original(left, right)
    return partial(_merge, **({} if format is None else {"format": format}))


def _merge(left: Any, right: Any, *, format: Literal["langchain-openai"] | None = None) -> Any:
    if not format and type(left) is list:
        merged = _merge_plain(left, right)
        if merged is not None:
            return merged
    with requiring_langgraph():
        from langgraph.graph.message import add_messages as original

    # Without arguments it returns the reducer behind it, which takes None for a message, too.
    reducer = cast(Callable[[], Callable[..., Any]], original)()
    return reducer(left, right, format=format)


def _merge_plain(left: list[Any], right: Any) -> list[Any] | None:
    """Return the merged messages; None where something is out of the ordinary or an error."""
    updates = _coerced(right)
    if updates is None:
        return None
    wanted = {message.id: None for message in updates if message.id is not None}
    if not all(type(id) is str for id in wanted):
        return None
    merged = left.copy()
    positions = _FINDER.find(merged, wanted)
    if positions is None:
        return None

    start = 0
    for index, message in enumerate(updates):
        if message.id is None:
            message.id = str(uuid.uuid4())
        if isinstance(message, RemoveMessage) and message.id == REMOVE_ALL_MESSAGES:
            start = index + 1
    if start:
        return updates[start:]

    removed: set[str] = set()
    for message in updates:
        id: Any = message.id
        known = positions.get(id)
        if known is None:
            if isinstance(message, RemoveMessage):
                return None
            positions[id] = [len(merged)]
            merged.append(message)
        elif isinstance(message, RemoveMessage):
            removed.add(id)
        else:
            removed.discard(id)
            # Of messages that share an id, the last one is replaced.
            merged[known[-1]] = message
    if removed:
        return _without(merged, sorted(at for id in removed for at in positions[id]))
    return merged


def _coerced(right: Any) -> list[Any] | None:
    """Return `right` as a list of messages; None if it is none, for which LangGraph has words."""
    updates = right if isinstance(right, list) else [right]
    if type(updates) is not list:
        return None
    if all(
        isinstance(each, BaseMessage) and not isinstance(each, BaseMessageChunk) for each in updates
    ):
        return updates
    try:
        return [message_chunk_to_message(each) for each in convert_to_messages(updates)]
    except Exception:  # Whatever it is, LangGraph raises it again, unless `left` is at fault first.
        return None


@lru_cache(maxsize=256)
def _has_plain_id(cls: type) -> bool:
    """Tell whether instances are messages whose `id` is what their dict holds, and no chunks."""
    return not issubclass(cls, BaseMessageChunk) and is_plain_in_messages("id", cls)


def is_plain_in_messages(name: str, cls: type) -> bool:
    """Tell whether instances are messages that have an attribute as their dict holds it."""
    return (
        issubclass(cls, BaseMessage)
        and cls.__getattribute__ is object.__getattribute__
        and not any(name in vars(base) for base in cls.__mro__)
    )


def _without(messages: list[Any], dropped: list[int]) -> list[Any]:
    """Return a list without the items at these positions, which are in order."""
    kept: list[Any] = []
    start = 0
    for position in dropped:
        kept += messages[start:position]
        start = position + 1
    return kept + messages[start:]


# It remembers ids of the last few lists, never messages.
_FINDER = InstanceFinder("id", _has_plain_id)
