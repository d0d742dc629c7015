"""Real flows on a swarmstate store."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
from crewai.flow.async_feedback.types import HumanFeedbackPending, PendingFeedbackContext
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import human_feedback
from crewai.flow.persistence import persist
from crewai_swarmstate import SwarmStateFlowPersistence, close_stores, shared_store
from pydantic import BaseModel, PlainSerializer, RootModel
from swarmstate.codec import loads
from swarmstate.errors import EncodeError

PROCESS = Path(__file__).parent / "helpers" / "flow_process.py"


def run(uri: Path, flow_id: str, mode: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROCESS), str(uri), flow_id, mode]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_killed_flow_resumes_from_its_last_method(tmp_path: Path) -> None:
    uri = tmp_path / "flows.db"
    killed = run(uri, "flow", "kill")
    assert killed.returncode == -9, killed.stderr
    persistence = SwarmStateFlowPersistence(uri)
    assert persistence.load_state("flow") == {"id": "flow", "steps": ["first"]}

    resumed = run(uri, "flow", "go on")
    assert "STEPS ['first', 'first', 'second']" in resumed.stdout, resumed.stderr


def test_history_keeps_every_save(tmp_path: Path) -> None:
    persistence = SwarmStateFlowPersistence(tmp_path / "flows.db")
    before = datetime.now(timezone.utc)
    for count in range(15):
        persistence.save_state("flow", f"method{count}", {"id": "flow", "count": count})
    history = persistence.history("flow")
    assert [step.state["count"] for step in history] == list(range(14, -1, -1))
    assert [step.method for step in history[:2]] == ["method14", "method13"]
    assert before <= history[-1].saved_at <= history[0].saved_at <= datetime.now(timezone.utc)
    assert persistence.history("flow", limit=3) == history[:3]
    keys = shared_store(persistence.uri).keys("crewai-flow:flow")
    assert keys == [f"state/{number:010d}" for number in range(15)]


def test_threads_lose_no_step_of_a_flow(tmp_path: Path) -> None:
    persistence = SwarmStateFlowPersistence(tmp_path / "flows.db")

    def save(thread: int) -> None:
        for count in range(10):
            persistence.save_state("flow", f"{thread}-{count}", {"id": "flow"})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save, range(8)))
    history = persistence.history("flow")
    assert len(history) == 80
    assert len({step.method for step in history}) == 80


def test_deleting_a_flow_leaves_nothing_of_it(tmp_path: Path) -> None:
    persistence = SwarmStateFlowPersistence(tmp_path / "flows.db")
    persistence.save_state("flow", "step", {"id": "flow"})
    persistence.save_state("other", "step", {"id": "other"})
    persistence.delete("flow")
    assert persistence.history("flow") == []
    assert shared_store(persistence.uri).namespaces() == ["crewai-flow:other"]


def test_values_keep_their_types() -> None:
    persistence = SwarmStateFlowPersistence("memory://")
    state: dict[Any, Any] = {
        "id": "flow",
        "day": date(2026, 1, 2),
        "set": {1, 2},
        "bytes": b"\x00",
        3: ["a", "b"],
    }
    persistence.save_state("flow", "step", state)
    assert persistence.load_state("flow") == state


@dataclass(frozen=True)
class Stop:
    name: str


class Ticket(BaseModel, frozen=True):
    number: int


def test_sets_of_what_becomes_a_map_become_lists() -> None:
    persistence = SwarmStateFlowPersistence("memory://")
    state = {"id": "flow", "stops": {Stop("a")}, "tickets": frozenset({(Ticket(number=1),)})}
    persistence.save_state("flow", "step", state)
    assert persistence.load_state("flow") == {
        "id": "flow",
        "stops": [{"name": "a"}],
        "tickets": [[{"number": 1}]],
    }


class Colour(str, Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Plain(Enum):
    WHITE = "white"


def test_keys_of_enums_become_plain() -> None:
    persistence = SwarmStateFlowPersistence("memory://")
    persistence.save_state("flow", "step", {"id": "flow", "seen": {Colour.RED: 1, Level.LOW: 2}})
    loaded = persistence.load_state("flow")
    assert loaded == {"id": "flow", "seen": {"red": 1, 1: 2}}
    assert [type(key) for key in loaded["seen"]] == [str, int]


def test_a_deque_keeps_its_bound() -> None:
    persistence = SwarmStateFlowPersistence("memory://")
    persistence.save_state("flow", "step", {"id": "flow", "last": deque([1, 2], maxlen=2)})
    loaded = persistence.load_state("flow")
    assert loaded is not None
    assert loaded["last"] == deque([1, 2])
    assert loaded["last"].maxlen == 2


class Folder(BaseModel):
    parent: Any = None


def test_a_state_that_contains_itself_is_refused() -> None:
    persistence = SwarmStateFlowPersistence("memory://")
    nested: dict[str, Any] = {"id": "flow"}
    nested["children"] = [{"parent": nested}]
    folder = Folder()
    folder.parent = folder
    for state, place in (
        (nested, r"state\['children'\]\[0\]\['parent'\].* contain itself"),
        ({"id": "flow", "folder": folder}, r"state\['folder'\], a Folder: Circular"),
    ):
        with pytest.raises(EncodeError, match=place):
            persistence.save_state("flow", "step", state)
    assert persistence.load_state("flow") is None


class Page(BaseModel):
    colour: Plain = Plain.WHITE
    printed: date = date(2026, 1, 2)
    scan: bytes = b"\xff\xd8"


class Book(BaseModel, extra="allow"):
    id: str = "flow"
    cover: Page = Page()
    pages: list[Page] = [Page(scan=b"\x00"), Page()]
    size: Decimal = Decimal("1.10")


def test_a_model_may_hold_bytes_that_are_no_text() -> None:
    persistence = SwarmStateFlowPersistence("memory://")
    book = Book.model_validate({"added": [b"\xfe"], "noted": Plain.WHITE})
    persistence.save_state("flow", "step", book)
    loaded = persistence.load_state("flow")
    page = {"colour": "white", "printed": "2026-01-02", "scan": b"\xff\xd8"}
    assert loaded == {
        "id": "flow",
        "cover": page,
        "pages": [{**page, "scan": "\x00"}, page],
        "size": "1.10",
        "added": [b"\xfe"],
        "noted": "white",
    }
    assert Book.model_validate(loaded).pages == book.pages
    scans = RootModel[dict[str, bytes]]({"root": b"\xff", "other": b"\xfe"})
    persistence.save_state("flow", "step", {"id": "flow", "scans": scans})
    assert persistence.load_state("flow") == {"id": "flow", "scans": scans.root}


class Opaque:
    def __str__(self) -> str:
        return "an opaque thing"


def test_what_has_no_form_is_stored_as_text_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    persistence = SwarmStateFlowPersistence("memory://")
    persistence.save_state("flow", "step", {"id": "flow", "list": [Opaque()]})
    assert persistence.load_state("flow") == {"id": "flow", "list": ["an opaque thing"]}
    assert "state['list'][0] is a Opaque" in caplog.text
    persistence.save_state("flow", "step", {"id": "flow", "folder": Folder(parent=Opaque())})
    assert persistence.load_state("flow") == {"id": "flow", "folder": {"parent": "an opaque thing"}}
    assert "state['folder']['parent'] is a Opaque" in caplog.text
    persistence.save_state("flow", "step", {"id": "flow", "failed": ValueError("why"), "of": Stop})
    assert persistence.load_state("flow") == {"id": "flow", "failed": "why", "of": str(Stop)}


class Busy:
    """Does what another method of the flow may do while the state is saved."""

    def __init__(self, *changes: Callable[[], object]) -> None:
        self.changes = changes

    def __str__(self) -> str:
        for change in self.changes:
            change()
        return "busy"


def test_a_state_may_change_while_it_is_saved() -> None:
    persistence = SwarmStateFlowPersistence("memory://")
    state: dict[str, Any] = {"id": "flow"}
    last: deque[Any] = deque(maxlen=3)
    seen: set[Any] = set()
    last.append(Busy(lambda: last.append(1)))
    seen.add(Busy(lambda: seen.add(1)))
    state.update(last=last, seen=seen, by=Busy(lambda: state.update(later=1)))
    persistence.save_state("flow", "step", state)
    assert persistence.load_state("flow") == {
        "id": "flow",
        "last": deque(["busy"]),
        "seen": {"busy"},
        "by": "busy",
    }
    assert state["later"] == 1


Note = Annotated[Any, PlainSerializer(str)]


@dataclass
class Leaf:
    notes: dict[str, Note]


class Diary(BaseModel):
    pages: list[Leaf] = []
    tags: set[Note] = set()


class Shelf(BaseModel):
    find: Annotated[Any, PlainSerializer(lambda find: find())]


def test_a_model_may_change_while_it_is_saved() -> None:
    # Then pydantic panics, which would end the flow with an error `except Exception` does not
    # catch.
    persistence = SwarmStateFlowPersistence("memory://")
    notes: dict[str, Any] = {}
    notes["now"] = Busy(lambda: notes.setdefault("later", 1))
    tags: set[Any] = set()
    tags.add(Busy(lambda: tags.add(1)))
    diary = Diary.model_construct(pages=[Leaf(notes)], tags=tags)
    persistence.save_state("flow", "step", {"diary": diary})
    assert persistence.load_state("flow") == {
        "diary": {"pages": [{"notes": {"now": "busy", "later": "1"}}], "tags": ["busy"]}
    }
    assert 1 in tags


def test_a_model_that_cannot_be_read_for_its_changes_is_refused() -> None:
    persistence = SwarmStateFlowPersistence("memory://")
    notes: dict[str, Any] = {}
    notes["now"] = Busy(lambda: notes.update({str(len(notes)): 1}))
    shelf = Shelf(find=lambda: Diary(pages=[Leaf(notes)]))
    with pytest.raises(
        EncodeError, match=r"state\['shelf'\], a Shelf: it changed while being read"
    ):
        persistence.save_state("flow", "step", {"shelf": shelf})
    assert persistence.load_state("flow") is None


@pytest.mark.parametrize("pausing", [False, True])
def test_a_step_holds_what_the_steps_before_it_hold(pausing: bool) -> None:
    # Methods that run concurrently share a state, and two saves of it may overlap.
    persistence = SwarmStateFlowPersistence("memory://")
    state: dict[str, Any] = {"id": "flow"}

    def finish_another() -> None:
        if "later" not in state:
            state["later"] = 1
            persistence.save_state("flow", "second", state)

    state["by"] = Busy(finish_another)
    if pausing:
        context = PendingFeedbackContext("flow", "Flow", "first", method_output=None, message="?")
        persistence.save_pending_feedback("flow", context, state)
        pending = persistence.load_pending_feedback("flow")
        assert pending is not None
        assert pending[0]["later"] == 1
    else:
        persistence.save_state("flow", "first", state)
    steps = persistence.history("flow")
    assert [(step.method, step.state.get("later")) for step in steps] == [
        ("first", 1),
        ("second", 1),
    ]


def test_keys_that_have_no_form_are_refused() -> None:
    persistence = SwarmStateFlowPersistence("memory://")
    with pytest.raises(EncodeError, match=r"state\['by'\]: expected keys .*Opaque"):
        persistence.save_state("flow", "step", {"id": "flow", "by": {Opaque(): 1}})
    assert persistence.load_state("flow") is None


class Unhashable(Enum):
    PAIR = ["one", "two"]  # noqa: RUF012  # under test


def test_a_member_of_an_enum_whose_value_is_no_key_is_refused_as_one() -> None:
    persistence = SwarmStateFlowPersistence("memory://")
    with pytest.raises(EncodeError, match=r"state\['by'\]: expected keys .*one"):
        persistence.save_state("flow", "step", {"id": "flow", "by": {Unhashable.PAIR: 1}})
    assert persistence.load_state("flow") is None


def test_records_are_plain_msgpack(tmp_path: Path) -> None:
    persistence = SwarmStateFlowPersistence(tmp_path / "flows.db")
    persistence.save_state("flow", "step", {"id": "flow", "n": 1})
    [(key, value)] = shared_store(persistence.uri).items("crewai-flow:flow")
    assert key == "state/0000000000"
    assert value["method"] == "step"
    assert value["state"] == {"id": "flow", "n": 1}
    assert loads(b"\x81\xa1n\x01") == {"n": 1}


class Later:
    """Asks a human who will answer some other time."""

    def request_feedback(self, context: PendingFeedbackContext, flow: Any) -> str:
        raise HumanFeedbackPending(context=context)


class Review(Flow[dict[str, Any]]):
    @start()
    @human_feedback(message="Is this right?", provider=Later())
    def draft(self) -> str:
        self.state["drafts"] = 1
        return "a draft"

    @listen(draft)
    def publish(self, result: Any) -> str:
        return f"published after: {result.feedback}"


def test_a_paused_flow_goes_on_with_the_feedback(tmp_path: Path) -> None:
    persistence = SwarmStateFlowPersistence(tmp_path / "flows.db")
    paused = Review(persistence=persistence).kickoff()
    assert isinstance(paused, HumanFeedbackPending)
    flow_id = paused.context.flow_id
    close_stores()

    resumed = Review.from_pending(flow_id, SwarmStateFlowPersistence(tmp_path / "flows.db"))
    assert resumed.state["drafts"] == 1
    assert resumed.resume("looks good") == "published after: looks good"
    assert persistence.load_pending_feedback(flow_id) is None


class Painting(BaseModel):
    id: str = "flow"
    ground: Plain | None = None
    sold: dict[Plain, int] = {}
    tones: set[Plain] = set()


class Painted(Flow[Painting]):
    @start()
    @human_feedback(message="Is this right?", provider=Later())
    def paint(self) -> str:
        self.state.ground, self.state.tones = Plain.WHITE, {Plain.WHITE}
        self.state.sold = {Plain.WHITE: 3}
        return "a painting"

    @listen(paint)
    def show(self) -> Any:
        return self.state


def test_a_paused_flow_may_hold_members_of_enums() -> None:
    # Here CrewAI passes the model's fields as a dict; after a method it passes the model itself.
    persistence = SwarmStateFlowPersistence("memory://")
    paused = Painted(persistence=persistence).kickoff()
    assert isinstance(paused, HumanFeedbackPending)
    resumed = Painted.from_pending(paused.context.flow_id, persistence).resume("looks good")
    assert (resumed.ground, resumed.tones) == (Plain.WHITE, {Plain.WHITE})
    assert resumed.sold == {Plain.WHITE: 3}


def test_flow_state_is_kept_by_the_decorator() -> None:
    persistence = SwarmStateFlowPersistence("memory://")

    @persist(persistence)
    class Count(Flow[dict[str, Any]]):
        @start()
        def first(self) -> None:
            self.state["count"] = self.state.get("count", 0) + 1

        @listen(first)
        def second(self) -> None:
            self.state["count"] += 10

    flow = Count()
    flow.kickoff()
    again = Count()
    again.kickoff(inputs={"id": flow.state["id"]})
    assert again.state["count"] == 22
    steps = persistence.history(flow.state["id"])
    assert [(step.method, step.state["count"]) for step in steps] == [
        ("second", 22),
        ("first", 12),
        ("second", 11),
        ("first", 1),
    ]
