"""Each benchmark runs at its smallest size, and notices wrong results."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from langgraph.checkpoint.base import CheckpointTuple

from benchmarks.__main__ import BENCHMARKS
from benchmarks.contenders import CONTENDERS, FULL, Contender
from benchmarks.opened import Opened
from benchmarks.report import replace_between
from benchmarks.rounds import WORKSPACE_PYTHON, Rounds, WrongResultError, at, run
from benchmarks.scenarios import SCENARIOS
from benchmarks.suites import growth, small_state
from benchmarks.text import text
from benchmarks.zero_cost import ZeroCostSaver

SMALLEST: dict[str, dict[str, Any]] = {
    "small_state": {"steps": 3},
    "concurrent": {"threads": 2, "steps": 3},
    "store": {"threads": [1, 2], "pairs": 20, "entries": [10]},
    "serializer": {"messages": 8, "repetitions": 1},
    "messages": {"lengths": [8], "appended": 3},
    "vectors": {"records": 300, "dimensions": 8, "searches": 20},
    "memories": {"users": 8, "items": 4, "dimensions": 8, "calls": 5},
    "cached": {"calls": 20, "size": 10},
    "metering": {"reads": 20},
    "profiling": {"turns": 3},
    "routing": {"states": 20, "routes": 20},
    "routing_edge": {"routes": 5, "stretches": 2},
    "growth": {"turns": 3},
    "acceleration": {"turns": 2, "repetitions": 1},
    "users": {"users": 3, "turns": 2},
}


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that other accounts may enter, as root's servers need, unlike pytest's."""
    with TemporaryDirectory(prefix="swarmstate-benchmarks-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


# The others run where their contenders are installed; see `make crewai`.
HERE = [
    name
    for name, benchmark in BENCHMARKS.items()
    if not hasattr(import_module(f"benchmarks.suites.{benchmark.suite}"), "ENVIRONMENT")
]


@pytest.mark.parametrize("name", HERE)
def test_runs_and_compares(name: str, open_path: Path) -> None:
    benchmark = BENCHMARKS[name]
    suite = import_module(f"benchmarks.suites.{benchmark.suite}")
    parameters = {**suite.PARAMETERS, **benchmark.parameters, **SMALLEST[benchmark.suite]}
    if name == "images":
        parameters["turns"] = 1
    has_delta = name not in {"notes", "steps", "drafts", "opaque"}
    results = {}
    for contender in benchmark.contenders or suite.CONTENDER_NAMES:
        if contender.startswith("peer") or (contender.endswith("delta") and not has_delta):
            continue
        folder = open_path / contender
        folder.mkdir()
        results[contender] = [suite.measure(contender, folder, **parameters)]
    rounds = Rounds(results)
    if hasattr(suite, "check"):
        suite.check(rounds)
    tables = suite.tables(rounds, parameters)
    for label in {row[0] for table in tables for row in table.rows}:
        assert any(label in str(table) for table in tables)
    assert sum(len(table.rows) for table in tables) >= len(results)


def test_measures_in_a_fresh_process() -> None:
    parameters = {"scenario": "steps", "turns": 1}
    rounds = run("growth", dict.fromkeys(["none", "in-memory"], WORKSPACE_PYTHON), 1, parameters)
    growth.check(rounds)
    assert [len(rounds.results[name]) for name in ("none", "in-memory")] == [1, 1]


def test_a_failing_measurement_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="measuring nobody in growth failed"):
        run("growth", {"nobody": WORKSPACE_PYTHON}, 1, {"scenario": "steps", "turns": 1})
    assert "KeyError: 'nobody'" in capfd.readouterr().err


class _Forgetful(ZeroCostSaver):
    """Always returns the first value that it was given for a channel."""

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[str, Any] = {}

    def _complete(self, found: CheckpointTuple) -> CheckpointTuple:
        complete = super()._complete(found)
        values = complete.checkpoint["channel_values"]
        values.update({name: self._first.setdefault(name, values[name]) for name in values})
        return complete


@contextmanager
def _open_forgetful(folder: Path) -> Iterator[Opened]:
    yield Opened(_Forgetful(), lambda: None)


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(CONTENDERS, "forgetful", Contender("forgetful", FULL, _open_forgetful))
    return "forgetful"


def test_small_state_notices_a_stale_value(forgetful: str, tmp_path: Path) -> None:
    with pytest.raises(WrongResultError, match="as it was put"):
        small_state.measure(forgetful, tmp_path, steps=3)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_growth_notices_a_stale_value(forgetful: str, tmp_path: Path, scenario: str) -> None:
    with pytest.raises(WrongResultError, match="what the last turn returned"):
        growth.measure(forgetful, tmp_path, scenario=scenario, turns=3)


@pytest.mark.parametrize("what", ["final", "history"])
def test_growth_notices_that_contenders_differ(what: str) -> None:
    same = {"final": "f", "history": "h"}
    rounds = Rounds({"ours": [same, same], "sqlite": [same, {**same, what: "other"}]})
    with pytest.raises(WrongResultError, match=f"one {what} from all"):
        growth.check(rounds)


def test_scenarios_say_the_same_in_every_process() -> None:
    script = SCENARIOS["chat"]
    assert [str(script.given(turn)) for turn in range(3)] == [
        str(script.given(turn)) for turn in range(3)
    ]


def test_text_compresses_as_prose_does() -> None:
    said = "".join(text(f"text {number}", 700) for number in range(150)).encode()
    assert 0.3 < len(zlib.compress(said)) / len(said) < 0.4
    assert len({text(f"text {number}", 200) for number in range(100)}) == 100


def test_ratios_are_taken_within_a_round() -> None:
    # The machine became ten times slower after the first round, but the ratio is the same.
    slow, fast = [{"s": 4.0}, {"s": 40.0}, {"s": 40.0}], [{"s": 1.0}, {"s": 10.0}, {"s": 10.0}]
    rounds = Rounds({"slow": slow, "fast": fast})
    assert rounds.ratio("slow", "fast", at("s")) == 4.0
    assert rounds.median("slow", at("s")) == 40.0
    assert rounds.ratio("slow", "absent", at("s")) is None


def test_the_summary_compares_only_what_keeps_the_same() -> None:
    def of(seconds: float) -> list[dict[str, Any]]:
        return [{"total": seconds, "turn_seconds": [seconds], "stored_bytes": [int(seconds * 1e6)]}]

    rounds = Rounds({"in-memory": of(4), "ours": of(2), "sqlite": of(30), "ours-file": of(3)})
    rows = growth.summary(rounds, {"turns": 1}).rows
    assert [row[3] for row in rows] == ["2.00", "1.00", "10", "1.00"]


def test_docs_are_replaced_between_markers_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n")
    replace_between(page, "a", "new")
    assert page.read_text() == "before\n<!-- a: begin -->\nnew\n<!-- a: end -->\nafter\n"
    with pytest.raises(ValueError, match="b: begin"):
        replace_between(page, "b", "new")


def test_every_benchmark_has_its_place_in_the_docs(request: pytest.FixtureRequest) -> None:
    page = (request.config.rootpath / "docs" / "benchmarks.md").read_text()
    for name in BENCHMARKS:
        assert page.count(f"<!-- {name}: begin -->") == page.count(f"<!-- {name}: end -->") == 1
