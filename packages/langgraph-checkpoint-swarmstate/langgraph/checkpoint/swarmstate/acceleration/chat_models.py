"""Passes plain messages to a chat model without walking over them in Python."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from langchain_core.language_models._utils import _normalize_messages
from langchain_core.language_models.chat_models import BaseChatModel, _format_for_tracing
from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.prompt_values import ChatPromptValue, PromptValue

from swarmstate.finding import InstanceFinder

from ..messages import is_plain_in_messages

_stock_convert_input: Any = BaseChatModel._convert_input


def format_for_tracing(messages: list[BaseMessage]) -> list[BaseMessage]:
    """Return messages as tracers want them; only content blocks may need converting."""
    # Look at the caller's own list: a copy may be changed in the meantime.
    copied = [*messages]
    return copied if _TEXTS.all_hold_str(copied) else _format_for_tracing(messages)


def normalize(messages: Any) -> list[BaseMessage]:
    """Return messages as models want them; only content blocks may need converting."""
    copied = [*messages]
    return copied if _TEXTS.all_hold_str(copied) else _normalize_messages(messages)


def convert(messages: Any) -> list[BaseMessage]:
    """Return messages, given anything that can be converted to messages."""
    return messages.copy() if _are_messages(messages) else convert_to_messages(messages)


def convert_input(self: BaseChatModel, model_input: Any) -> PromptValue:
    """Return the prompt value for a model, without validating existing messages."""
    if _are_messages(model_input):
        return ChatPromptValue.model_construct(messages=model_input.copy())
    prompt: PromptValue = _stock_convert_input(self, model_input)
    return prompt


def _are_messages(messages: Any) -> bool:
    return type(messages) is list and all(map(_is_message, set(map(type, messages))))


@lru_cache(maxsize=256)
def _is_message(cls: type) -> bool:
    return issubclass(cls, BaseMessage)


@lru_cache(maxsize=256)
def _has_plain_content(cls: type) -> bool:
    return is_plain_in_messages("content", cls)


_TEXTS = InstanceFinder("content", _has_plain_content)
_MODELS = "langchain_core.language_models.chat_models"
REPLACEMENTS = {
    f"{_MODELS}:_format_for_tracing": format_for_tracing,
    f"{_MODELS}:_normalize_messages": normalize,
    f"{_MODELS}:convert_to_messages": convert,
    f"{_MODELS}:BaseChatModel._convert_input": convert_input,
}
