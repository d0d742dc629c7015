"""Make swarmstate CrewAI's default storage, and undo it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from .handles import canonical_uri, close_stores
from .requiring import requiring_crewai

if TYPE_CHECKING:
    from crewai.flow.persistence.factory import FlowPersistenceFactory
    from crewai.knowledge.storage.base_knowledge_storage import BaseKnowledgeStorage
    from crewai.knowledge.storage.factory import KnowledgeStorageFactory
    from crewai.memory.storage.backend import StorageBackend
    from crewai.memory.storage.factory import MemoryStorageFactory
    from crewai_core.lock_store import LockBackend

    from .storage import Scoring

__all__ = ["SCHEME", "install", "uninstall"]

# `Memory(storage="swarmstate:disk:///crew.db")` names its own store.
SCHEME = "swarmstate:"

# What `Memory()` passes by default.
_DEFAULT_SPEC = "lancedb"


class _Replaced(NamedTuple):
    """What CrewAI used before; None stands for CrewAI's own default."""

    memory: MemoryStorageFactory | None
    knowledge: KnowledgeStorageFactory | None
    flow: FlowPersistenceFactory | None
    lock: LockBackend | None


_lock = threading.Lock()
_replaced: _Replaced | None = None
_Undo: TypeAlias = Callable[[], None]
_Remedy: TypeAlias = Callable[[], _Undo | None]
_undo_remedies: dict[_Remedy, _Undo] = {}


def install(
    uri: str | os.PathLike[str],
    *,
    default: bool = True,
    scoring: Scoring = "lancedb",
    locks: bool = False,
    checkpoint_memory: bool = False,
    checkpoint_locked: bool = False,
) -> None:
    """Make CrewAI keep memory, flow state and knowledge in a swarmstate store.

    Call it once at startup, before importing modules with flows: `@persist()` chooses its
    persistence when it decorates. Memories that name another storage keep it. Installing again
    replaces the whole installation: anything not requested again reverts to what CrewAI used
    before.

    Args:
        uri: The store: what `swarmstate.open` takes, or the path of a file.
        default: Replace CrewAI's defaults. Otherwise only `Memory(storage=...)` with "swarmstate"
            (this store) or "swarmstate:" and a URI uses swarmstate.
        scoring: How the similarity of memories is scored; see `SwarmStateStorage`.
        locks: Also keep CrewAI's named locks in the store, so that they work across machines; see
            `lock_backend`.
        checkpoint_memory: Work around a defect of CrewAI that prevents checkpoints of crews with a
            memory; see the module `remedies`. CrewAI versions without the defect are left
            unchanged.
        checkpoint_locked: Make CrewAI take its own lock while it writes a checkpoint. Without the
            lock, a checkpoint occasionally fails, which also ends a flow; see the module
            `remedies`. CrewAI versions that take the lock are left unchanged.

    Raises:
        ModuleNotFoundError: CrewAI is not installed.
        TypeError: `uri` is neither a string nor a path.
        UnknownSchemeError: No installed store opens such URIs.
        StoreUnavailableError: The store cannot be opened, or its server cannot be reached.
        ValueError: `scoring` is not a known scoring.
    """
    with requiring_crewai():
        from crewai.flow.persistence import factory as flow_factory
        from crewai.knowledge.storage import factory as knowledge_factory
        from crewai.memory.storage import factory as memory_factory
        from crewai_core import lock_store

        from .flow import SwarmStateFlowPersistence
        from .knowledge import SwarmStateKnowledgeStorage
        from .locks import lock_backend
        from .remedies import checkpoint_under_lock, checkpoint_without_internal_flows
        from .storage import SwarmStateStorage

    global _replaced
    installed = canonical_uri(uri)
    persistence = SwarmStateFlowPersistence(installed)
    persistence.init_db()
    SwarmStateStorage(installed, scoring=scoring)  # Raises if `scoring` is unknown.

    def memory(spec: str) -> StorageBackend | None:
        if spec == "swarmstate" or (default and spec == _DEFAULT_SPEC):
            return SwarmStateStorage(installed, scoring=scoring)
        if spec.startswith(SCHEME):
            return SwarmStateStorage(spec[len(SCHEME) :], scoring=scoring)
        return None

    def knowledge(embedder: Any, collection: str | None) -> BaseKnowledgeStorage:
        return SwarmStateKnowledgeStorage(
            uri=installed, embedder=embedder, collection_name=collection
        )

    with _lock:
        if _replaced is None:
            _replaced = _Replaced(
                memory_factory._factory,
                knowledge_factory._factory,
                flow_factory._factory,
                lock_store._backend,
            )
        # Anything not requested now reverts to CrewAI's, so nothing of an earlier call remains.
        memory_factory.set_memory_storage_factory(memory)
        knowledge_factory.set_knowledge_storage_factory(
            knowledge if default else _replaced.knowledge
        )
        flow_factory.set_flow_persistence_factory(
            (lambda: persistence) if default else _replaced.flow
        )
        lock_store.set_lock_backend(lock_backend(installed) if locks else _replaced.lock)
        _remedy(checkpoint_memory, checkpoint_without_internal_flows)
        _remedy(checkpoint_locked, checkpoint_under_lock)


def uninstall() -> None:
    """Restore what CrewAI used before `install`, and close the stores.

    Memories and flows created in the meantime keep their storage, which reopens its store on the
    next use. Does nothing if `install` was not called.
    """
    global _replaced
    with _lock:
        if _replaced is None:
            return
        from crewai.flow.persistence.factory import set_flow_persistence_factory
        from crewai.knowledge.storage.factory import set_knowledge_storage_factory
        from crewai.memory.storage.factory import set_memory_storage_factory
        from crewai_core.lock_store import set_lock_backend

        while _undo_remedies:
            _undo_remedies.popitem()[1]()
        set_memory_storage_factory(_replaced.memory)
        set_knowledge_storage_factory(_replaced.knowledge)
        set_flow_persistence_factory(_replaced.flow)
        set_lock_backend(_replaced.lock)
        _replaced = None
    close_stores()


def _remedy(is_asked_for: bool, apply: _Remedy) -> None:
    if not is_asked_for:
        undo = _undo_remedies.pop(apply, None)
        if undo is not None:
            undo()
    elif apply not in _undo_remedies:
        undo = apply()
        if undo is not None:
            _undo_remedies[apply] = undo
