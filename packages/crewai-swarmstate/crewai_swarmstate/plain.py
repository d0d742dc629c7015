"""Convert values to plain types, which can be read back without the program's own classes."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel, RootModel
from pydantic_core import PydanticSerializationError
from swarmstate.codec import Codec
from swarmstate.errors import CodecError, EncodeError

from .panics import is_panic

__all__ = ["plain"]

logger = logging.getLogger(__name__)

_codec = Codec()

# Each level takes two of Python's thousand stack frames, and the callers need some, too.
_DEEPEST = 200
_SETS_AND_QUEUES = frozenset({set, frozenset, deque})
_SCALARS = frozenset({type(None), bool, int, float, str, bytes})


def plain(value: Any, path: str, depth: int = 0, *, strict: bool = False) -> Any:
    """Return `value` in plain types.

    Members of enums become their values, and instances of other subclasses become their base type,
    as in JSON. Pydantic models become their JSON form, and dataclasses and mappings become dicts.

    Args:
        value: The value to store.
        path: Where the value is, for error messages.
        depth: The number of levels above it.
        strict: Refuse a value with no plain form. Otherwise return its `str` and log a warning.

    Raises:
        EncodeError: The value is nested too deeply, contains itself, or, with `strict`, has no
            plain form.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if depth > _DEEPEST:
        raise EncodeError(
            f"cannot store {path[:60]}…: expected at most {_DEEPEST} levels, "
            "found more; does it contain itself?"
        )
    below = depth + 1
    if isinstance(value, BaseModel):
        return _dumped(value, path, below, strict)
    if isinstance(value, Enum):
        return plain(value.value, path, below, strict=strict)
    # Methods of a flow may run concurrently, so a state may change while it is saved. Iterate over
    # a copy, which is made in one step.
    if isinstance(value, Mapping):
        return {
            _plain_key(key, path): plain(item, f"{path}[{key!r}]", below, strict=strict)
            for key, item in list(value.items())
        }
    if isinstance(value, list | tuple) or kind in _SETS_AND_QUEUES:
        items = [
            plain(item, f"{path}[{index}]", below, strict=strict)
            for index, item in enumerate(list(value))
        ]
        return _contained(value, items)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        return plain(fields, path, below, strict=strict)
    bare = _bare(value)
    if bare is not value:
        return bare
    if not isinstance(value, BaseException):
        try:
            # An instance of the program's own class could be written, but reading it back would
            # require the class to be allowed.
            _codec.loads(_codec.dumps(value))
        except CodecError:
            pass
        else:
            return value
    if strict:
        raise EncodeError(
            f"cannot store {path}, a {kind.__name__}: expected plain data, such as strings, "
            "numbers, dates, lists and dicts; store what it represents instead"
        )
    logger.warning(
        "%s is a %s, which has no msgpack form; its str() is stored", path, kind.__name__
    )
    return str(value)


def _bare(value: Any) -> Any:
    """Return `value` as its base type, if it is an instance of a subclass of one, such as `str`."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    return value


def _plain_key(key: Any, path: str) -> Any:
    if isinstance(key, Enum):
        key = key.value
    if type(key) in _SCALARS:
        return key
    bare = _bare(key)
    if bare is not key:
        return bare
    try:
        hash(key)  # A member of an enum is hashable even if its value is not.
        _codec.loads(_codec.dumps(key))
    except (CodecError, TypeError):
        raise EncodeError(
            f"cannot store {path}: expected keys such as strings and numbers, found {key!r}"
        ) from None
    return key


def _dumped(model: BaseModel, path: str, depth: int, strict: bool) -> Any:
    """Return the JSON form of `model`; fields without one, such as bytes, in plain types."""
    try:
        try:
            return _fields(model, path, depth, strict)
        except BaseException as error:
            # Pydantic panics if a dict or a set in the model changes while it is dumped.
            if not is_panic(error):
                raise
        return _fields(_apart(model), path, depth, strict)
    except BaseException as error:
        if not is_panic(error):
            raise
        raise EncodeError(
            f"cannot store {path}, a {type(model).__name__}: it changed while being read: {error}"
        ) from error


def _fields(model: BaseModel, path: str, depth: int, strict: bool) -> Any:
    try:
        try:
            return model.model_dump(mode="json")
        except (PydanticSerializationError, UnicodeDecodeError):
            fields = model.model_dump()
    except (TypeError, ValueError) as error:
        raise EncodeError(f"cannot store {path}, a {type(model).__name__}: {error}") from error
    if isinstance(fields, dict) and not isinstance(model, RootModel):
        for name, dumped in fields.items():
            try:
                fields[name] = model.model_dump(mode="json", include={name})[name]
            except (KeyError, TypeError, ValueError):
                # Take the original value: models nested in it may have fields that do have a JSON
                # form.
                fields[name] = vars(model).get(name, dumped)
    return plain(fields, path, depth, strict=strict)


def _apart(value: Any, depth: int = 0) -> Any:
    """Return `value` with its own copies of containers, which nobody else changes."""
    if depth > _DEEPEST:
        return value  # It contains itself; let pydantic report that.
    below = depth + 1
    if isinstance(value, BaseModel):
        model = value.model_copy()
        for fields in (vars(model), model.__pydantic_extra__ or {}):
            fields.update({name: _apart(item, below) for name, item in fields.items()})
        return model
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        copied = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(copied, field.name, _apart(getattr(value, field.name), below))
        return copied
    if isinstance(value, dict):
        return {key: _apart(item, below) for key, item in list(value.items())}
    if type(value) in _SETS_AND_QUEUES or type(value) in (list, tuple):
        return _contained(value, [_apart(item, below) for item in list(value)])
    return value


def _contained(container: Any, items: list[Any]) -> Any:
    """Return `items` in a container of the same type as `container`."""
    if isinstance(container, deque):
        return deque(items, container.maxlen)
    if isinstance(container, list):
        return items
    if isinstance(container, tuple):
        return tuple(items)
    try:
        return type(container)(items)
    except TypeError:
        return items  # A set whose members have become dicts, which are not hashable.
