"""PgBouncer in transaction mode in front of a test server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers.lifetime import new_folder
from tests.servers.ports import free_port
from tests.servers.postgres import PASSWORD, PostgresServer, account_of_servers, as_account

_SECONDS = 30.0


def installed() -> str | None:
    """Return the path of PgBouncer, or None if it is not installed."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def running_pgbouncer(server: PostgresServer, url: str) -> Iterator[str]:
    """Run PgBouncer in front of a database and return the URL through it.

    Few server connections are shared, and each goes to another client after every
    transaction, so that code that relies on a session fails.
    """
    binary = installed()
    assert binary is not None
    database = urlsplit(url).path[1:]
    port = free_port()
    with new_folder("pgbouncer") as folder:
        users, config, log = folder / "users.txt", folder / "pgbouncer.ini", folder / "log"
        users.write_text('"postgres" "{}"\n'.format(PASSWORD.replace('"', '""')), encoding="utf-8")
        config.write_text(
            "[databases]\n"
            f"{database} = host=127.0.0.1 port={server.port} dbname={database}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {users}\n"
            "pool_mode = transaction\ndefault_pool_size = 3\nserver_round_robin = 1\n"
            "max_client_conn = 300\n",
            encoding="utf-8",
        )
        account = account_of_servers()
        if account is not None:
            for path in (folder, users, config):
                os.chown(path, account.pw_uid, account.pw_gid)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [binary, str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **as_account(),
            )
        try:
            _wait_for(port, process, log)
            yield url.replace(f":{server.port}/", f":{port}/")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(_SECONDS)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.01)
        else:
            return
    raise RuntimeError(f"PgBouncer does not start, its log says:\n{log.read_text()}")
