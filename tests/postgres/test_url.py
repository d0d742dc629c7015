"""URLs: what they may hold, and what is never shown of them."""

from __future__ import annotations

import logging
import socket
import traceback
from typing import Any
from urllib.parse import quote

import pytest
import swarmstate
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from swarmstate.backends.postgres import PostgresStore as Alias
from swarmstate.errors import StoreUnavailableError
from swarmstate_postgres import PostgresStore
from swarmstate_postgres._url import Target

from tests.servers.postgres import PASSWORD, PostgresServer

# Each holds "hunter2", mostly where an unescaped password would put it.
BROKEN = [
    "postgresql://ada:p/hunter2@localhost/agents",
    "postgresql://ada:12/hunter2@localhost/agents",
    "postgresql://ada:hunter2#x@localhost/agents",
    "postgresql://ada:12#hunter2@localhost/agents",
    "postgresql://ada:12?hunter2@localhost/agents",
    "postgresql://ada:p?hunter2@localhost/agents",
    "postgresql://ada:hunter2@localhost:port/agents",
    "postgresql://ada:hunter2@[::1/agents",
    "postgresql://ada:hunter2@localhost/agents?=x",
    "postgresql://ada:hunter2@localhost/agents?a b=x",
    "mysql://ada:hunter2@localhost/agents",
    "ada:hunter2@localhost",
]


def shown(error: BaseException, store: object = None) -> str:
    """Return everything that a log could show of an error and of a store."""
    return "".join(traceback.format_exception(error)) + repr(store)


@pytest.mark.parametrize("url", BROKEN)
def test_a_broken_url_is_an_error_that_does_not_show_it(url: str) -> None:
    with pytest.raises(ValueError, match="percent-encoded") as caught:
        PostgresStore(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "dsn", "password", "name"),
    [
        ("postgresql://h/d", "postgresql://h/d", None, "h/d"),
        ("postgres://u@h:1/d", "postgresql://u@h:1/d", None, "h:1/d"),
        ("postgresql://u:%40%3A@h/d?a=b", "postgresql://u@h/d?a=b", "@:", "h/d"),
        ("postgresql://u:a@b@h/d", "postgresql://u@h/d", "a@b", "h/d"),
        ("postgresql://u:@h/d", "postgresql://u@h/d", "", "h/d"),
        ("postgresql://u@h/d?password=p%20q", "postgresql://u@h/d", "p q", "h/d"),
        ("postgresql://u:p@[::1]:5,h2:6/d", "postgresql://u@[::1]:5,h2:6/d", "p", "[::1]:5,h2:6/d"),
        ("postgresql:///d?host=/run/pg", "postgresql:///d?host=%2Frun%2Fpg", None, "/run/pg/d"),
    ],
)
def test_the_password_is_kept_apart(url: str, dsn: str, password: str | None, name: str) -> None:
    target = Target.of(url)
    assert (target.dsn, target.password, target.name) == (dsn, password, name)
    assert "p q" not in repr(target)


def test_what_is_for_the_store_can_be_said_in_the_url() -> None:
    url = "postgresql://h/d?schema=tenant&prefix=p&max_size=3&timeout=1.5&statement_cache_size=0"
    assert Target.of(url).options == {
        "schema": "tenant",
        "prefix": "p",
        "max_size": 3,
        "timeout": 1.5,
        "statement_cache_size": 0,
    }
    assert repr(PostgresStore(url)) == "PostgresStore('h/d', schema='tenant', prefix='p')"
    assert "schema='other'" in repr(PostgresStore(url, schema="other"))


@pytest.mark.parametrize(
    "options",
    [
        {"max_size": 0},
        {"statement_cache_size": -1},
        {"timeout": 0.0},
        {"timeout": float("inf")},
        {"sweep_interval": 0.0},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    [(name, value)] = options.items()
    with pytest.raises(ValueError, match=rf"expected {name} .*, found {value}$"):
        PostgresStore("postgresql://h/d", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="number"):
        PostgresStore("postgresql://h/d?max_size=many")
    with pytest.raises(ValueError, match="either a url or a pool, found neither"):
        PostgresStore()


@pytest.mark.parametrize("wrong", ["5", 1.5], ids=str)
@pytest.mark.parametrize("name", ["max_size", "statement_cache_size"])
def test_connections_and_statements_are_counted_in_whole_numbers(name: str, wrong: Any) -> None:
    options: dict[str, Any] = {name: wrong}
    with pytest.raises(TypeError, match=f"expected {name} to be an integer, found {wrong!r}"):
        PostgresStore("postgresql://h/d", **options)


@pytest.mark.parametrize("name", ["timeout", "sweep_interval"])
def test_a_text_is_no_number(name: str) -> None:
    options: dict[str, Any] = {name: "5"}
    with pytest.raises(TypeError, match=f"expected {name} to be a number, found '5'"):
        PostgresStore("postgresql://h/d", **options)


LIBPQ = (
    "connect_timeout=10&channel_binding=prefer&keepalives=1&keepalives_idle=30&sslmode=prefer"
    "&options=-c%20statement_timeout%3D9999&gssencmode=disable&target_session_attrs=read-write"
    "&client_encoding=auto&load_balance_hosts=random&tcp_user_timeout=1000&sslcertmode=allow"
)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("", "swarmstate"),
        ("&fallback_application_name=tool", "tool"),
        ("&application_name=my%20app&fallback_application_name=tool", "my app"),
    ],
)
def test_parameters_of_libpq_mean_what_they_mean_there(
    postgres_server: PostgresServer, names: str, expected: str
) -> None:
    url = postgres_server.new_database()
    with PostgresStore(f"{url}?{LIBPQ}{names}") as store:
        store.set("n", "a", 1)
        found = postgres_server.execute(
            "SELECT application_name FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
            url=url,
        )
        assert found == [(expected,)]


def test_an_attempt_to_connect_takes_no_longer_than_the_url_says() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"postgresql://u@127.0.0.1:{port}/d?connect_timeout=1"
        with (
            PostgresStore(url, timeout=2.5) as store,
            pytest.raises(StoreUnavailableError, match="no connection within"),
        ):
            store.get("n", "a")
        # It was retried, and both attempts arrived.
        silent.settimeout(0)
        for _ in range(2):
            silent.accept()[0].close()
    assert Target.of("postgresql://u@h,i/d?connect_timeout=3").connect_timeout == 6
    assert Target.of("postgresql://u@h/d?connect_timeout=0").connect_timeout is None
    with pytest.raises(ValueError, match="connect_timeout"):
        Target.of("postgresql://u@h/d?connect_timeout=soon")


@pytest.mark.parametrize(
    "parameter", ["channel_binding=require", "gssencmode=require", "require_auth=scram-sha-256"]
)
def test_security_that_cannot_be_had_is_not_left_out(parameter: str) -> None:
    with pytest.raises(ValueError, match=f"{parameter}.*cannot be honored") as caught:
        PostgresStore(f"postgresql://u:hunter2@h/d?{parameter}")
    assert "hunter2" not in str(caught.value)
    assert ("sslmode=verify-full" in str(caught.value)) == ("channel" in parameter)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "POSTGRESQL"])
def test_a_url_opens_a_store_and_a_saver(postgres_server: PostgresServer, scheme: str) -> None:
    url = scheme + postgres_server.new_database().removeprefix("postgresql")
    with swarmstate.open(url) as store:
        assert isinstance(store, PostgresStore)
        assert isinstance(store, Alias)
        store.set("n", "a", 1)
    with SwarmStateSaver(url) as saver:
        assert saver.store.get("n", "a") == 1


def test_the_password_never_appears(
    postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    port = postgres_server.port
    right, wrong = quote(PASSWORD, safe=""), quote("hunter2 " + PASSWORD, safe="")
    urls = [
        f"postgresql://postgres:{wrong}@127.0.0.1:{port}/postgres",
        f"postgresql://postgres:{right}@127.0.0.1:{port}/nowhere",
        f"postgresql://nobody:{right}@127.0.0.1:{port}/postgres",
        f"postgresql://postgres:{right}@127.0.0.1:1/postgres",
        f"postgresql://postgres:{right}@name.invalid/postgres",
        f"postgresql://postgres:{right}@127.0.0.1:{port}/postgres?sslmode=require",
        f"postgresql://postgres:{right}@127.0.0.1:{port}/postgres?sslmode=nonsense",
    ]
    for url in urls:
        with PostgresStore(url, timeout=0.3) as store:
            with pytest.raises(StoreUnavailableError) as caught:
                store.get("n", "a")
            text = shown(caught.value, store)
            assert "127.0.0.1" in str(caught.value) or "name.invalid" in str(caught.value)
            for secret in (PASSWORD, right, wrong, "hunter2"):
                assert secret not in text
    assert PASSWORD not in caplog.text
    assert "hunter2" not in caplog.text
