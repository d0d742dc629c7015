"""Converting values to plain types, which are read back without the program's own classes."""

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

# Each level takes two of the thousand frames that Python allows, and others need some, too.
_DEEPEST = 200
_SETS_AND_QUEUES = frozenset({set, frozenset, deque})
_SCALARS = frozenset({type(None), bool, int, float, str, bytes})


def plain(value: Any, path: str, depth: int = 0, *, strict: bool = False) -> Any:
    """Return `value` in plain types.

    Members of enums become their values, and instances of other subclasses what they
    are without their class, as in JSON. Pydantic models become their JSON form, and
    dataclasses and mappings become dicts.

    Args:
        value: What is to be stored.
        path: Where it is, for messages.
        depth: How many levels are above it.
        strict: Refuse what has no plain form. Otherwise its `str` is returned, and
            a warning is logged.

    Raises:
        EncodeError: It is nested too deeply, contains itself, or has no plain form
            and must have one.
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
    # Methods of a flow may run at once, so a state may change while it is saved: what is gone
    # through is a copy, which is made in one step.
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
            # A class of the program's own could be written, but not read without being allowed.
            _codec.loads(_codec.dumps(value))
        except CodecError:
            pass
        else:
            return value
    if strict:
        raise EncodeError(
            f"cannot store {path}, a {kind.__name__}: expected plain data, such as texts, numbers, "
            "dates, lists and dicts; store what it stands for instead"
        )
    logger.warning(
        "%s is a %s, which has no msgpack form; its str() is stored", path, kind.__name__
    )
    return str(value)


def _bare(value: Any) -> Any:
    """Return what `value` is without its subclass, such as of texts."""
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
        hash(key)  # An enum's member can be a key whatever its value is.
        _codec.loads(_codec.dumps(key))
    except (CodecError, TypeError):
        raise EncodeError(
            f"cannot store {path}: expected keys such as texts and numbers, found {key!r}"
        ) from None
    return key


def _dumped(model: BaseModel, path: str, depth: int, strict: bool) -> Any:
    """Return the JSON form of `model`; fields that have none, such as of bytes, in plain types."""
    try:
        try:
            return _fields(model, path, depth, strict)
        except BaseException as error:
            # What pydantic does when a dict or a set in the model changes while it is dumped.
            if not is_panic(error):
                raise
        return _fields(_apart(model), path, depth, strict)
    except BaseException as error:
        if not is_panic(error):
            raise
        raise EncodeError(
            f"cannot store {path}, a {type(model).__name__}: it changed while it was read: {error}"
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
                # The value itself: models below it may have fields that do have a JSON form.
                fields[name] = vars(model).get(name, dumped)
    return plain(fields, path, depth, strict=strict)


def _apart(value: Any, depth: int = 0) -> Any:
    """Return `value` with containers of its own, which nobody else changes."""
    if depth > _DEEPEST:
        return value  # It contains itself, which pydantic says.
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
    """Return `items` in a container such as theirs was."""
    if isinstance(container, deque):
        return deque(items, container.maxlen)
    if isinstance(container, list):
        return items
    if isinstance(container, tuple):
        return tuple(items)
    try:
        return type(container)(items)
    except TypeError:
        return items  # Of a set, in which models and dataclasses have become maps.
