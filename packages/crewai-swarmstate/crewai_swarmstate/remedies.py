"""A remedy for a defect of CrewAI that keeps crews with memory from being checkpointed.

Memory works through flows of its own, which CrewAI adds to the state that it
checkpoints. Their `initial_state` is a class, which CrewAI cannot write as JSON,
so every checkpoint after the first use of memory fails and only a warning is
logged. These flows live for one call and nothing is ever restored from them:
the remedy leaves them out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["checkpoint_without_internal_flows"]


def checkpoint_without_internal_flows() -> Callable[[], None] | None:
    """Leave memory's own flows out of checkpoints, if they would break them.

    Returns:
        What takes the remedy back; None if this CrewAI does not have the defect.
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

    CrewAIEventsBus.register_entity = register_entity  # type: ignore[method-assign]  # the remedy

    def undo() -> None:
        CrewAIEventsBus.register_entity = original  # type: ignore[method-assign]  # as it was

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
