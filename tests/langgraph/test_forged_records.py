"""Records with invalid content raise errors that name them, and disturb nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.swarmstate import SwarmStateSaver, SwarmStateSerializer
from langgraph.checkpoint.swarmstate.testing import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import Branch, at
from swarmstate import Store
from swarmstate.base import Batch
from swarmstate.errors import CheckpointError

from tests.langgraph.helpers import raw
from tests.langgraph.helpers.forging import sealed_forgeries

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.serde.base import SerializerProtocol

serializers = pytest.mark.parametrize("serde", [SwarmStateSerializer(), JsonPlusSerializer()])


def filled(serde: SerializerProtocol, thread: str, store: Store) -> RunnableConfig:
    """Put two checkpoints whose values are in blobs and in records, with pending writes."""
    driver = Driver(SwarmStateSaver(store, serde=serde), "sync")
    branch = Branch(driver, thread)
    for n in range(2):
        log = [f"{thread} {line} " * 300 for line in range(n + 8)]
        config = branch.put(n=n, log=log, page=f"{thread} page {n} " * 300)
        driver.put_writes(config, [("n", n), ("log", [f"written {n} " * 300])], f"task {n}")
    return config


def put_next(saver: SwarmStateSaver) -> None:
    """Continue the thread like a graph that lacks two of its fields."""
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"n": 1}
    checkpoint["channel_versions"] = {"n": 9, "log": 1, "page": 1}
    parent: RunnableConfig = {
        "configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "1"}
    }
    latest = next(iter(saver.history(at(), limit=1)), None)
    saver.put(parent if latest is None else latest.config, checkpoint, {"step": 2}, {})


CALLS: dict[str, Callable[[SwarmStateSaver], object]] = {
    "get_tuple": lambda saver: saver.get_tuple(at()),
    "list": lambda saver: list(saver.list(at())),
    "list with a filter": lambda saver: list(saver.list(at(), filter={"source": "loop"})),
    "list everything": lambda saver: list(saver.list(None)),
    "history": lambda saver: list(saver.history(at())),
    "delta history": lambda saver: saver.get_delta_channel_history(config=at(), channels=["log"]),
    "stats": lambda saver: saver.stats(),
    "prune, dry": lambda saver: saver.prune(["t"], keep_last=1, dry_run=True),
    "put": put_next,
    "prune": lambda saver: saver.prune(["t"], keep_last=1, older_than=5),
    "delete": lambda saver: saver.delete_thread("t"),
}


@serializers
@pytest.mark.parametrize("kind", ["checkpoint", "write"])
def test_a_forged_record_is_named_and_other_threads_are_readable(
    serde: SerializerProtocol, kind: str
) -> None:
    with Store() as store:
        filled(serde, "t", store)
        other = filled(serde, "u", store)
        expected = SwarmStateSaver(store, serde=serde).get_tuple(other)
        before = store.snapshot()
        messages = []
        records = {key: raw.read(store, "t", key) for key in raw.keys(store, "t", kind)}
        for key, record in records.items():
            for forged in sealed_forgeries(record, key):
                store.restore(before)
                raw.replace(store, "t", key, forged)
                for call in CALLS.values():
                    saver = SwarmStateSaver(store, serde=serde)
                    try:
                        call(saver)
                    except CheckpointError as error:
                        messages.append(str(error))
                saver = SwarmStateSaver(store, serde=serde)
                assert saver.get_tuple(other) == expected
                assert saver.threads() == ["u"]
        assert len(messages) > 100
        assert not [message for message in messages if "thread 't'" not in message]


@pytest.mark.parametrize("key", ["time/", "time/zzz", "time/zzz\x01", "run/", "run/r", "run/r/"])
def test_an_entry_of_the_index_that_names_no_thread_is_passed_over(key: str) -> None:
    with Store() as store:
        saver = SwarmStateSaver(store)
        first = saver.put(at(), empty_checkpoint(), {"run_id": "r"}, {})
        # A namespace without a thread id does not belong to a thread either.
        store.write([Batch("langgraph-index", put={key: b""}), Batch("langgraph:", put={"a": b""})])
        assert saver.threads() == ["t"]
        assert [found.config for found in saver.list(None)] == [first]
        assert saver.stats().threads == 1
        saver.delete_for_runs(["r"])
        assert saver.threads() == []


def test_versions_that_cannot_be_compared_are_damage() -> None:
    """Uses checkpoints from before LangGraph made a channel of the sends of tasks."""
    with Store() as store:
        saver = SwarmStateSaver(store)
        first = saver.put(at(), empty_checkpoint(), {}, {})
        saver.put_writes(first, [("__pregel_tasks", "sent")], "task")
        old: Any = {**empty_checkpoint(), "v": 1, "channel_versions": {"a": 1, "b": "2"}}
        saver.put(first, old, {}, {"a": 1, "b": "2"})
        with pytest.raises(CheckpointError, match=rf"{old['id']}.*thread 't'.*versions"):
            saver.get_tuple(at())
