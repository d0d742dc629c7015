"""Measurements of what stores and adapters do, and the sinks that receive them.

A sink is anything with a `record` method (`MetricsSink`). `MeteredStore` in
`swarmstate.layers` calls it once per round trip, and a checkpointer with `metrics=` once
per operation. `Summary` is a sink in memory, `OpenTelemetrySink` reports metrics and
spans, Prometheus scrapes a `PrometheusSink`, and `Sinks` combines several. A
`TracingSink` is also told when an operation begins. A `Profile` shows where the time of
a run went.
"""

from __future__ import annotations

from swarmstate.observability._guard import GuardedSink
from swarmstate.observability._measurement import Measurement, MetricsSink, Span, TracingSink
from swarmstate.observability._opentelemetry import OpenTelemetrySink
from swarmstate.observability._operations import MeteredOperation
from swarmstate.observability._profile import Profile, ProfileRow, profile
from swarmstate.observability._prometheus import PrometheusSink
from swarmstate.observability._sinks import Sinks
from swarmstate.observability._summary import OperationStats, Summary
from swarmstate.observability._timeline import Activity, Kind, Timeline, current_activity

__all__ = [
    "Activity",
    "GuardedSink",
    "Kind",
    "Measurement",
    "MeteredOperation",
    "MetricsSink",
    "OpenTelemetrySink",
    "OperationStats",
    "Profile",
    "ProfileRow",
    "PrometheusSink",
    "Sinks",
    "Span",
    "Summary",
    "Timeline",
    "TracingSink",
    "current_activity",
    "profile",
]
