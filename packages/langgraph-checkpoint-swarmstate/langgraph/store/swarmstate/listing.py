"""Listing namespaces."""

from __future__ import annotations

from collections.abc import Sequence

from langgraph.store.base import ListNamespacesOp, MatchCondition

from swarmstate import Query, Range
from swarmstate.base import check_count
from swarmstate.operations import Namespaces, Operation, Read

from .layout import (
    EVERYTHING,
    EXPIRY,
    ITEMS,
    Labels,
    below,
    check_labels,
    in_order,
    namespace_of,
    parse_expiry,
)

# Namespaces to look into per round trip, unless more are requested.
_PAGE = 100

_ANY = "*"


def check_listing(op: ListNamespacesOp) -> None:
    """Check the arguments that LangGraph does not check.

    Raises:
        ValueError: A number is negative, or a kind of condition is unknown.
        TypeError: The path of a condition is a single string, or a number is not one.
    """
    check_count("limit", op.limit)
    check_count("offset", op.offset)
    if op.max_depth is not None:
        check_count("max_depth", op.max_depth)
    for condition in op.match_conditions or ():
        if condition.match_type not in ("prefix", "suffix"):
            raise ValueError(f"Unsupported match type: {condition.match_type}")
        check_labels(condition.path)


def list_namespaces(op: ListNamespacesOp, now: float) -> Operation[list[Labels]]:
    """Return the namespaces that hold an unexpired item, in order."""
    conditions = op.match_conditions or ()
    start = _fixed_start(conditions)
    names: list[str] = yield Namespaces(below(start))
    left = in_order(start, names)
    for condition in conditions:
        if tuple(condition.path) != start or condition.match_type != "prefix":
            left = [labels for labels in left if _matches(condition, labels)]
    wanted = op.offset + op.limit
    page_size = max(_PAGE, wanted)
    listed: dict[Labels, None] = {}
    while left and len(listed) < wanted:
        page, left = left[:page_size], left[page_size:]
        alive = yield from _alive(page, now)
        # Truncating sorted tuples keeps them sorted.
        listed.update((labels[: op.max_depth], None) for labels in alive)
    return [*listed][op.offset : wanted]


def _fixed_start(conditions: Sequence[MatchCondition]) -> Labels:
    """Return labels that every namespace matching the conditions begins with."""
    for match_type, path in conditions:
        if match_type == "prefix":
            path = tuple(path)
            return path[: path.index(_ANY)] if _ANY in path else path
    return ()


def _matches(condition: MatchCondition, labels: Labels) -> bool:
    path = tuple(condition.path)
    if len(labels) < len(path):
        return False
    part = labels[: len(path)] if condition.match_type == "prefix" else labels[-len(path) :]
    return not path or all(
        wanted in (_ANY, label) for label, wanted in zip(part, path, strict=True)
    )


def _alive(page: Sequence[Labels], now: float) -> Operation[list[Labels]]:
    """Return the namespaces that hold an unexpired item."""
    first = [
        Range.of_prefix(ITEMS, limit=1, keys_only=True),
        Range.of_prefix(EXPIRY, limit=1, keys_only=True),
    ]
    results = yield Read([Query(namespace_of(labels), ranges=first) for labels in page])
    alive, unsure = set(), []
    for labels, result in zip(page, results, strict=True):
        items, expiries = result.ranges
        # An item lives until its expiry, so a single expiry in the future is enough.
        if items and not any(_is_past(labels, name, now) for name, _ in expiries):
            alive.add(labels)
        elif items:
            unsure.append(labels)
    if unsure:
        names = [Range(EXPIRY, EVERYTHING.stop, keys_only=True)]
        results = yield Read([Query(namespace_of(labels), ranges=names) for labels in unsure])
        alive.update(
            labels
            for labels, result in zip(unsure, results, strict=True)
            if _has_live_item(labels, [name for name, _ in result.ranges[0]], now)
        )
    return [labels for labels in page if labels in alive]


def _has_live_item(labels: Labels, names: Sequence[str], now: float) -> bool:
    namespace = namespace_of(labels)
    expiries = (parse_expiry(namespace, name) for name in names if name.startswith(EXPIRY))
    expired = {key for key, expires in expiries if expires <= now * 1000}
    return any(name.startswith(ITEMS) and name[len(ITEMS) :] not in expired for name in names)


def _is_past(labels: Labels, name: str, now: float) -> bool:
    return parse_expiry(namespace_of(labels), name)[1] <= now * 1000
