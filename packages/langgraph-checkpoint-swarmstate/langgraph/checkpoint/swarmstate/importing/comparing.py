"""Comparing what the source and the target have of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.types import RESUME

from ..serde import SwarmStateSerializer

# LangGraph's id for the latest answer, before a task has received it.
_NO_TASK = str(UUID(int=0))
_LATEST_ANSWER = _NO_TASK, True

# A pending write: its task, its channel and its value.
Write = tuple[str, str, Any]

_plain = SwarmStateSerializer()


def is_same(ours: Any, theirs: Any) -> bool:
    """Compare what is stored; equal objects may have several encodings, such as sets."""
    dump = _plain.dumps_typed
    if dump(_ordered(ours)) == dump(_ordered(theirs)):
        return True
    try:
        return bool(ours == theirs)
    except ValueError:  # numpy's arrays are neither equal nor unequal
        return False


def more_of(
    ours: Sequence[Write], theirs: Sequence[Write], is_known: bool
) -> tuple[set[str], set[str]]:
    """Return the tasks of which the target, and the source, has more results or answers.

    A further answer replaces the write that holds the earlier ones. If neither side's begin with
    the other's, both have more.

    Args:
        ours: The pending writes of a checkpoint in the target, in order.
        theirs: Those in the source.
        is_known: Whether it is known already that a side went on from this checkpoint.
    """
    left, right = _by_task(ours), _by_task(theirs)
    more_here: set[str] = set()
    more_there: set[str] = set()
    for place in (left.keys() | right.keys()) - {_LATEST_ANSWER}:
        here, there = left.get(place, []), right.get(place, [])
        count = min(len(here), len(there))
        is_other = not is_same(here[:count], there[:count])
        if is_other or len(here) > count:
            more_here.add(place[0])
        if is_other or len(there) > count:
            more_there.add(place[0])
    if not (more_here or more_there or is_known) and not is_same(
        left.get(_LATEST_ANSWER), right.get(_LATEST_ANSWER)
    ):
        # No task has received them yet, so nothing tells which is newer.
        return {_NO_TASK}, {_NO_TASK}
    return more_here, more_there


def _by_task(writes: Sequence[Write]) -> dict[tuple[str, bool], list[Any]]:
    """Return what each task wrote, in order: its results (False) and its answers (True)."""
    found: dict[tuple[str, bool], list[Any]] = {}
    for task_id, channel, value in writes:
        if channel == RESUME:
            is_list = isinstance(value, list) and task_id != _NO_TASK
            found[task_id, True] = value if is_list else [value]
        elif channel not in WRITES_IDX_MAP:
            found.setdefault((task_id, False), []).append((channel, value))
    return found


def _ordered(value: Any) -> Any:
    """Return a checkpoint with its channels in one order; PostgreSQL keeps none."""
    if not isinstance(value, dict) or "channel_values" not in value:
        return value
    seen = value["versions_seen"]
    return {
        **{key: value[key] for key in sorted(value)},
        "channel_values": _by_name(value["channel_values"]),
        "channel_versions": _by_name(value["channel_versions"]),
        "versions_seen": {node: _by_name(seen[node]) for node in sorted(seen)},
    }


def _by_name(value: dict[str, Any]) -> dict[str, Any]:
    return {key: value[key] for key in sorted(value)}
