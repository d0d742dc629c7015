"""Code that uses every operation of a saver, and sinks that record what they receive."""

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.graph import START, MessagesState, StateGraph
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from swarmstate.observability import Measurement, OpenTelemetrySink

SECRET = "the launch code is 0000"

THREAD: Any = {"configurable": {"thread_id": "zoe"}}


class Recorder:
    def __init__(self) -> None:
        self.seen: list[Measurement] = []

    def record(self, measurement: Measurement, /) -> None:
        self.seen.append(measurement)

    def operations(self) -> list[Measurement]:
        return [each for each in self.seen if each.round_trips is not None]

    def round_trips(self) -> list[Measurement]:
        return [each for each in self.seen if each.round_trips is None]


class Traces:
    """An OpenTelemetry sink and the spans it has created."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.sink = OpenTelemetrySink(
            spans=True, meter_provider=self.meters, tracer_provider=self.tracers
        )

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._spans.get_finished_spans() if span.name == name]

    def all(self) -> tuple[ReadableSpan, ...]:
        return self._spans.get_finished_spans()


def built(saver: SwarmStateSaver) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("say", lambda state: {"messages": [("ai", SECRET * 200)]})
    builder.add_edge(START, "say")
    return builder.compile(checkpointer=saver)


def run_everything(saver: SwarmStateSaver) -> None:
    graph = built(saver)
    graph.invoke({"messages": [("user", SECRET)]}, THREAD)
    assert len(list(graph.get_state_history(THREAD))) == 3
    assert len(list(saver.history(THREAD))) == 3
    saver.get_delta_channel_history(config=THREAD, channels=["messages"])
    saver.copy_thread("zoe", "eve")
    assert saver.stats("zoe").checkpoints == 3
    saver.prune(["eve"])
    saver.delete_for_runs(["nobody"])
    assert sorted(saver.threads()) == ["eve", "zoe"]
    saver.delete_thread("zoe")


async def arun_everything(saver: SwarmStateSaver) -> None:
    graph = built(saver)
    await graph.ainvoke({"messages": [("user", SECRET)]}, THREAD)
    assert len([each async for each in graph.aget_state_history(THREAD)]) == 3
    assert len([each async for each in saver.ahistory(THREAD)]) == 3
    await saver.aget_delta_channel_history(config=THREAD, channels=["messages"])
    await saver.acopy_thread("zoe", "eve")
    assert (await saver.astats("zoe")).checkpoints == 3
    await saver.aprune(["eve"])
    await saver.adelete_for_runs(["nobody"])
    assert sorted(await saver.athreads()) == ["eve", "zoe"]
    await saver.adelete_thread("zoe")
