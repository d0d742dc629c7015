"""The layers to try over every store."""

from __future__ import annotations

from swarmstate.base import BaseStore
from swarmstate.layers import CompressedStore, EncryptedStore, KeyRing, MeteredStore, StoreLayer
from swarmstate.observability import Summary

KEYS = KeyRing({"old": bytes(32), "new": bytes(range(32))}, active="new")


class Plain:
    def wrap(self, store: BaseStore) -> BaseStore:
        return StoreLayer(store)


class Encrypted:
    def wrap(self, store: BaseStore) -> BaseStore:
        return EncryptedStore(store, KEYS)


class Compressed:
    def wrap(self, store: BaseStore) -> BaseStore:
        return CompressedStore(store, min_size=0)


class Metered:
    def wrap(self, store: BaseStore) -> BaseStore:
        return MeteredStore(store, Summary())


class Stacked:
    def wrap(self, store: BaseStore) -> BaseStore:
        return MeteredStore(CompressedStore(EncryptedStore(store, KEYS)), Summary())
