"""Every layer, and stacks of layers, keep the contract of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from swarmstate import DiskStore, Store
from swarmstate.base import BaseStore
from swarmstate.layers import CompressedStore, ShardedStore, StoreLayer
from swarmstate.testing import StoreContract

from tests.layers.wrapping import Compressed, Encrypted, Metered, Plain, Stacked


class LayerContract(StoreContract):
    """The contract over the stores that need no server."""

    manual_clock = True

    def below(self, path: Path) -> BaseStore:
        return Store(clock=self.clock)

    def wrap(self, store: BaseStore) -> BaseStore:
        raise NotImplementedError

    def make_store(self, path: Path) -> BaseStore:
        return self.wrap(self.below(path))


class OverFile(LayerContract):
    persistent = True
    shared = True

    def below(self, path: Path) -> BaseStore:
        path.mkdir(exist_ok=True)
        return DiskStore(path / "state.db", durability="normal", clock=self.clock)


class TestLayerOverMemory(Plain, LayerContract):
    pass


class TestEncryptedOverMemory(Encrypted, LayerContract):
    pass


class TestEncryptedOverFile(Encrypted, OverFile):
    pass


class TestCompressedOverMemory(Compressed, LayerContract):
    pass


class TestCompressedOverFile(Compressed, OverFile):
    pass


class TestMeteredOverMemory(Metered, LayerContract):
    pass


class TestMeteredOverFile(Metered, OverFile):
    pass


class TestStackOverMemory(Stacked, LayerContract):
    pass


class TestStackOverFile(Stacked, OverFile):
    pass


class TestShardedOverMemory(LayerContract):
    def make_store(self, path: Path) -> BaseStore:
        return ShardedStore({name: Store(clock=self.clock) for name in "abc"})


class TestShardedOverFiles(LayerContract):
    persistent = True
    shared = True

    def make_store(self, path: Path) -> BaseStore:
        path.mkdir(exist_ok=True)
        return ShardedStore(
            {
                name: DiskStore(path / f"{name}.db", durability="normal", clock=self.clock)
                for name in "abc"
            }
        )


@pytest.mark.parametrize("layer", [StoreLayer, CompressedStore], ids=lambda each: each.__name__)
def test_a_layer_shows_what_it_is_over(layer: type[StoreLayer]) -> None:
    assert repr(layer(Store())).startswith(f"{layer.__name__}(<swarmstate.memory.Store")


def test_what_only_a_store_below_has_is_an_error_that_says_where_it_is(tmp_path: Path) -> None:
    file = DiskStore(tmp_path / "state.db", durability="normal")
    layer: Any = StoreLayer(StoreLayer(file))
    with pytest.raises(AttributeError, match=r"the DiskStore below has it: use \.store\.store\.v"):
        layer.vacuum()
    assert layer.store.store.vacuum() == 0
    sharded: Any = StoreLayer(ShardedStore({"a": Store(), "b": StoreLayer(file)}))
    with pytest.raises(AttributeError, match=r"use \.store\.shards\['b'\]\.store\.avacuum$"):
        sharded.avacuum()
    with pytest.raises(AttributeError, match=r"use \.store\.shard_of$"):
        sharded.shard_of("n")
    assert not hasattr(layer, "vacuum")
    with pytest.raises(AttributeError, match=r"'StoreLayer' object has no attribute 'vacum'$"):
        layer.vacum()
    file.close()
