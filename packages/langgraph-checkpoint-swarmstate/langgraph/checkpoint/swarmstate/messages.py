"""A reducer for message lists whose cost depends on the new messages, not on the history."""

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

    The result, the errors and the effects on the arguments are LangGraph's: new messages are
    appended, a message with a known id replaces the old one, a `RemoveMessage` removes it, and
    missing ids are assigned in place. Changes made to the messages since the last call are seen,
    and assigned ids are new. LangGraph walks over all messages three times and builds an index
    of them; this looks at each id once, quickly. For anything unusual, such as messages that
    define properties, and for a `format`, LangGraph's own function does the work.

    Args:
        left: The messages so far. Without `left` and `right`, a reducer with this `format` is
            returned.
        right: A message or a list of messages, in any form that LangGraph accepts.
        format: None, or "langchain-openai".

    Raises:
        ValueError: A message to remove does not exist, only one of `left` and `right` is given,
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

    # Called without arguments it returns the underlying reducer, which accepts None as well.
    reducer = cast(Callable[[], Callable[..., Any]], original)()
    return reducer(left, right, format=format)


def _merge_plain(left: list[Any], right: Any) -> list[Any] | None:
    """Return the merged messages; None if something is unusual or an error."""
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
            # If several messages share an id, the last one is replaced.
            merged[known[-1]] = message
    if removed:
        return _without(merged, sorted(at for id in removed for at in positions[id]))
    return merged


def _coerced(right: Any) -> list[Any] | None:
    """Return `right` as a list of messages; None if it is not one, so that LangGraph says why."""
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
    """Whether instances are messages, not chunks, whose `id` is stored plainly in their dict."""
    return not issubclass(cls, BaseMessageChunk) and is_plain_in_messages("id", cls)


def is_plain_in_messages(name: str, cls: type) -> bool:
    """Whether instances are messages that store this attribute plainly in their dict."""
    return (
        issubclass(cls, BaseMessage)
        and cls.__getattribute__ is object.__getattribute__
        and not any(name in vars(base) for base in cls.__mro__)
    )


def _without(messages: list[Any], dropped: list[int]) -> list[Any]:
    """Return a list without the items at these positions, which are ascending."""
    kept: list[Any] = []
    start = 0
    for position in dropped:
        kept += messages[start:position]
        start = position + 1
    return kept + messages[start:]


# Remembers the ids of the last few lists, never the messages.
_FINDER = InstanceFinder("id", _has_plain_id)
