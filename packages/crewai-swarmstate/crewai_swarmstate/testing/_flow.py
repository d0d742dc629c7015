"""The contract of a flow persistence."""

from __future__ import annotations

import threading
from datetime import date
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
from crewai.flow.async_feedback.types import PendingFeedbackContext
from crewai.flow.persistence.base import FlowPersistence, _persistence_registry
from pydantic import BaseModel

__all__ = ["FlowPersistenceContract"]


class _Colour(Enum):
    GREEN = "green"


class _Status(str, Enum):
    OPEN = "open"


class _Level(IntEnum):
    LOW = 1


class _Share(float):
    pass


class _List(list[Any]):
    pass


class _Place(NamedTuple):
    level: _Level
    status: _Status


class _Address(BaseModel):
    street: str


class _State(BaseModel):
    id: str
    count: int = 0
    address: _Address = _Address(street="first")
    colour: _Colour = _Colour.GREEN
    day: date = date(2026, 1, 2)


_JSON = {"address": {"street": "first"}, "colour": "green", "day": "2026-01-02"}


def _context(flow_uuid: str, method: str = "ask") -> PendingFeedbackContext:
    return PendingFeedbackContext(
        flow_id=flow_uuid,
        flow_class="tests.Flow",
        method_name=method,
        method_output={"draft": "text"},
        message="Is this right?",
        emit=["approved", "rejected"],
    )


class FlowPersistenceContract:
    """What every `FlowPersistence` must do.

    Attributes:
        reads_shared: A second instance for the same path sees what the first wrote.
        init_error: What the constructor or `init_db` raises for a path where nothing can be stored;
            None if any path works.
    """

    reads_shared: ClassVar[bool] = True
    init_error: ClassVar[type[Exception] | None] = None

    def make_persistence(self, path: Path) -> FlowPersistence:
        """Return a persistence that keeps its data under the directory `path`."""
        raise NotImplementedError(f"{type(self).__name__} must override make_persistence()")

    @pytest.fixture
    def persistence(self, tmp_path: Path) -> FlowPersistence:
        """An empty persistence."""
        return self.make_persistence(tmp_path)

    def test_an_unknown_flow_has_no_state(self, persistence: FlowPersistence) -> None:
        """`load_state` of an unknown flow is None."""
        assert persistence.load_state("unknown") is None
        assert persistence.load_pending_feedback("unknown") is None

    def test_the_newest_state_is_loaded(self, persistence: FlowPersistence) -> None:
        """Each load returns what was saved last."""
        for count in range(12):
            persistence.save_state("flow", "step", {"id": "flow", "count": count})
            assert persistence.load_state("flow") == {"id": "flow", "count": count}

    def test_flows_are_apart(self, persistence: FlowPersistence) -> None:
        """Ids that share a prefix or hold special characters name different flows."""
        names = ["1", "10", "1/a", "1%2Fa", "a b", "ü", "x" * 300]
        for name in names:
            persistence.save_state(name, "step", {"id": name})
        assert [persistence.load_state(name) for name in names] == [{"id": name} for name in names]

    def test_a_model_is_loaded_as_a_dict(self, persistence: FlowPersistence) -> None:
        """A structured state comes back as a dict of its JSON form, which its model accepts."""
        state = _State(id="flow", count=3)
        persistence.save_state("flow", "step", state)
        loaded = persistence.load_state("flow")
        assert loaded == {"id": "flow", "count": 3, **_JSON}
        assert _State(**loaded) == state

    def test_nested_values_come_back(self, persistence: FlowPersistence) -> None:
        """Plain nested data is returned as it was saved."""
        state: dict[str, Any] = {
            "id": "flow",
            "none": None,
            "flags": [True, False],
            "numbers": [0, -1, 2**53, 1.5],
            "nested": {"a": [{"b": "ü\n\x00"}]},
        }
        persistence.save_state("flow", "step", state)
        assert persistence.load_state("flow") == state

    def test_values_of_subclasses_are_what_they_stand_for(
        self, persistence: FlowPersistence
    ) -> None:
        """Members of string and number enums, named tuples and the like are stored as in JSON."""
        state: dict[str, Any] = {
            "id": "flow",
            "status": _Status.OPEN,
            "levels": [_Level.LOW],
            "place": _Place(_Level.LOW, _Status.OPEN),
            "seen": _List([{_Status.OPEN: _Level.LOW}]),
            "share": _Share(0.5),
        }
        persistence.save_state("flow", "step", state)
        loaded = persistence.load_state("flow")
        assert loaded == {
            "id": "flow",
            "status": "open",
            "levels": [1],
            "place": [1, "open"],
            "seen": [{"open": 1}],
            "share": 0.5,
        }
        assert type(loaded["status"]) is str
        assert type(loaded["levels"][0]) is int

    def test_what_was_saved_does_not_change(self, persistence: FlowPersistence) -> None:
        """Changing a state after saving it, or a loaded one, changes nothing in the store."""
        state: dict[str, Any] = {"id": "flow", "items": [1]}
        persistence.save_state("flow", "step", state)
        state["items"].append(2)
        loaded = persistence.load_state("flow")
        assert loaded is not None
        loaded["items"].append(3)
        assert persistence.load_state("flow") == {"id": "flow", "items": [1]}

    def test_a_state_of_another_kind_is_refused(self, persistence: FlowPersistence) -> None:
        """A state that is neither a dict nor a model raises ValueError and stores nothing."""
        with pytest.raises(ValueError, match="dict"):
            persistence.save_state("flow", "step", ["no", "state"])  # type: ignore[arg-type]  # invalid on purpose
        assert persistence.load_state("flow") is None

    def test_init_db_keeps_what_is_there(self, persistence: FlowPersistence) -> None:
        """Setting up twice is harmless."""
        persistence.save_state("flow", "step", {"id": "flow"})
        persistence.init_db()
        assert persistence.load_state("flow") == {"id": "flow"}

    def test_a_place_that_cannot_be_used_is_reported_at_once(self, tmp_path: Path) -> None:
        """The setup fails, rather than a flow in the middle of its work."""
        if self.init_error is None:
            pytest.skip("declared: it needs no place")
        file = tmp_path / "file"
        file.touch()
        with pytest.raises(self.init_error):
            self.make_persistence(file).init_db()

    def test_another_instance_sees_the_state(self, tmp_path: Path) -> None:
        """Instances for the same place share their data."""
        if not self.reads_shared:
            pytest.skip("declared: instances do not share their data")
        self.make_persistence(tmp_path).save_state("flow", "step", {"id": "flow"})
        assert self.make_persistence(tmp_path).load_state("flow") == {"id": "flow"}

    def test_pending_feedback_comes_back(self, persistence: FlowPersistence) -> None:
        """State and context of a paused flow are returned together."""
        persistence.save_pending_feedback("flow", _context("flow"), _State(id="flow", count=1))
        pending = persistence.load_pending_feedback("flow")
        assert pending is not None
        state, context = pending
        assert state == {"id": "flow", "count": 1, **_JSON}
        assert context.to_dict() == _context("flow").to_dict() | {
            "requested_at": context.to_dict().get("requested_at")
        }
        assert persistence.load_state("flow") == state

    def test_later_feedback_replaces_the_earlier(self, persistence: FlowPersistence) -> None:
        """A flow waits for only one feedback at a time."""
        persistence.save_pending_feedback("flow", _context("flow", "first"), {"id": "flow"})
        persistence.save_pending_feedback("flow", _context("flow", "second"), {"id": "flow"})
        pending = persistence.load_pending_feedback("flow")
        assert pending is not None
        assert pending[1].method_name == "second"

    def test_cleared_feedback_is_gone(self, persistence: FlowPersistence) -> None:
        """Clearing removes the mark and keeps the state; clearing twice is fine."""
        persistence.save_pending_feedback("flow", _context("flow"), {"id": "flow"})
        persistence.clear_pending_feedback("flow")
        persistence.clear_pending_feedback("flow")
        assert persistence.load_pending_feedback("flow") is None
        assert persistence.load_state("flow") == {"id": "flow"}

    def test_feedback_of_other_flows_stays(self, persistence: FlowPersistence) -> None:
        """Clearing one flow's mark leaves those of the others."""
        for name in ("1", "10"):
            persistence.save_pending_feedback(name, _context(name), {"id": name})
        persistence.clear_pending_feedback("1")
        assert persistence.load_pending_feedback("10") is not None

    def test_threads_save_at_once(self, persistence: FlowPersistence) -> None:
        """Concurrent saves are all stored; each flow keeps its newest state."""
        failures: list[BaseException] = []

        def save(name: str) -> None:
            try:
                for count in range(20):
                    persistence.save_state(name, "step", {"id": name, "count": count})
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=save, args=(f"flow-{index}",)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        for index in range(8):
            assert persistence.load_state(f"flow-{index}") == {"id": f"flow-{index}", "count": 19}

    def test_crewai_restores_it_by_name(self, persistence: FlowPersistence) -> None:
        """The JSON of a persistence names its class in CrewAI's registry, which recreates it."""
        persistence.save_state("flow", "step", {"id": "flow"})
        dumped = persistence.model_dump(mode="json")
        restored = _persistence_registry[dumped["persistence_type"]].model_validate(dumped)
        assert type(restored) is type(persistence)
        if self.reads_shared:
            assert restored.load_state("flow") == {"id": "flow"}
