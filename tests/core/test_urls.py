"""Opening stores by URL."""

from __future__ import annotations

from typing import Any

import pytest
import swarmstate
from swarmstate import Store
from swarmstate.errors import SwarmStateError, UnknownSchemeError


@pytest.mark.parametrize("url", ["memory://", "MEMORY://"])
def test_memory(url: str) -> None:
    with swarmstate.open(url) as store:
        assert isinstance(store, Store)
        store.set("n", "a", 1)
        with swarmstate.open(url) as other:
            assert other.namespaces() == []


@pytest.mark.parametrize("url", ["memory://name", "memory:///path", "memory://?a=b"])
def test_memory_takes_no_name(url: str) -> None:
    with pytest.raises(ValueError, match="nothing after"):
        swarmstate.open(url)


def test_options_are_passed_on() -> None:
    with pytest.raises(TypeError, match="colour"):
        swarmstate.open("memory://", colour="red")


@pytest.mark.parametrize(
    ("scheme", "distribution"),
    [
        ("redis", "swarmstate-redis"),
        ("rediss", "swarmstate-redis"),
        ("postgresql", "swarmstate-postgres"),
        ("postgres", "swarmstate-postgres"),
    ],
)
def test_a_missing_distribution_is_named_and_the_password_is_not(
    scheme: str, distribution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmstate.urls.entry_points", lambda **selected: ())
    with pytest.raises(UnknownSchemeError, match=f"pip install {distribution}") as caught:
        swarmstate.open(f"{scheme}://user:s3cret@host:1234/0")
    assert "s3cret" not in str(caught.value)


def test_an_unknown_scheme_names_those_that_are_known() -> None:
    with pytest.raises(UnknownSchemeError, match="memory://") as caught:
        swarmstate.open("carrier-pigeon://user:s3cret@host")
    assert "carrier-pigeon" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, SwarmStateError)


@pytest.mark.parametrize(
    ("scheme", "hint"),
    [
        ("postgress", "use postgresql://"),
        ("postgresql+psycopg", "use postgresql://"),
        ("postgres+asyncpg", "use postgresql://"),
        ("redis+cluster", "use redis://"),
        ("valkey", "use redis://"),
        ("sqlite", "use disk://"),
        ("sqlite+aiosqlite", "use disk://"),
        ("file", "use disk://"),
        ("FILE", "use disk://"),
    ],
)
def test_a_scheme_that_people_try_says_what_to_write(scheme: str, hint: str) -> None:
    with pytest.raises(UnknownSchemeError, match=hint) as caught:
        swarmstate.open(f"{scheme}://user:s3cret@host:1234/0")
    assert f"{scheme.lower()}://" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_path_is_told_how_to_be_a_url() -> None:
    with pytest.raises(UnknownSchemeError, match=r"'disk://agents\.db' or DiskStore"):
        swarmstate.open("agents.db")


@pytest.mark.parametrize(
    "url", ["", "agents.db", "/tmp/agents.db", "memory", "memory:", "://x", "user:s3cret@host/db"]
)
def test_a_url_without_a_scheme(url: str) -> None:
    with pytest.raises(UnknownSchemeError, match="begins with a scheme") as caught:
        swarmstate.open(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", [None, 1, b"memory://"])
def test_a_url_is_a_str(url: Any) -> None:
    with pytest.raises(TypeError, match="str"):
        swarmstate.open(url)
