"""Flow state on a swarmstate store: what `@persist` writes and a flow resumes from."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from crewai.flow.persistence.base import FlowPersistence
from pydantic import BaseModel, Field, field_validator
from pydantic_core import PydanticSerializationError
from swarmstate.base import Batch, Query
from swarmstate.codec import Codec
from swarmstate.errors import CodecError, EncodeError

from .handles import canonical_uri, shared_store
from .sequences import append, newest

if TYPE_CHECKING:
    from crewai.flow.async_feedback.types import PendingFeedbackContext
    from swarmstate import BaseStore

__all__ = ["FlowStep", "SwarmStateFlowPersistence"]

logger = logging.getLogger(__name__)

_STEPS = "state/"
_PENDING = "pending"
# Each level takes two of the thousand frames that Python allows, and others need some, too.
_DEEPEST = 200


class FlowStep(NamedTuple):
    """One saved state of a flow.

    Attributes:
        method: The flow's method that had completed.
        saved_at: When it was saved, in UTC.
        state: The state after that method.
    """

    method: str
    saved_at: datetime
    state: dict[str, Any]


class SwarmStateFlowPersistence(FlowPersistence):
    """CrewAI flow persistence on a swarmstate store.

    Every save is kept: `history` returns them all, `load_state` the newest.
    A flow is the namespace `crewai-flow:{flow_uuid}`; its records are msgpack
    maps that any language can read.

    States are stored with their types (dates, sets, bytes and so on). Pydantic
    models are stored as their JSON form, as CrewAI's own backend does. What has
    no msgpack form is stored as its `str`, again as there, and a warning is logged.
    Sets of what is stored as a map become lists. A state that contains itself, or is
    nested more than 200 levels deep, is refused with an `EncodeError`.

    Args:
        uri: The store: what `swarmstate.open` takes, or the path of a file.
            It may be given by position.
    """

    # CrewAI restores a persistence through a registry, by this name.
    persistence_type: str = Field(default="SwarmStateFlowPersistence")
    uri: str

    def __init__(self, uri: str | os.PathLike[str] | None = None, /, **kwargs: Any) -> None:
        if uri is not None:
            kwargs["uri"] = uri
        super().__init__(**kwargs)

    @field_validator("uri", mode="before")
    @classmethod
    def _canonical(cls, uri: str | os.PathLike[str]) -> str:
        return canonical_uri(uri)

    def init_db(self) -> None:
        """Open the store, which sets itself up."""
        shared_store(self.uri)

    def save_state(
        self, flow_uuid: str, method_name: str, state_data: dict[str, Any] | BaseModel
    ) -> None:
        """Append the state to the history of the flow.

        Raises:
            ValueError: `state_data` is neither a dict nor a pydantic model.
            EncodeError: It is nested too deeply, or contains itself.
        """
        step = _step(method_name, state_data)
        append(self._store, _namespace(flow_uuid), _STEPS, lambda key: {key: step})

    def load_state(self, flow_uuid: str) -> dict[str, Any] | None:
        """Return the newest state of the flow, None if there is none."""
        steps = self._steps(flow_uuid, 1)
        return steps[0].state if steps else None

    def history(self, flow_uuid: str, limit: int | None = None) -> list[FlowStep]:
        """Return the saved states of the flow, newest first.

        Args:
            flow_uuid: The flow.
            limit: At most this many; all if None.
        """
        return self._steps(flow_uuid, limit)

    def delete(self, flow_uuid: str) -> None:
        """Delete all that is stored of the flow."""
        self._store.clear(_namespace(flow_uuid))

    def save_pending_feedback(
        self,
        flow_uuid: str,
        context: PendingFeedbackContext,
        state_data: dict[str, Any] | BaseModel,
    ) -> None:
        """Append the state and mark the flow as waiting for feedback, atomically.

        A mark that is there already is replaced.
        """
        step = _step(context.method_name, state_data)
        mark = _codec.dumps(
            {"context": _plain(context.to_dict(), "context"), "state": _state(state_data)}
        )
        append(self._store, _namespace(flow_uuid), _STEPS, lambda key: {key: step, _PENDING: mark})

    def load_pending_feedback(
        self, flow_uuid: str
    ) -> tuple[dict[str, Any], PendingFeedbackContext] | None:
        """Return the state and the context of a flow that waits for feedback, else None."""
        from crewai.flow.async_feedback.types import PendingFeedbackContext

        [result] = self._store.read([Query(_namespace(flow_uuid), keys=[_PENDING])])
        [mark] = result.values
        if mark is None:
            return None
        pending = _codec.loads(mark)
        return pending["state"], PendingFeedbackContext.from_dict(pending["context"])

    def clear_pending_feedback(self, flow_uuid: str) -> None:
        """Remove the mark; a flow without one is left as it is."""
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


def _state(state_data: dict[str, Any] | BaseModel) -> dict[str, Any]:
    if not isinstance(state_data, dict | BaseModel):
        raise ValueError(
            "expected the state of a flow to be a dict or a pydantic model, "
            f"found {type(state_data).__name__}"
        )
    plain: dict[str, Any] = _plain(state_data, "state")
    return plain


def _plain(value: Any, path: str, depth: int = 0) -> Any:
    """Return `value` in types that can be read back without the classes of the flow."""
    if depth > _DEEPEST:
        raise EncodeError(
            f"cannot store {path[:60]}…: expected a state of at most {_DEEPEST} levels, "
            "found more; does it contain itself?"
        )
    below = depth + 1
    if isinstance(value, BaseModel):
        return _dumped(value, path, below)
    if isinstance(value, Mapping):
        return {
            _plain_key(key): _plain(item, f"{path}[{key!r}]", below) for key, item in value.items()
        }
    if type(value) in _CONTAINERS:
        items = [_plain(item, f"{path}[{index}]", below) for index, item in enumerate(value)]
        return _contained(value, items)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        return _plain(fields, path, below)
    if type(value) in _SCALARS:
        return value
    try:
        # A class of the flow's own could be written, but not read without being allowed.
        _codec.loads(_codec.dumps(value))
    except CodecError:
        logger.warning(
            "%s is a %s, which has no msgpack form; its str() is stored", path, type(value).__name__
        )
        return str(value)
    return value


def _plain_key(key: Any) -> Any:
    """Return a key of a subclass, such as of an enum of texts, as what it is without its class."""
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, int) and not isinstance(key, bool):
        return int.__int__(key)
    return key


def _dumped(model: BaseModel, path: str, depth: int) -> Any:
    """Return the JSON form of `model`; if it has none, its fields in plain types."""
    try:
        try:
            return model.model_dump(mode="json")
        except PydanticSerializationError:
            fields = model.model_dump()
    except (TypeError, ValueError) as error:
        raise EncodeError(f"cannot store {path}, a {type(model).__name__}: {error}") from error
    return _plain(fields, path, depth)


def _contained(container: Any, items: list[Any]) -> Any:
    """Return `items` in a container such as theirs was."""
    if isinstance(container, deque):
        return deque(items, container.maxlen)
    try:
        return type(container)(items)
    except TypeError:
        return items  # Of a set, in which models and dataclasses have become maps.


_CONTAINERS = frozenset({list, tuple, set, frozenset, deque})
_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
