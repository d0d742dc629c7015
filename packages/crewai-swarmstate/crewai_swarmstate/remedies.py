"""Workarounds for defects of CrewAI that lose checkpoints, whichever provider writes them.

Memory runs internal flows, which CrewAI adds to the state that it checkpoints. Their
`initial_state` is a class, which CrewAI cannot write as JSON, so every checkpoint after the first
use of memory fails and only a warning is logged. These flows live for one call and nothing is ever
restored from them, so the first workaround leaves them out.

CrewAI writes checkpoints concurrently with the run, and reads its event record without taking the
record's lock. If an event is added at that moment, pydantic panics: the checkpoint is lost, and a
flow, which waits for its checkpoints, ends with a `PanicException` that `except Exception` does not
catch. The second workaround takes the lock.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .panics import is_panic

__all__ = ["checkpoint_under_lock", "checkpoint_without_internal_flows"]


def checkpoint_without_internal_flows() -> Callable[[], None] | None:
    """Leave memory's internal flows out of checkpoints, if they would break them.

    Returns:
        A function that undoes the workaround; None if this CrewAI does not have the defect.
    """
    from crewai.events.event_bus import CrewAIEventsBus
    from crewai.memory.encoding_flow import EncodingFlow
    from crewai.memory.recall_flow import RecallFlow

    if not _is_needed():
        return None
    original = CrewAIEventsBus.register_entity

    def register_entity(self: CrewAIEventsBus, entity: Any) -> None:
        # CrewAI 1.14.7 does not mark them as internal.
        if not (
            isinstance(entity, EncodingFlow | RecallFlow)
            or getattr(type(entity), "is_crewai_internal", False)
        ):
            original(self, entity)

    CrewAIEventsBus.register_entity = register_entity  # type: ignore[method-assign]  # the workaround

    def undo() -> None:
        CrewAIEventsBus.register_entity = original  # type: ignore[method-assign]  # undo

    return undo


def _is_needed() -> bool:
    from crewai.memory.recall_flow import RecallFlow
    from pydantic_core import PydanticSerializationError

    flow = RecallFlow(storage=None, llm=None, embedder=None)
    try:
        flow.model_dump(mode="json")
    except PydanticSerializationError:
        return True
    return False


def checkpoint_under_lock() -> Callable[[], None] | None:
    """Checkpoint the event record under its lock, if CrewAI does not.

    Anything else that changes while it is read, such as the state of a flow with concurrent
    listeners, raises a RuntimeError instead of a panic: CrewAI logs that this checkpoint failed,
    and the run continues.

    Returns:
        A function that undoes the workaround; None if this CrewAI does not have the defect.
    """
    from crewai.state.event_record import EventRecord
    from crewai.state.runtime import RuntimeState

    if _is_locked():
        return None
    dump_record = EventRecord.model_dump
    originals = (RuntimeState.model_dump, RuntimeState.model_dump_json)

    def locked(self: EventRecord, **options: Any) -> dict[str, Any]:
        with self._lock.r_locked():
            return dump_record(self, **options)

    EventRecord.model_dump = locked  # type: ignore[assignment]  # the workaround
    for original in originals:
        setattr(RuntimeState, original.__name__, _raising_no_panic(original))

    def undo() -> None:
        EventRecord.model_dump = dump_record  # type: ignore[method-assign]  # undo
        for original in originals:
            setattr(RuntimeState, original.__name__, original)

    return undo


def _raising_no_panic(dump: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(dump)
    def wrapper(state: Any, *args: Any, **options: Any) -> Any:
        try:
            return dump(state, *args, **options)
        except BaseException as error:
            if not is_panic(error):
                raise
            raise RuntimeError(
                f"CrewAI's state changed while it was being written as JSON: {error}"
            ) from error

    return wrapper


def _is_locked() -> bool:
    from crewai.state.runtime import RuntimeState
    from crewai.utilities.rw_lock import RWLock

    taken = False

    class Noting(RWLock):
        def r_acquire(self) -> None:
            nonlocal taken
            taken = True
            super().r_acquire()

    state = RuntimeState(root=[])
    state.event_record._lock = Noting()
    state.model_dump(mode="json")
    return taken
