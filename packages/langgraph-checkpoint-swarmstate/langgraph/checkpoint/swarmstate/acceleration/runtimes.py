"""Copies the runtime of a task without asking dataclasses for its fields."""

from __future__ import annotations

from typing import Any

from langgraph.runtime import ExecutionInfo, Runtime

_stock_override: Any = Runtime.override
_stock_patch: Any = Runtime.patch_execution_info


def override(self: Runtime[Any], **overrides: Any) -> Runtime[Any]:
    """Return a runtime with some fields replaced."""
    if type(self) is not Runtime:
        changed: Runtime[Any] = _stock_override(self, **overrides)
        return changed
    values: dict[str, Any] = {
        "context": self.context,
        "store": self.store,
        "stream_writer": self.stream_writer,
        "heartbeat": self.heartbeat,
        "previous": self.previous,
        "execution_info": self.execution_info,
        "server_info": self.server_info,
        "control": self.control,
    }
    return Runtime(**{**values, **overrides})


def patch_execution_info(self: Runtime[Any], **overrides: Any) -> Runtime[Any]:
    """Return a runtime with some fields of its execution info replaced."""
    info = self.execution_info
    if type(info) is not ExecutionInfo:
        changed: Runtime[Any] = _stock_patch(self, **overrides)
        return changed
    values: dict[str, Any] = {
        "checkpoint_id": info.checkpoint_id,
        "checkpoint_ns": info.checkpoint_ns,
        "task_id": info.task_id,
        "thread_id": info.thread_id,
        "run_id": info.run_id,
        "node_attempt": info.node_attempt,
        "node_first_attempt_time": info.node_first_attempt_time,
    }
    return override(self, execution_info=ExecutionInfo(**{**values, **overrides}))


REPLACEMENTS = {
    "langgraph.runtime:Runtime.override": override,
    "langgraph.runtime:Runtime.patch_execution_info": patch_execution_info,
}
