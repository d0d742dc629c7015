"""Threads of LangGraph's savers are imported completely, and continue as if nothing happened."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.serde.types import ERROR, RESUME
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.importing import import_postgres, import_sqlite
from langgraph.checkpoint.swarmstate.testing import graphs
from langgraph.checkpoint.swarmstate.testing.checkpoints import at, make_checkpoint, make_metadata
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from swarmstate import Batch, DiskStore, Store
from swarmstate.errors import StoreFormatError, StoreUnavailableError
from swarmstate.layers import Operation, StoreLayer
from swarmstate.moving import Progress

from tests.importing import stock
from tests.importing.sources import Saver, Source, everything, sqlite_source
from tests.servers.postgres import PostgresServer


def test_every_checkpoint_comes_over(filled: Source) -> None:
    store = Store()
    seen: list[Progress] = []
    report = filled.importer(filled.url, store, progress=seen.append)
    assert report.failures == ()
    ours = everything(SwarmStateSaver(store))
    with filled.saver() as saver:
        theirs = everything(saver)
    assert ours.keys() == theirs.keys()
    assert len({thread for thread, _, _ in ours}) == 7
    assert {ns.partition(":")[0] for _, ns, _ in ours} == {"", "inner"}
    assert (report.threads, report.checkpoints, report.added) == (7, len(ours), len(ours))
    assert report.writes > 60
    assert [each.done for each in seen] == [1, 2, 3, 4, 5, 6, 7]
    for key, theirs_found in theirs.items():
        found = ours[key]
        assert found.metadata == theirs_found.metadata
        assert found.parent_config == theirs_found.parent_config
        assert found.pending_writes == theirs_found.pending_writes
        if key[0] != "old":
            assert found.checkpoint == theirs_found.checkpoint


def test_old_formats_get_their_sends(filled: Source) -> None:
    store = Store()
    filled.importer(filled.url, store, only=["old"])
    newest = SwarmStateSaver(store).get_tuple({"configurable": {"thread_id": "old"}})
    assert newest is not None
    assert [send.arg for send in newest.checkpoint["channel_values"]["__pregel_tasks"]] == [
        {"item": 1},
        {"item": 2},
    ]
    assert newest.checkpoint["channel_versions"]["__pregel_tasks"] == "2"
    parents = list(SwarmStateSaver(store).list({"configurable": {"thread_id": "old"}}))
    writes = parents[-1].pending_writes
    assert writes is not None
    # Ordered by task path, then by the order of writing.
    assert [channel for _, channel, _ in writes] == [
        "n",
        *(f"c{n}" for n in range(12)),
        "__pregel_tasks",
        "__pregel_tasks",
    ]


def test_graphs_go_on_with_equal_results(filled: Source) -> None:
    store = Store()
    filled.importer(filled.url, store)
    with filled.saver() as saver:
        paused = saver.get_tuple(stock.at("fan"))
        theirs = stock.resume(saver)
    ours = stock.resume(SwarmStateSaver(store))
    for name, result in theirs.items():
        assert ours[name] == result, name
    # Finished workers did not run again. Which workers after the failing one had finished depends
    # on thread timing.
    assert paused is not None
    assert paused.pending_writes
    results = [value for _, channel, value in paused.pending_writes if channel == "results"]
    finished = {int(entry.partition(":")[0]) for result in results for entry in result}
    assert finished >= {0, 1, 2}
    again = {call for call in ours["calls"] if call.startswith("work ")}
    assert again == {f"work {item}" for item in set(range(24)) - finished}


def test_what_did_not_change_is_stored_once(source: Source, tmp_path: Path) -> None:
    with source.saver() as saver:
        agent = graphs.agent(saver)
        for turn in range(1, 26):
            agent.invoke(stock.say(turn), stock.at("agent"))
    with DiskStore(tmp_path / "ours.db") as store:
        source.importer(source.url, store)
        stats = SwarmStateSaver(store).stats()
        assert stats.stored_bytes < stats.unshared_bytes / 5


def test_a_thread_whose_oldest_checkpoints_were_deleted_is_among_the_newest(
    source: Source,
) -> None:
    with source.saver() as saver:
        graphs.counter(saver, 3).invoke({"n": 0}, stock.at("cut"))
        newest = saver.get_tuple(stock.at("cut"))
        assert newest is not None
    source.execute(f"DELETE FROM checkpoints WHERE checkpoint_id < '{newest.checkpoint['id']}'")
    with Store() as store, SwarmStateSaver(store) as saver:
        # More than a page of the thread index.
        for n in range(1_100):
            checkpoint = make_checkpoint(checkpoint_id=f"1{n:07}-0000-6000-8000-000000000000")
            saver.put(at(f"older {n}"), checkpoint, make_metadata(), {})
        source.importer(source.url, store)
        assert saver.threads(limit=1) == ["cut"]


def test_importing_again_adds_what_is_new(filled: Source) -> None:
    store = Store()
    first = filled.importer(filled.url, store)
    before = store.snapshot()
    again = filled.importer(filled.url, store)
    assert (again.added, again.failures) == (0, ())
    assert store.snapshot().diff(before)["changed"] == []
    with filled.saver() as saver:
        graphs.agent(saver).invoke(stock.say(200), stock.at("agent"))
        with suppress(ValueError):
            graphs.fan_out(saver, [], asks=frozenset({12}), fails={7}).invoke(None, stock.at("fan"))
    newer = filled.importer(filled.url, store)
    assert newer.failures == ()
    assert newer.added == newer.checkpoints - first.checkpoints > 0


def test_importing_again_brings_the_error_of_another_attempt(filled: Source) -> None:
    store = Store()
    for error in ("the first", "the second"):
        with filled.saver() as saver:
            paused = saver.get_tuple(stock.at("agent"))
            assert paused is not None
            saver.put_writes(paused.config, [(ERROR, error)], "attempted")
        assert filled.importer(filled.url, store).failures == ()
    imported = SwarmStateSaver(store).get_tuple(stock.at("agent"))
    assert imported is not None
    assert ("attempted", ERROR, "the second") in (imported.pending_writes or [])


class Noting(StoreLayer):
    """Notes how many pending writes come at once."""

    def __init__(self) -> None:
        super().__init__(Store())
        self.gathered: list[int] = []

    def writing(self, batches: Any) -> Operation[None]:
        for batch in batches:
            if count := sum(key.startswith("write/") for key in batch.put_if_absent):
                self.gathered.append(count)
        yield from super().writing(batches)


def test_pending_writes_of_many_checkpoints_are_stored_at_once(filled: Source) -> None:
    store = Noting()
    report = filled.importer(filled.url, store, only=["delta"])
    assert report.checkpoints > 40
    assert store.gathered == [report.writes]


def test_large_pending_writes_are_not_gathered_without_end(source: Source) -> None:
    with source.saver() as saver:
        for n in range(5):
            config = saver.put(at("large", ""), make_checkpoint(), make_metadata(n), {})
            saver.put_writes(config, [("n", str(n) * 600_000)], "task")
        expected = everything(saver)
    store = Noting()
    assert source.importer(source.url, store).failures == ()
    assert store.gathered == [2, 2, 1]
    for key, found in everything(SwarmStateSaver(store)).items():
        assert found.pending_writes == expected[key].pending_writes


class Failing(StoreLayer):
    """Fails after a number of writes."""

    def __init__(self, store: Store, writes: int) -> None:
        super().__init__(store)
        self.left = writes

    def writing(self, batches: Any) -> Operation[None]:
        if not self.left:
            raise StoreUnavailableError("the server went away")
        self.left -= 1
        yield from super().writing(batches)


@pytest.mark.parametrize("writes", [0, 1, 100, 150])
def test_an_interrupted_import_goes_on(tmp_path: Path, writes: int) -> None:
    source = sqlite_source(tmp_path)
    with source.saver() as saver:
        stock.fill(saver)
    store, whole = Store(), Store()
    with pytest.raises(StoreUnavailableError):
        source.importer(source.url, Failing(store, writes))
    report = source.importer(source.url, store)
    assert report.failures == ()
    assert report.added < report.checkpoints or writes < 100
    source.importer(source.url, whole)
    ours, theirs = everything(SwarmStateSaver(store)), everything(SwarmStateSaver(whole))
    assert ours == theirs


def test_a_thread_that_is_another_one_is_left_alone(filled: Source) -> None:
    store = Store()
    saver = SwarmStateSaver(store)
    graphs.agent(saver).invoke(stock.say(1), stock.at("agent"))
    before = everything(saver)
    report = filled.importer(filled.url, store)
    [failure] = report.failures
    assert "'agent'" in failure
    assert {key: each for key, each in everything(saver).items() if key[0] == "agent"} == before
    assert len(saver.threads()) == 7


def test_a_thread_that_went_on_here_stays(filled: Source) -> None:
    store = Store()
    filled.importer(filled.url, store)
    saver = SwarmStateSaver(store)
    stock.resume(saver)
    before = everything(saver)
    assert filled.importer(filled.url, store).failures == ()
    assert everything(saver) == before


def test_a_thread_that_was_answered_here_stays(filled: Source) -> None:
    asked = stock.at("asked: a/b%2F")
    store = Store()
    filled.importer(filled.url, store)
    graph = graphs.approval(SwarmStateSaver(store), [])
    first = graph.get_state(asked).interrupts
    # The node asks once more, so there are new writes and no new checkpoint.
    graph.invoke(Command(resume="yes"), asked)
    second = graph.get_state(asked).interrupts
    before = everything(SwarmStateSaver(store))
    assert first != second
    assert filled.importer(filled.url, store).failures == ()
    assert everything(SwarmStateSaver(store)) == before
    assert graph.get_state(asked).interrupts == second


@pytest.mark.parametrize("whole", [False, True], ids=["a write", "a checkpoint"])
def test_a_thread_that_was_answered_here_and_went_on_there_is_left_alone(
    filled: Source, whole: bool
) -> None:
    store = Store()
    filled.importer(filled.url, store)
    found = SwarmStateSaver(store).get_tuple(stock.at("agent"))
    assert found is not None
    SwarmStateSaver(store).put_writes(found.config, [("messages", "ours")], "our task")
    with filled.saver() as saver:
        if whole:
            graphs.agent(saver).invoke(stock.say(200), stock.at("agent"))
        else:
            saver.put_writes(found.config, [("messages", "theirs")], "their task")
    before = everything(SwarmStateSaver(store))
    [failure] = filled.importer(filled.url, store).failures
    assert "'agent'" in failure
    assert "our task/0" in failure
    assert everything(SwarmStateSaver(store)) == before


class _Form(TypedDict):
    answers: list[str]


def _form(saver: Saver, *answers: str) -> None:
    """Give answers to a node that asks three questions in turn; the first call starts it."""

    def ask(state: _Form) -> dict[str, Any]:
        return {"answers": [interrupt(f"question {n}") for n in range(3)]}

    builder = StateGraph(_Form)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    graph = builder.compile(checkpointer=saver)
    if saver.get_tuple(stock.at("form")) is None:
        graph.invoke({"answers": []}, stock.at("form"))
    for answer in answers:
        graph.invoke(Command(resume=answer), stock.at("form"))


def test_another_answer_to_a_node_that_was_answered_before_stays(source: Source) -> None:
    store = Store()
    with source.saver() as saver:
        _form(saver, "first")
    source.importer(source.url, store)
    _form(SwarmStateSaver(store), "ours")
    before = everything(SwarmStateSaver(store))
    assert source.importer(source.url, store).failures == ()
    assert everything(SwarmStateSaver(store)) == before


def test_importing_again_brings_another_answer(source: Source) -> None:
    store = Store()
    for answers in (["first"], ["theirs"], ["third"]):
        with source.saver() as saver:
            _form(saver, *answers)
            theirs = everything(saver)
        assert source.importer(source.url, store).failures == ()
        assert everything(SwarmStateSaver(store)) == theirs


def test_another_result_of_a_task_is_not_mixed_with_ours(source: Source) -> None:
    store = Store()
    with source.saver() as saver:
        config = saver.put(at("failed", ""), make_checkpoint(), make_metadata(), {})
    source.importer(source.url, store)
    SwarmStateSaver(store).put_writes(config, [("n", "ours")], "task")
    with source.saver() as saver:
        saver.put_writes(config, [("n", "theirs")], "task")
        saver.put(config, make_checkpoint(), make_metadata(), {})
    kept = everything(SwarmStateSaver(store))
    report = source.importer(source.url, store)
    assert "left unchanged" in str(report.failures)
    assert everything(SwarmStateSaver(store)) == kept


@pytest.mark.parametrize(
    ("before", "here", "there"),
    [
        ([], ["ours"], ["theirs"]),
        (["first"], ["ours"], ["theirs"]),
        (["first"], ["ours"], ["theirs", "theirs"]),
        ([], ["ours"], ["theirs", "theirs", "theirs"]),
        ([], ["ours", "ours", "ours"], ["theirs"]),
    ],
)
def test_a_thread_with_other_answers_there_is_left_alone(
    source: Source, before: list[str], here: list[str], there: list[str]
) -> None:
    store = Store()
    with source.saver() as saver:
        _form(saver, *before)
    source.importer(source.url, store)
    _form(SwarmStateSaver(store), *here)
    with source.saver() as saver:
        _form(saver, *there)
    kept = everything(SwarmStateSaver(store))
    report = source.importer(source.url, store)
    assert len(report.failures) == 1
    assert "left unchanged" in report.failures[0]
    assert report.added == 0
    assert everything(SwarmStateSaver(store)) == kept


def test_an_answer_that_no_task_has_received_is_not_replaced(source: Source) -> None:
    store = Store()
    no_task = "00000000-0000-0000-0000-000000000000"
    with source.saver() as saver:
        _form(saver)
    source.importer(source.url, store)
    ours = SwarmStateSaver(store)
    asked = ours.get_tuple(stock.at("form"))
    assert asked is not None
    ours.put_writes(asked.config, [(RESUME, "ours")], no_task)
    with source.saver() as saver:
        saver.put_writes(asked.config, [(RESUME, "theirs")], no_task)
    assert len(source.importer(source.url, store).failures) == 1
    answered = ours.get_tuple(stock.at("form"))
    assert answered is not None
    assert (no_task, RESUME, "ours") in (answered.pending_writes or [])


def test_writes_without_a_checkpoint_come_over(source: Source) -> None:
    with source.saver() as saver:
        config: Any = {
            "configurable": {"thread_id": "early", "checkpoint_ns": "", "checkpoint_id": "1f"}
        }
        saver.put_writes(config, [("n", 1)], "task")
    store = Store()
    report = source.importer(source.url, store)
    assert (report.threads, report.checkpoints, report.writes, report.failures) == (1, 0, 1, ())
    assert store.keys("langgraph:early") == ["write//1f/task/0"]


def test_a_database_of_something_else(tmp_path: Path, postgres_server: PostgresServer) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE checkpoints (a)")
    with pytest.raises(StoreFormatError, match="is not a SqliteSaver database"):
        import_sqlite(str(path), Store())
    with pytest.raises(StoreFormatError, match="is not a PostgresSaver database"):
        import_postgres(postgres_server.new_database(), Store())


def test_a_thread_that_does_not_exist_is_reported(filled: Source) -> None:
    report = filled.importer(filled.url, Store(), only=["agent", "nobody"])
    [failure] = report.failures
    assert "'nobody'" in failure
    assert report.threads == 2


def test_what_is_mistaken_for_a_list_or_a_store_is_refused(filled: Source) -> None:
    store = Store()
    wrong: Any = "agents.db"
    with pytest.raises(TypeError, match=r"did you mean \['agent'\]"):
        filled.importer(filled.url, store, only="agent")
    with pytest.raises(TypeError, match=r"expected a store, .* found str"):
        filled.importer(filled.url, wrong)
    assert store.namespaces() == []


def test_the_comparison_finds_what_went_wrong(tmp_path: Path) -> None:
    class Changing(StoreLayer):
        def writing(self, batches: Any) -> Operation[None]:
            kept = [batch for batch in batches if not batch.put_if_absent]
            yield from super().writing(kept or [Batch("none")])

    source = sqlite_source(tmp_path)
    with source.saver() as saver:
        stock.old_format(saver)
    [failure] = source.importer(source.url, Changing(Store())).failures
    assert "a different list of pending writes" in failure


def test_the_command(filled: Source, tmp_path: Path) -> None:
    target = tmp_path / "ours.db"
    command = str(Path(sys.executable).with_name("swarmstate"))
    done = subprocess.run(
        [command, "import", filled.kind, filled.url, str(target), "--only", "agent"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "1 thread," in done.stdout
    assert "compared: no differences" in done.stdout
    with SwarmStateSaver(target) as saver:
        assert saver.threads() == ["agent"]
