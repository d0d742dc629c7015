"""Savers with a sink otherwise behave like those without."""

from __future__ import annotations

import contextlib
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.swarmstate import SwarmStateSaver, SwarmStateSerializer
from opentelemetry.semconv._incubating.attributes.gen_ai_attributes import GEN_AI_CONVERSATION_ID
from swarmstate import DiskStore, Store
from swarmstate.layers import MeteredStore
from swarmstate.observability import Sinks, Summary

from tests.langgraph.helpers.metrics import THREAD, Recorder


def test_without_a_sink_nothing_is_different() -> None:
    with SwarmStateSaver(metrics=None) as saver, SwarmStateSaver(metrics=Summary()) as measured:
        assert type(saver) is SwarmStateSaver
        assert type(saver.store) is Store
        assert isinstance(measured, SwarmStateSaver)
        assert type(measured) is not SwarmStateSaver
        assert "put" in vars(type(measured))
        assert type(saver).put is vars(SwarmStateSaver)["put"]


def test_a_measured_store_is_measured_once_and_keeps_its_label() -> None:
    sink = Recorder()
    store = MeteredStore(Store(), sink, label="agents")
    with SwarmStateSaver(store, metrics=sink) as saver:
        assert saver.store is store
        saver.get_tuple(THREAD)
    assert [(each.store, each.operation) for each in sink.seen] == [
        ("agents", "read"),
        ("agents", "checkpoint.get"),
    ]


def test_copies_of_a_measured_saver_are_measured(tmp_path: Path) -> None:
    sink = Recorder()
    serde = SwarmStateSerializer(allowed_msgpack_modules=[("somewhere", "A")])
    saver = SwarmStateSaver(DiskStore(tmp_path / "agents.db"), metrics=sink, serde=serde)
    other = saver.with_allowlist([("somewhere", "B")])
    assert other is not saver
    other.get_tuple(THREAD)
    assert [each.operation for each in sink.operations()] == ["checkpoint.get"]
    saver.store.close()


def test_subclasses_are_measured_as_they_are() -> None:
    class Mine(SwarmStateSaver):
        def get_tuple(self, config: Any) -> Any:
            seen.append(config)
            return super().get_tuple(config)

    seen: list[Any] = []
    sink = Recorder()
    with Mine(metrics=sink) as saver:
        assert isinstance(saver, Mine)
        saver.get_tuple(THREAD)
    assert seen == [THREAD]
    assert [each.operation for each in sink.operations()] == ["checkpoint.get"]


def test_savers_of_one_class_have_one_measured_class() -> None:
    with SwarmStateSaver(metrics=Summary()) as one, SwarmStateSaver(metrics=Summary()) as other:
        assert type(one) is type(other)
        assert type(one).__doc__ == SwarmStateSaver.__doc__


def test_arguments_by_name_are_told_like_others() -> None:
    sink = Recorder()
    with SwarmStateSaver(metrics=sink) as saver:
        saver.get_tuple(config=THREAD)
        saver.delete_thread(thread_id="zoe")
    assert [each.attributes[GEN_AI_CONVERSATION_ID] for each in sink.operations()] == ["zoe"] * 2


@pytest.mark.parametrize("found", [True, Summary, "prometheus"])
def test_what_is_no_sink_is_refused(found: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"expected a metrics sink.*a record method"):
        SwarmStateSaver(tmp_path / "agents.db", metrics=found)
    assert not (tmp_path / "agents.db").exists()
    with pytest.raises(TypeError, match="expected a metrics sink"):
        MeteredStore(Store(), found)
    with pytest.raises(TypeError, match="expected a metrics sink"):
        Sinks(Summary(), found)


class Full(Store):
    def write(self, batches: Any) -> None:
        raise OSError("the disk is full")


def test_what_failed_leaves_nothing_to_the_collector() -> None:
    class Given:
        pass

    saver = SwarmStateSaver(Full(), metrics=Summary())
    gc.collect()
    gc.disable()
    try:
        given = Given()
        left = weakref.ref(given)
        config: Any = {"configurable": {"thread_id": "zoe", "checkpoint_ns": "", "given": given}}
        with contextlib.suppress(OSError):
            saver.put(config, empty_checkpoint(), {}, {})
        del given, config
        assert left() is None
    finally:
        gc.enable()


def test_a_metered_saver_is_named_after_what_it_is() -> None:
    class Audited(SwarmStateSaver):
        pass

    with SwarmStateSaver(metrics=Summary()) as saver, Audited(metrics=Summary()) as audited:
        assert f"{SwarmStateSaver.__module__}.MeteredSwarmStateSaver" in repr(type(saver))
        assert f"{__name__}.MeteredAudited" in repr(type(audited))
        assert repr(audited) == f"MeteredAudited({audited.store!r})"
