"""Taking apart the URL of a server, and naming the server without its password."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from asyncpg import ClientConfigurationError

__all__ = ["Target"]

T = TypeVar("T")

# What a URL may say about the store rather than about the connection, and its type.
_STORE_OPTIONS: dict[str, Callable[[str], str | int | float]] = {
    "schema": str,
    "prefix": str,
    "max_size": int,
    "statement_cache_size": int,
    "timeout": float,
}

# Parameters of libpq that the driver does not know and whose lack harms nobody: how sockets are
# kept alive, which of equal hosts comes first, what the driver always does in its own way.
_DROPPED = {
    "client_encoding",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "max_protocol_version",
    "sslcompression",
    "tcp_user_timeout",
}
# Those that ask for security, with the values that ask for none.
_SECURITY = {
    "channel_binding": {"disable", "prefer"},
    "gssencmode": {"disable", "prefer"},
    "require_auth": {""},
    "requirepeer": {""},
    "sslcertmode": {"allow"},
    "sslcrldir": {""},
}
_FILES = {"sslcert", "sslcrl", "sslkey", "sslrootcert"}
_INSTEAD = {
    "channel_binding": (
        "; take it out of the URL and say sslmode=verify-full and sslrootcert=FILE, with the "
        "certificates to trust, so that no other server is taken for this one"
    )
}


class Target(NamedTuple):
    """A server and a database on it.

    Attributes:
        dsn: The URL without its password and without what is for the store.
        password: The password; None leaves it to what libpq's rules find.
        options: What the URL says about the store.
        name: What messages call it.
        files: Parameters that name files, and these.
        application_name: What the server is to call its clients; None if the URL does not say.
        connect_timeout: Seconds that an attempt to connect, to all hosts, may take, or None.
        has_user: Whether the URL says who connects, or where that is said.
    """

    dsn: str
    password: str | None
    options: dict[str, Any]
    name: str
    files: tuple[tuple[str, str], ...] = ()
    application_name: str | None = None
    connect_timeout: float | None = None
    has_user: bool = True

    def __repr__(self) -> str:
        """Return the class and the name."""
        return f"{type(self).__name__}({self.name!r})"

    @classmethod
    def of(cls, url: str) -> Target:
        """Take a URL apart.

        No message shows any of it: what is wrong with it may have put a part of
        the password into another place.

        Raises:
            ValueError: It is no URL of PostgreSQL, or asks for security that cannot be had.
        """
        parsed = _parsed(url)
        if parsed is None:
            raise ValueError(
                "expected a URL such as postgresql://user:password@host:5432/database?name=value, "
                "found something else; characters of a password such as @ : / ? # % must be "
                "percent-encoded (urllib.parse.quote(password, safe=''))"
            )
        parts, query = parsed
        login, _, hosts = parts.netloc.rpartition("@")
        user, has_password, password = login.partition(":")
        options = {}
        passed_on = []
        translated: dict[str, str] = {}
        for name, value in query:
            if name in _STORE_OPTIONS:
                options[name] = _converted(name, value)
            elif name == "password":
                has_password, password = "=", quote(value, safe="")
            elif name in {"application_name", "fallback_application_name", "connect_timeout"}:
                translated[name] = value
            elif name in _SECURITY:
                _check_security(name, value)
            elif name not in _DROPPED:
                passed_on.append((name, value))
        netloc = f"{user}@{hosts}" if user else hosts
        dsn = f"postgresql://{netloc}{parts.path}"
        if passed_on:
            dsn += f"?{urlencode(passed_on)}"
        hosts = hosts or dict(passed_on).get("host", "the default host")
        application = translated.get("application_name", "")
        application = application or translated.get("fallback_application_name", "")
        # For each host, as libpq has it.
        seconds = _number("connect_timeout", translated.get("connect_timeout") or "0", int)
        limit = seconds * len(hosts.split(",")) if seconds > 0 else None
        return cls(
            dsn=dsn,
            password=unquote(password) if has_password else None,
            options=options,
            name=f"{hosts}/{unquote(parts.path[1:])}",
            files=tuple((name, value) for name, value in passed_on if name in _FILES),
            application_name=application or None,
            connect_timeout=limit,
            has_user=bool(user)
            or not {"user", "service"}.isdisjoint(name for name, _ in passed_on),
        )

    def check_user(self) -> None:
        """Check that it is known who connects, who is the user of this process by default.

        Raises:
            ClientConfigurationError: That one has no name, as in some containers.
        """
        if self.has_user or os.environ.get("PGUSER") or os.environ.get("PGSERVICE"):
            return
        try:
            getpass.getuser()
        except (KeyError, OSError):
            raise ClientConfigurationError(
                "neither the URL nor PGUSER says which user connects, and the user that this "
                "process runs as has no name: write postgresql://user@host/database"
            ) from None

    def check_files(self) -> None:
        """Check that the files can be read which the URL names.

        Raises:
            ClientConfigurationError: One cannot; the message does not show its name.
        """
        for name, path in self.files:
            try:
                Path(path).expanduser().open("rb").close()
            except OSError as error:
                raise ClientConfigurationError(
                    f"the file that {name} names cannot be read: {error.strerror}"
                ) from None


def _parsed(url: str) -> tuple[SplitResult, list[tuple[str, str]]] | None:
    """Return the parts of a URL and its parameters; None if it is no URL of PostgreSQL."""
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        return None
    # Each host of several may have a port.
    hosts = parts.netloc.rpartition("@")[2].split(",")
    ports = [host.rpartition("]")[2].partition(":")[2] for host in hosts]
    is_one = (
        parts.scheme in {"postgresql", "postgres"}
        and all(port.isdigit() or not port for port in ports)
        and all(name.isidentifier() for name, _ in query)
        and not parts.fragment
        and "@" not in parts.path
        and "/" not in parts.path[1:]
    )
    return (parts, query) if is_one else None


def _check_security(name: str, value: str) -> None:
    if value not in _SECURITY[name]:
        raise ValueError(
            f"{name}={value} of a postgresql:// URL cannot be honoured: the driver, asyncpg, does "
            f"not support it, and without it the connection would be less secure than asked for"
            f"{_INSTEAD.get(name, '')}"
        )


def _converted(name: str, value: str) -> str | int | float:
    return _number(name, value, _STORE_OPTIONS[name])


def _number(name: str, value: str, kind: Callable[[str], T]) -> T:
    try:
        return kind(value)
    except ValueError:
        raise ValueError(
            f"expected {name} of a postgresql:// URL to be a number, found {value!r}"
        ) from None
