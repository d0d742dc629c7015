"""Remembers which parameters a method takes, instead of asking at each run and each call."""

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
    """Return `ask`, which is asked about a plain method only once."""
    known: WeakKeyDictionary[FunctionType, T] = WeakKeyDictionary()

    def answer(function: Any) -> T:
        method = function.__func__ if type(function) is MethodType else None
        # What decorators leave in the dict may say that the signature is another.
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
