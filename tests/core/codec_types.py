"""Classes, strategies and a strict equality for the tests of the codec."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import pathlib
import re
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import strategies as st
from pydantic import BaseModel


class Color(enum.Enum):
    RED = "red"
    BLUE = 2
    MIXED = (1, 2)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Tag(str, enum.Enum):
    A = "a"


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Point(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass
class Note:
    title: Any
    body: Any = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    name: str
    size: int = 0


@dataclasses.dataclass
class Derived:
    start: int
    doubled: Any = dataclasses.field(init=False, default=None)


class Model(BaseModel):
    name: str
    value: Any = None


class Loose(dict):  # type: ignore[type-arg]
    """A dict subclass; written as a dict."""


class Word(str):
    """A str subclass; written as a str."""


def canon(value: Any) -> Any:
    """Return `value` in a form that is equal only for values of the same type and content."""
    kind = type(value).__name__
    if isinstance(value, float):
        return kind, "nan" if value != value else value.hex()
    if isinstance(value, complex):
        return kind, canon(value.real), canon(value.imag)
    if isinstance(value, enum.Enum):
        return kind, value.name, canon(value.value)
    if isinstance(value, (set, frozenset)):
        return kind, sorted((canon(item) for item in value), key=repr)
    if isinstance(value, (list, tuple)):
        return kind, [canon(item) for item in value]
    if isinstance(value, deque):
        return kind, value.maxlen, [canon(item) for item in value]
    if isinstance(value, defaultdict):
        return kind, value.default_factory, [(canon(k), canon(v)) for k, v in value.items()]
    if isinstance(value, dict):
        return kind, [(canon(k), canon(v)) for k, v in value.items()]
    if isinstance(value, dt.datetime):
        naive = value.replace(tzinfo=None, fold=0)
        return kind, naive.isoformat(), value.fold, canon(value.tzinfo)
    if isinstance(value, dt.time):
        return kind, value.isoformat(), value.fold, canon(value.tzinfo)
    if isinstance(value, np.ndarray):
        order = value.flags.c_contiguous, value.flags.f_contiguous
        return kind, value.dtype, value.shape, order, value.tobytes()
    if dataclasses.is_dataclass(value):
        return kind, [canon(getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, BaseModel):
        return kind, canon(vars(value)), canon(value.model_fields_set), canon(value.model_extra)
    return kind, hex(value) if isinstance(value, int) else repr(value)


def _keys(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)


ints = st.integers(-(2**63), 2**64 - 1) | st.sampled_from(
    [edge + step for bits in (5, 7, 8, 15, 16, 31, 32, 63) for edge in (2**bits, -(2**bits))
     for step in (-1, 0, 1) if edge + step >= -(2**63)]
)  # fmt: skip
texts = st.text(max_size=40) | st.sampled_from([0, 31, 32, 255, 256, 65535, 65536]).map("a".__mul__)
plain = st.none() | st.booleans() | ints | st.floats() | texts | st.binary(max_size=40)
plain_keys = _keys(st.none() | st.booleans() | ints | st.floats() | texts | st.binary(max_size=9))

offsets = st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23))
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]).map(ZoneInfo)


def _zone_of_minutes(minutes: int) -> dt.timezone:
    return dt.timezone(dt.timedelta(minutes=minutes))


hashable = (
    st.dates()
    | st.times()
    | st.times(timezones=zones)
    | st.timedeltas()
    | (st.datetimes() | st.datetimes(timezones=st.integers(-1439, 1439).map(_zone_of_minutes))).map(
        lambda moment: moment.replace(fold=0)
    )
    | offsets.map(dt.timezone)
    | st.builds(dt.timezone, offsets, st.text(max_size=5))
    | zones
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.ip_addresses()
    | st.sampled_from(
        [Color.RED, Color.BLUE, *Level, *Tag, Access.READ, Access.READ | Access.WRITE]
    )
    | st.lists(st.text("abc/.", min_size=1, max_size=5)).map(lambda parts: pathlib.Path(*parts))
    | st.sampled_from(
        [
            ipaddress.ip_interface("10.1.2.3/8"),
            ipaddress.ip_network("::/64"),
            re.compile("a+", re.I),
            re.compile(b"x"),
            Frozen("a", 1),
        ]
    )
)
"""Hashable objects that the stock serializer preserves."""


def _containers(inner: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> Any:
    return (
        st.lists(inner, max_size=5)
        | st.dictionaries(keys, inner, max_size=5)
        | st.builds(deque, st.lists(inner, max_size=3))
        | st.builds(Point, inner, inner)
        | st.builds(Note, inner, inner)
        | st.builds(lambda size: [None] * size, st.sampled_from([15, 16, 17, 300, 70000]))
    )


lossless = st.recursive(
    plain
    | hashable
    | st.sets(plain | hashable, max_size=4)
    | st.frozensets(plain | hashable, max_size=4)
    | st.builds(Model, name=texts, value=plain | st.lists(plain, max_size=2))
    | st.sampled_from([decimal.Decimal("NaN"), decimal.Decimal("sNaN12")]),
    lambda inner: _containers(inner, plain_keys),
    max_leaves=12,
)
"""Values that the stock serializer returns exactly."""

broken_texts = st.text(st.characters(), min_size=1, max_size=5).map(lambda text: text + "\ud800")
pure_paths = st.sampled_from(
    [pathlib.PurePosixPath("/a/b"), pathlib.PureWindowsPath("c:\\a\\b"), pathlib.PurePosixPath()]
)
extra_hashable = (
    st.integers(2**64, 2**300)
    | st.integers(-(2**300), -(2**63) - 1)
    | st.fractions()
    | st.just(...)
    | st.complex_numbers()
    | st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 3))
    | pure_paths
    | broken_texts
    | st.datetimes(timezones=zones)
    | st.datetimes(timezones=offsets.map(dt.timezone))
    | st.datetimes(timezones=st.just(dt.timezone(dt.timedelta(microseconds=-1))))
    | st.datetimes().map(lambda moment: moment.replace(fold=1))
    | st.builds(Point, plain, plain)
    | st.just(Color.MIXED)
)
"""Hashable objects that the stock serializer loses or refuses."""

any_keys = _keys(plain_keys | hashable | extra_hashable | st.frozensets(plain | hashable))
everything = st.recursive(
    plain
    | hashable
    | extra_hashable
    | st.binary(max_size=9).map(bytearray)
    | st.sets(any_keys, max_size=4)
    | st.frozensets(any_keys, max_size=4)
    | st.dictionaries(texts | ints, st.integers(), max_size=3).map(Counter)
    | st.builds(Derived, st.integers(0, 9)),
    lambda inner: (
        _containers(inner, any_keys)
        | st.dictionaries(any_keys, inner, max_size=4).map(OrderedDict)
        | st.builds(
            defaultdict,
            st.sampled_from([None, list, dict, set, int, str, Counter]),
            st.dictionaries(any_keys, inner, max_size=4),
        )
        | st.builds(deque, st.lists(inner, max_size=3), st.integers(0, 4))
    ),
    max_leaves=12,
)
"""Values that ours returns exactly."""

ALLOWED = [Color, Level, Tag, Access, Point, Note, Frozen, Derived, Model]
