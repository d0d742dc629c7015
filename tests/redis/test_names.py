"""The keys of a namespace share a slot, whatever its name; prefixes never mix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot
from swarmstate.testing._names import ODD_NAMES
from swarmstate_redis import RedisStore
from swarmstate_redis.names import Names, slot_of, tag_of_slot

BRACES = ["{", "}", "{}", "{a}", "a{b}c", "a}b", "a}{b", "{}a", "x{}y", "{{a}}", "}}", "{a", "a}{}"]
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(NAMES | st.text("{}ab:", min_size=1))
def test_the_keys_of_a_namespace_share_a_slot(namespace: str) -> None:
    keys = Names("swarmstate").of(namespace)
    assert keys.data == f"swarmstate:{namespace}".encode()
    assert {key_slot(key) for key in keys} == {slot_of(keys.data)}


def test_no_two_names_share_a_key() -> None:
    names = [*ODD_NAMES, *BRACES, "keys", "keys:a", "recent:a", ":keys", "namespaces"]
    every = Names("swarmstate")
    keys = [key for name in sorted(set(names)) for key in every.of(name)]
    assert not {every.namespaces, every.witness} & set(keys)
    assert len(set(keys)) == len(keys)


def test_the_layout_is_what_the_documentation_says() -> None:
    names = Names("swarmstate")
    assert names.of("user/ada") == (
        b"swarmstate:user/ada",
        b"{swarmstate:user/ada}:keys",
        b"{swarmstate:user/ada}:recent",
    )
    assert names.of("{a}")[1] == b"{a}:keys:swarmstate:{a}"
    number = tag_of_slot(slot_of(b"swarmstate:a}b"))
    assert names.of("a}b")[1] == b"{%b}:keys:swarmstate:a}b" % number
    assert names.namespaces == b"{swarmstate}:namespaces"
    assert names.witness == b"{swarmstate}:indexed"


@pytest.mark.parametrize("prefix", ["", "{a}", "a}", "a\ud800"])
def test_prefixes_that_would_break_slots_or_are_no_text_are_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match=r"expected a (non-empty )?prefix without"):
        RedisStore("redis://localhost", prefix=prefix)
