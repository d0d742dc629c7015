"""Stores on top of stores: encryption, compression, metrics, sharding, and their base classes.

    CompressedStore(EncryptedStore(DiskStore("agents.db"), KeyRing.from_env()))

A layer is itself a store. It adopts the `allow` of the store below, and closes that
store when it is closed.
"""

from __future__ import annotations

from swarmstate.layers._base import StoreLayer, ValueLayer
from swarmstate.layers._compressed import CompressedStore, train_dictionary
from swarmstate.layers._encrypted import EncryptedStore, Rotation
from swarmstate.layers._keys import KeyRing, new_key
from swarmstate.layers._metered import MeteredStore, metered
from swarmstate.layers._sharded import ShardedStore
from swarmstate.operations import Compute, Copy, Namespaces, Operation, Read, Write

__all__ = [
    "CompressedStore",
    "Compute",
    "Copy",
    "EncryptedStore",
    "KeyRing",
    "MeteredStore",
    "Namespaces",
    "Operation",
    "Read",
    "Rotation",
    "ShardedStore",
    "StoreLayer",
    "ValueLayer",
    "Write",
    "metered",
    "new_key",
    "train_dictionary",
]
