"""Caches which parameters a method takes, instead of inspecting it on every run and call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter
from types import FunctionType, MethodType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from langchain_core.utils._signature import _signature_parameters
from langgraph.pregel._checkpoint import put_writes_accepts_task_path

T = TypeVar("T")


def _remembering(ask: Callable[[Any], T]) -> Callable[[Any], T]:
    """Wrap `ask` so that it is called only once per plain method."""
    known: WeakKeyDictionary[FunctionType, T] = WeakKeyDictionary()

    def answer(function: Any) -> T:
        method = function.__func__ if type(function) is MethodType else None
        # Attributes that decorators set may change the signature.
        if type(method) is not FunctionType or vars(method):
            return ask(function)
        try:
            return known[method]
        except KeyError:
            found = known[method] = ask(function)
            return found

    return answer


parameters: Callable[[Any], Mapping[str, Parameter]] = _remembering(_signature_parameters)
accepts_task_path: Callable[[Any], bool] = _remembering(put_writes_accepts_task_path)

REPLACEMENTS = {
    "langchain_core.language_models.chat_models:_signature_parameters": parameters,
    "langgraph.pregel._loop:put_writes_accepts_task_path": accepts_task_path,
}
