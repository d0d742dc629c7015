"""Making swarmstate CrewAI's default storage, and taking that back."""

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

# `Memory(storage="swarmstate:disk:///crew.db")` names a store of its own.
SCHEME = "swarmstate:"

# What `Memory()` passes when nothing else is asked for.
_DEFAULT_SPEC = "lancedb"


class _Replaced(NamedTuple):
    """What CrewAI used before; None is its own default."""

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

    Call it once at start, before modules with flows are imported: `@persist()`
    chooses its persistence when it decorates. Memories that name another
    storage keep it. Installing again replaces what was installed, all of it: what
    is not asked for again is given back to CrewAI.

    Args:
        uri: The store: what `swarmstate.open` takes, or the path of a file.
        default: Replace CrewAI's defaults. Otherwise only `Memory(storage=...)`
            with "swarmstate" (this store) or "swarmstate:" and a URI is served.
        scoring: How similar memories are, see `SwarmStateStorage`.
        locks: Hold CrewAI's named locks in the store, too, so that they hold
            between machines; see `lock_backend`.
        checkpoint_memory: Let crews that have a memory be checkpointed, which a
            defect of CrewAI prevents; see the module `remedies`.
            CrewAI versions without the defect are left as they are.
        checkpoint_locked: Let CrewAI take its own lock while it writes a checkpoint.
            Without it checkpoints are now and then missing, and end flows; see the
            module `remedies`. Versions that take it are left as they are.

    Raises:
        ModuleNotFoundError: CrewAI is not installed.
        TypeError: `uri` is neither a text nor a path.
        UnknownSchemeError: No installed store opens such URIs.
        StoreUnavailableError: The store cannot be opened, or its server not be reached.
        ValueError: `scoring` is none of those that there are.
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
    SwarmStateStorage(installed, scoring=scoring)  # Raises if there is no such scoring.

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
        # What is not asked for now is given back, so that nothing of an earlier call is left.
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
    """Give CrewAI back what it used before `install`, and close the stores.

    Memories and flows that were made meanwhile keep their storage, which opens
    its store again when it is used. Without `install` nothing happens.
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
