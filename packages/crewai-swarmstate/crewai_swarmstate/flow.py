"""Flow state on a swarmstate store: where `@persist` writes and flows resume from."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from crewai.flow.persistence.base import FlowPersistence
from pydantic import BaseModel, Field
from swarmstate.base import Batch, Query
from swarmstate.codec import Codec

from .fields import StoreUri
from .handles import shared_store
from .plain import plain
from .sequences import append, newest

if TYPE_CHECKING:
    import os

    from crewai.flow.async_feedback.types import PendingFeedbackContext
    from swarmstate import BaseStore

__all__ = ["FlowStep", "SwarmStateFlowPersistence"]

_STEPS = "state/"
_PENDING = "pending"


class FlowStep(NamedTuple):
    """One saved state of a flow.

    Attributes:
        method: The flow method that completed.
        saved_at: When it was saved, in UTC.
        state: The state after that method.
    """

    method: str
    saved_at: datetime
    state: dict[str, Any]


class SwarmStateFlowPersistence(FlowPersistence):
    """CrewAI flow persistence on a swarmstate store.

    Every save is kept: `history` returns them all, `load_state` the newest. Each flow has the
    namespace `crewai-flow:{flow_uuid}`; its records are msgpack maps that any language can read.

    States are stored with their types (dates, sets, bytes and so on). Pydantic models are stored as
    their JSON form, as in CrewAI's own backend, except that bytes that are not valid text stay
    bytes. A value with no msgpack form is stored as its `str`, as in CrewAI's backend, and a
    warning is logged. Sets whose members are stored as maps become lists. A state that contains
    itself, or is nested more than 200 levels deep, is refused with an `EncodeError`.

    Args:
        uri: The store: what `swarmstate.open` takes, or the path of a file. May be passed
            positionally.
    """

    # CrewAI's registry finds the class to restore by this name.
    persistence_type: str = Field(default="SwarmStateFlowPersistence")
    uri: StoreUri

    def __init__(self, uri: str | os.PathLike[str] | None = None, /, **kwargs: Any) -> None:
        if uri is not None:
            kwargs["uri"] = uri
        super().__init__(**kwargs)

    def init_db(self) -> None:
        """Open the store, which sets up its schema, and read from it.

        Raises:
            UnknownSchemeError: No installed store opens such URIs.
            StoreUnavailableError: The store cannot be opened, or its server cannot be reached.
        """
        # A store may not contact its server before the first read: fail here rather than mid-flow.
        self._store.read([Query(_namespace("any"), keys=[_PENDING])])

    def save_state(
        self, flow_uuid: str, method_name: str, state_data: dict[str, Any] | BaseModel
    ) -> None:
        """Append the state to the history of the flow.

        Raises:
            ValueError: `state_data` is neither a dict nor a pydantic model.
            EncodeError: It is nested too deeply, or contains itself.
        """
        append(
            self._store,
            _namespace(flow_uuid),
            _STEPS,
            # Encoded on each attempt: methods that run concurrently share a state, so a state
            # encoded before another method's step was written may lack that step's changes.
            lambda key: {key: _step(method_name, state_data)},
        )

    def load_state(self, flow_uuid: str) -> dict[str, Any] | None:
        """Return the newest state of the flow, or None if there is none."""
        steps = self._steps(flow_uuid, 1)
        return steps[0].state if steps else None

    def history(self, flow_uuid: str, limit: int | None = None) -> list[FlowStep]:
        """Return the saved states of the flow, newest first.

        Args:
            flow_uuid: The flow's id.
            limit: At most this many; all if None.
        """
        return self._steps(flow_uuid, limit)

    def delete(self, flow_uuid: str) -> None:
        """Delete everything stored for the flow."""
        self._store.clear(_namespace(flow_uuid))

    def save_pending_feedback(
        self,
        flow_uuid: str,
        context: PendingFeedbackContext,
        state_data: dict[str, Any] | BaseModel,
    ) -> None:
        """Append the state and mark the flow as waiting for feedback, atomically.

        An existing mark is replaced.
        """
        append(
            self._store,
            _namespace(flow_uuid),
            _STEPS,
            lambda key: {
                key: _step(context.method_name, state_data),
                _PENDING: _mark(context, state_data),
            },
        )

    def load_pending_feedback(
        self, flow_uuid: str
    ) -> tuple[dict[str, Any], PendingFeedbackContext] | None:
        """Return the state and context of a flow that waits for feedback, or None."""
        from crewai.flow.async_feedback.types import PendingFeedbackContext

        [result] = self._store.read([Query(_namespace(flow_uuid), keys=[_PENDING])])
        [mark] = result.values
        if mark is None:
            return None
        pending = _codec.loads(mark)
        return pending["state"], PendingFeedbackContext.from_dict(pending["context"])

    def clear_pending_feedback(self, flow_uuid: str) -> None:
        """Remove the mark; a flow without one is unchanged."""
        self._store.write([Batch(_namespace(flow_uuid), delete=[_PENDING])])

    @property
    def _store(self) -> BaseStore:
        return shared_store(self.uri)

    def _steps(self, flow_uuid: str, limit: int | None) -> list[FlowStep]:
        [result] = self._store.read([Query(_namespace(flow_uuid), ranges=[newest(_STEPS, limit)])])
        records = (_codec.loads(value) for _, value in result.ranges[0])
        return [
            FlowStep(each["method"], datetime.fromisoformat(each["saved_at"]), each["state"])
            for each in records
        ]


_codec = Codec()


def _namespace(flow_uuid: str) -> str:
    return f"crewai-flow:{flow_uuid}"


def _step(method_name: str, state_data: dict[str, Any] | BaseModel) -> bytes:
    return _codec.dumps(
        {
            "method": method_name,
            "saved_at": datetime.now(timezone.utc).isoformat(),
            "state": _state(state_data),
        }
    )


def _mark(context: PendingFeedbackContext, state_data: dict[str, Any] | BaseModel) -> bytes:
    return _codec.dumps(
        {"context": plain(context.to_dict(), "context"), "state": _state(state_data)}
    )


def _state(state_data: dict[str, Any] | BaseModel) -> dict[str, Any]:
    if not isinstance(state_data, dict | BaseModel):
        raise ValueError(
            "expected the state of a flow to be a dict or a pydantic model, "
            f"found {type(state_data).__name__}"
        )
    state: dict[str, Any] = plain(state_data, "state")
    return state
