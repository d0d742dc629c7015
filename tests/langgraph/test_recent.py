"""What a saver keeps of what it has just stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import swarmstate
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.recent import RecentBlobs
from langgraph.checkpoint.swarmstate.testing import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import Branch, at


class ReadingStore(swarmstate.Store):
    """Records the keys that are read.

    Attributes:
        asked: The keys of each query.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Sequence[str]] = []

    def read(self, queries: Sequence[swarmstate.Query]) -> list[swarmstate.Result]:
        self.asked += [query.keys for query in queries]
        return super().read(queries)


def test_the_oldest_are_let_go_of() -> None:
    recent = RecentBlobs(10)
    recent.add({"a": b"1234", "b": b"1234"})
    recent.add({"a": b"1234", "c": b"123"})
    assert recent.take(["a", "b", "c", "d"]) == {"a": b"1234", "c": b"123"}
    recent.add({"e": b"1" * 11})
    assert recent.take(["e"]) == {}


def test_what_is_too_large_leaves_the_others() -> None:
    recent = RecentBlobs(10)
    recent.add({"a": b"1234", "b": b"1" * 11, "c": b"123456"})
    assert recent.take(["a", "b", "c"]) == {"a": b"1234", "c": b"123456"}


def test_what_is_taken_is_let_go_of_and_makes_room() -> None:
    recent = RecentBlobs(10)
    recent.add({"a": b"1234", "b": b"1234"})
    assert recent.take(["a"]) == {"a": b"1234"}
    assert recent.take(["a"]) == {}
    recent.add({"c": b"123456"})
    assert recent.take(["b", "c"]) == {"b": b"1234", "c": b"123456"}


def test_a_turn_reads_the_record_alone() -> None:
    store = ReadingStore()
    branch = Branch(Driver(SwarmStateSaver(store), "sync"))
    log: list[Any] = []
    for n in range(70):
        expected = [{"said": f"{m} " * 500} for m in range(n + 1)]
        branch.put(log=[*log, expected[-1]])
        store.asked.clear()
        log = branch.driver.load(at()).checkpoint["channel_values"]["log"]
        assert log == expected
        assert store.asked == [()]
    another = branch.driver.over(SwarmStateSaver(store))
    store.asked.clear()
    assert another.load(at()).checkpoint["channel_values"] == {"log": log}
    assert len(store.asked) == 2


def test_what_is_kept_is_not_believed_where_a_thread_is_gone() -> None:
    store = swarmstate.Store()
    branch = Branch(Driver(SwarmStateSaver(store), "sync"))
    branch.put(log=["said " * 1_000])
    SwarmStateSaver(store).delete_thread("t")
    assert branch.driver.get_tuple(at()) is None
