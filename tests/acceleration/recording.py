"""Turn what a run did into text, so that equal behavior gives equal text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import BaseMessage
from pydantic import BaseModel

_PATTERNS = {
    "time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?\+00:00"),
    "version": re.compile(r"\d{32}\.[\d.]+(?:e-\d+)?"),
    "id": re.compile(
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32}\b"
    ),
    "memory": re.compile(r"0x[0-9a-f]+"),
}


def record(value: Any) -> str:
    """Return text that describes a value, except its times; random ids are numbered in order."""
    text = "\n".join(_plain(value))
    for name, pattern in _PATTERNS.items():
        seen: dict[str, str] = {}
        constant = name in {"time", "memory"}

        def named(
            match: re.Match[str],
            seen: dict[str, str] = seen,
            name: str = name,
            constant: bool = constant,
        ) -> str:
            return name if constant else seen.setdefault(match.group(), f"{name}-{len(seen)}")

        text = pattern.sub(named, text)
    return text


def _plain(value: Any, depth: int = 0) -> list[str]:
    """Return the lines that describe a value."""
    indent = "  " * depth
    if isinstance(value, BaseMessage | BaseModel):
        inside: Any = value.model_dump()
    elif isinstance(value, BaseException):
        notes = getattr(value, "__notes__", [])
        inside = {"args": value.args, "notes": notes, "cause": value.__cause__}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        inside = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, Mapping):
        inside = dict(value)
    elif isinstance(value, tuple) and hasattr(value, "_asdict"):
        inside = value._asdict()
    elif isinstance(value, set | frozenset):
        inside = sorted(map(repr, value))
    elif isinstance(value, list | tuple):
        inside = list(value)
    else:
        return [f"{indent}{value!r}"]
    lines = [f"{indent}{type(value).__name__}"]
    items = inside.items() if isinstance(inside, dict) else enumerate(inside)
    for key, item in items:
        first, *rest = _plain(item, depth + 1)
        lines += [f"{indent}{key}: {first.strip()}", *rest]
    return lines
