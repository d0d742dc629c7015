"""Creates the callback managers of runs without handlers in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.callbacks.manager import CallbackManager, ParentRunManager
from langchain_core.runnables.config import _merge_metadata_dicts

if TYPE_CHECKING:
    from collections.abc import Mapping

# The only metadata key whose values are merged instead of replaced.
_VERSIONS = "lc_versions"

_stock_get_child = ParentRunManager.get_child


def get_child(self: ParentRunManager, tag: str | None = None) -> CallbackManager:
    """Return a child manager."""
    tags = self.inheritable_tags
    metadata = self.inheritable_metadata
    if self.inheritable_handlers or tag in tags or _VERSIONS in metadata:
        return _stock_get_child(self, tag)
    child = CallbackManager.__new__(CallbackManager)
    child.handlers = []
    child.inheritable_handlers = []
    child.parent_run_id = self.run_id
    child.tags = [*tags] if tag is None else [*tags, tag]
    child.inheritable_tags = [*tags]
    child.metadata = {**metadata}
    child.inheritable_metadata = {**metadata}
    return child


def merge_metadata(base: Mapping[str, Any], incoming: Mapping[str, Any]) -> dict[str, Any]:
    """Return merged metadata."""
    merged = {**base, **incoming}
    return _merge_metadata_dicts(base, incoming) if _VERSIONS in merged else merged


REPLACEMENTS = {
    "langchain_core.callbacks.manager:ParentRunManager.get_child": get_child,
    "langchain_core.runnables.config:_merge_metadata_dicts": merge_metadata,
}
