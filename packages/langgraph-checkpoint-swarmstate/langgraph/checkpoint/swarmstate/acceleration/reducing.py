"""Merges messages at a cost that depends on the new ones, not on the history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langgraph._internal._typing import MISSING
from langgraph.channels.binop import BinaryOperatorAggregate, _get_overwrite
from langgraph.errors import ErrorCode, InvalidUpdateError, create_error_message
from langgraph.graph.message import add_messages as stock_add_messages

from ..messages import add_messages

if TYPE_CHECKING:
    from collections.abc import Sequence


def update(self: BinaryOperatorAggregate[Any], values: Sequence[Any]) -> bool:
    """Update the channel, with our `add_messages` in place of LangGraph's own."""
    if not values:
        return False
    operator = self.operator
    if operator is stock_add_messages:
        operator = add_messages
    if self.value is MISSING:
        self.value = values[0]
        values = values[1:]
    overwritten = False
    for value in values:
        is_overwrite, new_value = _get_overwrite(value)
        if not is_overwrite:
            if not overwritten:
                self.value = operator(self.value, value)
            continue
        if overwritten:
            raise InvalidUpdateError(
                create_error_message(
                    message="Can receive only one Overwrite value per super-step.",
                    error_code=ErrorCode.INVALID_CONCURRENT_GRAPH_UPDATE,
                )
            )
        self.value = new_value
        overwritten = True
    return True


REPLACEMENTS = {"langgraph.channels.binop:BinaryOperatorAggregate.update": update}
