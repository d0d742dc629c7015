"""Names: what they may contain, and what is rejected."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest

from swarmstate.base import Batch, Expect, Query, Range
from swarmstate.errors import InvalidNameError
from swarmstate.testing._harness import Harness, Plane

ODD_NAMES = [
    "a:b-c*[|]{}",
    "with spaces ",
    " ",
    "a/b",
    "a%2Fb",
    "%",
    "_",
    "\\",
    "\x01",
    "\x1f",
    "\x7f",
    "line\nbreak\r\n",
    "\t",
    "'single' \"double\" `back`",
    "'; DROP TABLE records; --",
    "$where",
    "{namespace}",
    "é",
    "e\u0301",
    "名前",
    "😀",
    "\U0010ffff",
    "\ufeff",
    "\u202e",
    "UPPER",
    "upper",
    "1",
    "10",
    "1/a",
    "None",
    "x" * 600,
    "😀" * 600,
]


class Kind(str, Enum):
    """Names whose `str()` is not their text."""

    # Enough of them to be in different places wherever namespaces are spread.
    A = "a"
    B = "b"
    C = "c"
    D = "d"


REFUSED_NAMES = ["", "\x00", "a\x00b", "\ud800", "a\udfffb", "\udc80"]


class NameContract(Harness):
    """Names of namespaces and keys."""

    def test_odd_names_never_mix(self, plane: Plane) -> None:
        plane.write(
            [
                Batch(name, put={key: f"{name}\n{key}".encode() for key in ODD_NAMES})
                for name in ODD_NAMES
            ]
        )
        assert plane.namespaces() == sorted(ODD_NAMES)
        for name in ODD_NAMES:
            wanted = {key: f"{name}\n{key}".encode() for key in sorted(ODD_NAMES)}
            assert plane.records(name) == wanted
            [result] = plane.read([Query(name, keys=ODD_NAMES)])
            assert result.values == [wanted[key] for key in ODD_NAMES]

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_an_odd_name_can_be_used_for_everything(self, plane: Plane, name: str) -> None:
        others = {"m": b"1", "z": b"2"}
        plane.write([Batch("other", put=others), Batch(name, put={name: b"v"}, ttl=60)])
        with pytest.raises(ValueError, match="ttl"):
            plane.write([Batch(name, put={name: b"new"}, ttl=-1)])
        plane.write([Batch(name, put_if_absent={name: b"new"}, expect=Expect(name, name))])
        assert plane.records(name) == {name: b"v"}
        assert plane.namespaces(name, limit=1) == [name]
        [result] = plane.read([Query(name, ranges=[Range.of_prefix(name), Range(name)])])
        assert result.ranges == [[(name, b"v")], [(name, b"v")]]
        plane.copy(name, "copy")
        assert plane.records("copy") == {name: b"v"}
        plane.write([Batch("copy", delete=[name]), Batch(name, delete_ranges=[(name, None)])])
        assert plane.namespaces() == ["other"]
        assert plane.records("other") == others

    def test_a_member_of_an_enum_means_its_text(self, plane: Plane) -> None:
        names = list(Kind)
        plane.write([Batch(name, put={name: b"1"}, expect=Expect(name, None)) for name in names])
        texts = [name.value for name in names]
        assert plane.namespaces() == texts
        for name, text in zip(names, texts, strict=True):
            assert plane.records(text) == plane.records(name) == {text: b"1"}
            assert plane.namespaces(name) == [text]
            plane.write([Batch(text, put={"new": b"2"}, expect_values={name: b"1"})])
            assert plane.keys(name) == sorted([text, "new"])
            plane.clear(text)
        assert plane.namespaces() == []

    @pytest.mark.parametrize("name", REFUSED_NAMES)
    def test_a_refused_namespace(self, plane: Plane, name: str) -> None:
        with pytest.raises(InvalidNameError) as caught:
            plane.read([Query(name, keys=["k"])])
        assert repr(name) in str(caught.value)
        with pytest.raises(InvalidNameError):
            plane.write([Batch("n", put={"k": b"v"}), Batch(name, put={"k": b"v"})])
        with pytest.raises(InvalidNameError):
            plane.copy(name, "n")
        with pytest.raises(InvalidNameError):
            plane.copy("n", name)
        for call in (plane.get, plane.contains, plane.delete):
            with pytest.raises(InvalidNameError):
                call(name, "k")
        with pytest.raises(InvalidNameError):
            plane.set(name, "k", 1)
        with pytest.raises(InvalidNameError):
            plane.clear(name)
        assert plane.namespaces() == []

    @pytest.mark.parametrize("name", REFUSED_NAMES)
    def test_a_refused_key(self, plane: Plane, name: str) -> None:
        with pytest.raises(InvalidNameError) as caught:
            plane.read([Query("n", keys=["k", name])])
        assert repr(name) in str(caught.value)
        for refused in [
            Batch("n", put={"k": b"v", name: b"v"}),
            Batch("n", put_if_absent={name: b"v"}),
            Batch("n", put={"k": b"v"}, delete=[name]),
        ]:
            with pytest.raises(InvalidNameError):
                plane.write([Batch("n", put={"first": b"v"}), refused])
        with pytest.raises(InvalidNameError):
            plane.set("n", name, 1)
        with pytest.raises(InvalidNameError):
            plane.set_many("n", {"k": 1, name: 2})
        with pytest.raises(InvalidNameError):
            plane.get_many("n", ["k", name])
        with pytest.raises(InvalidNameError, match="last_key"):
            plane.write([Batch("n", put={"k": b"v"}, expect=Expect("k", name))])
        assert plane.namespaces() == []

    @pytest.mark.parametrize("bound", ["a\x00", "\ud800"])
    def test_bounds_and_prefixes_follow_the_rules_of_names(self, plane: Plane, bound: str) -> None:
        plane.write([Batch("n", put={"k": b"v"})])
        for wanted in [Range(bound), Range("", bound)]:
            with pytest.raises(InvalidNameError):
                plane.read([Query("n", ranges=[wanted])])
        for start, stop in [(bound, None), ("", bound)]:
            with pytest.raises(InvalidNameError):
                plane.write([Batch("n", delete_ranges=[(start, stop)])])
        for expect in [Expect(bound, None), Expect("", bound)]:
            with pytest.raises(InvalidNameError):
                plane.write([Batch("n", delete=["k"], expect=expect)])
        with pytest.raises(InvalidNameError, match="prefix"):
            plane.namespaces(bound)
        with pytest.raises(InvalidNameError, match="after"):
            plane.namespaces(after=bound)
        assert plane.records("n") == {"k": b"v"}

    @pytest.mark.parametrize("name", [None, 1, b"bytes", ("n",)])
    def test_a_name_must_be_a_str(self, plane: Plane, name: Any) -> None:
        with pytest.raises(TypeError, match="str"):
            plane.read([Query(name, keys=["k"])])
        with pytest.raises(TypeError, match="str"):
            plane.read([Query("n", keys=[name])])
        with pytest.raises(TypeError, match="str"):
            plane.write([Batch("n", put={"k": b"v"}), Batch("n", put={name: b"v"})])
        with pytest.raises(TypeError, match="str"):
            plane.set("n", name, 1)
        with pytest.raises(TypeError, match="prefix must be str"):
            plane.namespaces(name)
        assert plane.namespaces() == []
