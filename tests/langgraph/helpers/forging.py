"""Records that pass their checksum but have invalid content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swarmstate import dumps, loads
from swarmstate.errors import DecodeError
from swarmstate.sharing import seal, unseal

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["forgeries", "sealed_forgeries"]

_OTHERS: tuple[Any, ...] = (None, 7, "text", b"bytes", [], {}, [None], {"a": None})


def forgeries(node: Any) -> Iterator[Any]:
    """Yield plain data with one part of it, at any depth, replaced or removed.

    This includes parts of bytes that hold an encoded list or map.
    """
    yield from (other for other in _OTHERS if type(other) is not type(node) or other != node)
    if isinstance(node, dict):
        for name, part in node.items():
            rest = {other: kept for other, kept in node.items() if other != name}
            yield rest
            yield {**rest, 7: part}
            yield from ({**node, name: forged} for forged in forgeries(part))
    elif isinstance(node, list):
        yield [*node, None]
        for position, part in enumerate(node):
            before, after = node[:position], node[position + 1 :]
            yield [*before, *after]
            yield from ([*before, forged, *after] for forged in forgeries(part))
    elif isinstance(node, bytes):
        yield node[:-1]
        try:
            content = loads(node)
        except DecodeError:
            return
        if isinstance(content, list | dict):
            yield from map(dumps, forgeries(content))


def sealed_forgeries(record: bytes, key: str = "") -> Iterator[bytes]:
    """Yield a sealed record with one part of its content changed and a valid checksum."""
    yield from (seal(forged, key) for forged in forgeries(unseal(record, key)))
