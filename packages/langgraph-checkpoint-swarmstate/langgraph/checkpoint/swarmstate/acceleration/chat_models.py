"""Calling a chat model walks through plain messages as fast as Python can."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from langchain_core.language_models._utils import _normalize_messages
from langchain_core.language_models.chat_models import _format_for_tracing
from langchain_core.messages import BaseMessage, convert_to_messages


def format_for_tracing(messages: list[BaseMessage]) -> list[BaseMessage]:
    """Return messages in the form that tracers want: only content in blocks may need another."""
    return list(messages) if _are_texts(messages) else _format_for_tracing(messages)


def normalize(messages: Any) -> list[BaseMessage]:
    """Return messages in the form that models want: only content in blocks may need another."""
    return list(messages) if _are_texts(messages) else _normalize_messages(messages)


def convert(messages: Any) -> list[BaseMessage]:
    """Return messages, given anything that can be messages."""
    if type(messages) is list and all(map(_is_message, set(map(type, messages)))):
        return messages.copy()
    return convert_to_messages(messages)


def _are_texts(messages: Any) -> bool:
    return not [each for each in messages if type(each.content) is not str]


@lru_cache(maxsize=256)
def _is_message(cls: type) -> bool:
    return issubclass(cls, BaseMessage)


_MODELS = "langchain_core.language_models.chat_models"
REPLACEMENTS = {
    f"{_MODELS}:_format_for_tracing": format_for_tracing,
    f"{_MODELS}:_normalize_messages": normalize,
    f"{_MODELS}:convert_to_messages": convert,
}
