"""A path in place of a store is refused at once, with a message that says what to write."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from swarmstate import Store
from swarmstate.cached import cached
from swarmstate.layers import (
    CompressedStore,
    EncryptedStore,
    KeyRing,
    MeteredStore,
    ShardedStore,
    metered,
)
from swarmstate.observability import Summary
from swarmstate.vectors import Collection

# Any, since a type checker would refuse these arguments.
MAKERS: dict[str, Callable[[Any], object]] = {
    "encrypted": lambda path: EncryptedStore(path, KeyRing({"k": bytes(32)}, active="k")),
    "compressed": CompressedStore,
    "metered": lambda path: MeteredStore(path, Summary()),
    "metered without a sink": lambda path: metered(path, None),
    "sharded": lambda path: ShardedStore({"a": path}),
    "collection": lambda path: Collection(path, "facts"),
    "collection without snapshots": lambda path: Collection(path, "facts", snapshots=False),
    "cached": lambda path: cached(store=path),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))
def test_a_path_is_no_store(make: Callable[[Any], object]) -> None:
    expected = 'expected a store, such as DiskStore("x.db"), found str'
    with pytest.raises(TypeError, match=f"^{re.escape(expected)}$"):
        make("memory.db")


# Any, as above.
@pytest.mark.parametrize("stores", ["x.db", b"x.db", None, [Store()], Store()], ids=type)
def test_shards_without_names_are_refused(stores: Any) -> None:
    with pytest.raises(TypeError, match=r"^expected a dict of stores by name, .* found \w+$"):
        ShardedStore(stores)
