"""Reachable servers that will never let us in: an immediate error that says why."""

from __future__ import annotations

import asyncio
import getpass
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from swarmstate.errors import StoreUnavailableError
from swarmstate_postgres import PostgresStore

from tests.servers.postgres import PASSWORD, PostgresServer
from tests.servers.tls import make_certificate

# Retrying for this long would exceed any test's time limit.
FOR_EVER = 100_000.0


def refusal(url: str) -> str:
    """Return the error message for a server, the same for sync and async methods."""

    async def ask() -> str:
        async with PostgresStore(url, timeout=FOR_EVER) as store:
            with pytest.raises(StoreUnavailableError) as caught:
                await store.aget("n", "a")
            return str(caught.value)

    with (
        PostgresStore(url, timeout=FOR_EVER) as store,
        pytest.raises(StoreUnavailableError) as caught,
    ):
        store.get("n", "a")
    assert asyncio.run(ask()) == str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("mode", ["require", "verify-full"])
def test_a_server_without_tls(postgres_server: PostgresServer, tmp_path: Path, mode: str) -> None:
    certificate, _ = make_certificate(tmp_path)
    url = f"{postgres_server.url()}?sslmode={mode}&sslrootcert={quote(str(certificate), '')}"
    assert "does not offer TLS, which sslmode requires" in refusal(url)


def test_a_server_whose_certificate_nobody_vouches_for(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    trusted, _ = make_certificate(tmp_path)
    with offering_tls(*make_certificate(tmp_path / "server")) as port:
        url = f"postgresql://ada:{quote(PASSWORD, '')}@127.0.0.1:{port}/agents"
        said = refusal(f"{url}?sslmode=verify-full&sslrootcert={quote(str(trusted), '')}")
    assert "certificate verify failed" in said
    assert "sslrootcert must name" in said


def test_files_of_certificates_that_are_none(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    url = f"{postgres_server.url()}?sslmode=verify-full&sslrootcert="
    assert "sslrootcert must name" in refusal(url + quote(str(text), ""))
    said = refusal(url + quote(str(tmp_path / "missing.pem"), ""))
    assert "the file that sslrootcert names cannot be read: No such file" in said


def test_a_wrong_password_user_or_database(postgres_server: PostgresServer) -> None:
    for url in (postgres_server.url(password="wrong"), postgres_server.url(user="nobody")):
        said = refusal(url)
        assert "rejected the login: password authentication failed" in said
        assert "check the user and the password" in said
    assert "has no such database" in refusal(postgres_server.url("nowhere"))


@contextmanager
def offering_tls(certificate: Path, key: Path) -> Iterator[int]:
    """Agree to TLS on a port like PostgreSQL, present a certificate, then send nothing more."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, suppress(OSError):
                        connection.recv(8)
                        connection.sendall(b"S")
                        context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 1234"), OSError("none")])
def test_a_user_without_a_name(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def nobody() -> str:
        raise error

    # As in a container that runs under an arbitrary user id; Python 3.13 raises the latter.
    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.delenv("PGUSER", raising=False)
    url = f"postgresql://127.0.0.1:{postgres_server.port}/postgres"
    assert "names a user" in refusal(url)
    password = quote(PASSWORD, "")
    for said in (
        f"postgresql://postgres:{password}@127.0.0.1:{postgres_server.port}/postgres",
        f"{url}?user=postgres&password={password}",
    ):
        with PostgresStore(said) as store:
            assert store.get("n", "a") is None
    monkeypatch.setenv("PGUSER", "postgres")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with PostgresStore(url) as store:
        assert store.get("n", "a") is None
