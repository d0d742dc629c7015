"""Translates filters of collections to SQL over `facts` that selects at least every match.

`swarmstate.vectors.Where` defines what a filter means. The SQL compares numbers, strings,
bools and None exactly, and lets pass what it cannot decide.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from swarmstate.serving import VectorWhere

__all__ = ["Parameters", "escaped", "facts_json", "where_sql"]

# Stands in `facts` for unknown values. A string equal to it passes every filter, too.
_UNKNOWN = "\x01unknown"
# The index over scopes covers this many segments, and their first characters.
_INDEXED_SEGMENTS = 3
_INDEXED_LENGTH = 60
_OPERATORS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


class Parameters:
    """The parameters of a statement and their placeholders."""

    def __init__(self, *values: Any) -> None:
        self.values = list(values)

    def add(self, value: Any, kind: str) -> str:
        """Add a value and return its placeholder, cast to an SQL type."""
        self.values.append(value)
        return f"${len(self.values)}::{kind}"

    def add_json(self, value: Any) -> str:
        """Add a value as jsonb and return its placeholder."""
        return f"{self.add(json.dumps(value), 'text')}::jsonb"


def escaped(text: str) -> str:
    """Escape NUL, which PostgreSQL's text type cannot hold."""
    return text.replace("\\", "\\\\").replace("\0", "\\0")


def facts_json(facts: Any) -> str | None:
    """Return plain data as JSON, with `_UNKNOWN` for unknown parts; None if all is unknown."""
    return None if facts is ... else json.dumps(_plain(facts))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            return _UNKNOWN
        # With all its digits, since jsonb compares numbers by their digits.
        return int(value) if value.is_integer() else value
    if isinstance(value, str):
        return _UNKNOWN if "\0" in value else value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        if any("\0" in key for key in value):
            return _UNKNOWN
        return {key: _plain(item) for key, item in value.items()}
    return _UNKNOWN if value is ... else value


def where_sql(where: VectorWhere, parameters: Parameters) -> str:
    """Return conditions on a row `v`, each preceded by AND.

    Operators on anyarray are qualified with their schema. Otherwise an operator on text[], which
    anybody may have put into a schema of the `search_path`, would take precedence.
    """
    conditions = []
    if where.scope:
        scope = [escaped(segment) for segment in where.scope]
        given = parameters.add(scope, "text[]")
        conditions.append(f"v.scope[1:{len(scope)}] OPERATOR(pg_catalog.=) {given}")
        # Conditions that the index over scopes can serve.
        conditions += (
            f'"left"(v.scope[{number}], {_INDEXED_LENGTH}) = '
            f"{parameters.add(segment[:_INDEXED_LENGTH], 'text')}"
            for number, segment in enumerate(scope[:_INDEXED_SEGMENTS], 1)
        )
    if where.categories:
        categories = [escaped(category) for category in where.categories]
        given = parameters.add(categories, "text[]")
        conditions.append(f"v.categories OPERATOR(pg_catalog.&&) {given}")
    for name, condition in (where.filter or {}).items():
        conditions += _fields([name], condition, parameters)
    return "".join(f" AND {condition}" for condition in conditions)


def _fields(path: list[str], condition: Any, parameters: Parameters) -> list[str]:
    """Return the conditions on a field and on those nested in it."""
    if any("\0" in name for name in path):
        return []
    if not isinstance(condition, dict):
        return _decided(path, [_equal(condition, parameters)], parameters)
    if any(name.startswith("$") for name in condition):
        met = [_compared(name, operand, parameters) for name, operand in condition.items()]
        return _decided(path, met, parameters)
    return [
        part
        for name, inner in condition.items()
        for part in _fields([*path, name], inner, parameters)
    ]


def _decided(path: list[str], met: Sequence[str | None], parameters: Parameters) -> list[str]:
    """Return a condition on a field: it meets all of `met`, or is unknown."""
    conditions = [each for each in met if each is not None]
    if not conditions:
        return []
    unknown = parameters.add_json(_UNKNOWN)
    known = [
        f"v.facts #> {parameters.add(path[:length], 'text[]')} = {unknown}"
        for length in range(1, len(path))
    ]
    field = f"COALESCE(v.facts #> {parameters.add(path, 'text[]')}, 'null')"
    all_met = " AND ".join(conditions)
    # A subselect, so that the field is looked up once.
    decided = f"(SELECT x.f = {unknown} OR ({all_met}) FROM (SELECT {field} AS f) AS x)"
    return [f"({' OR '.join(['v.facts IS NULL', *known, decided])})"]


def _compared(name: str, operand: Any, parameters: Parameters) -> str | None:
    """Return the condition of an operator on a field `x.f`; None if SQL does not decide it."""
    if name in ("$eq", "$ne"):
        equal = _equal(operand, parameters)
        return equal if equal is None or name == "$eq" else f"NOT {equal}"
    if name not in _OPERATORS:
        return None
    return _ordered(_OPERATORS[name], operand, parameters)


def _equal(operand: Any, parameters: Parameters) -> str | None:
    if isinstance(operand, list | dict) or operand is ...:
        return None
    operand = _plain(operand)
    if operand == _UNKNOWN:
        return None
    if isinstance(operand, int | float):
        # A bool equals the number 0 or 1.
        values = [int(operand) if isinstance(operand, bool) else operand]
        if operand in (0, 1):
            values.append(bool(operand))
        equal = " OR ".join(f"x.f = {parameters.add_json(value)}" for value in values)
        return f"({equal})"
    return f"(x.f = {parameters.add_json(operand)})"


def _ordered(operator: str, operand: Any, parameters: Parameters) -> str | None:
    if operand is None:
        return "false"
    if isinstance(operand, list | dict) or operand is ...:
        return None
    number = _number(operand)
    if number is None:
        if "\0" in operand:
            return None
        text = parameters.add(operand, "text")
        return (
            "(CASE jsonb_typeof(x.f) WHEN 'string' "
            f"THEN (x.f #>> '{{}}') COLLATE \"C\" {operator} {text} ELSE false END)"
        )
    if math.isnan(number):
        return None
    given = parameters.add(number, "float8")
    # A string passes: it may hold a number, or the operand may be a string as well.
    return (
        "(CASE jsonb_typeof(x.f) "
        f"WHEN 'number' THEN x.f::text::float8 {operator} {given} "
        f"WHEN 'boolean' THEN (CASE WHEN x.f = 'true' THEN 1 ELSE 0 END) {operator} {given} "
        "WHEN 'string' THEN true ELSE false END)"
    )


def _number(operand: Any) -> float | None:
    try:
        return float(operand)
    except (TypeError, ValueError, OverflowError):
        return None
