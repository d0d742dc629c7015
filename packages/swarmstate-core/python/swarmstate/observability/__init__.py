"""What stores tell about their work: measurements, and where they go.

A sink is anything with a `record` method (`MetricsSink`). `MeteredStore` in
`swarmstate.layers` calls it once per round trip. `Summary` is a sink in memory,
`OpenTelemetrySink` reports metrics and spans, `PrometheusSink` is fetched, `Sinks`
are several at once.
"""

from __future__ import annotations

from swarmstate.observability._measurement import Measurement, MetricsSink
from swarmstate.observability._opentelemetry import OpenTelemetrySink
from swarmstate.observability._prometheus import PrometheusSink
from swarmstate.observability._sinks import Sinks
from swarmstate.observability._summary import OperationStats, Summary

__all__ = [
    "Measurement",
    "MetricsSink",
    "OpenTelemetrySink",
    "OperationStats",
    "PrometheusSink",
    "Sinks",
    "Summary",
]
