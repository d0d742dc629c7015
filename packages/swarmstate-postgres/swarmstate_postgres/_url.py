"""Parses the URL of a server, and names the server without its password."""

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

# URL parameters for the store rather than the connection, and their types.
_STORE_OPTIONS: dict[str, Callable[[str], str | int | float]] = {
    "schema": str,
    "prefix": str,
    "max_size": int,
    "statement_cache_size": int,
    "timeout": float,
}

# Parameters of libpq that the driver does not support and that are safe to ignore: keepalives,
# the order of equal hosts, and what the driver always does in its own way.
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
# Parameters that ask for security, with their values that ask for none.
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
        "; remove it from the URL and set sslmode=verify-full and sslrootcert=FILE, with the "
        "certificates to trust, so that no other server can impersonate this one"
    )
}


class Target(NamedTuple):
    """A server and a database on it.

    Attributes:
        dsn: The URL without its password and without options of the store.
        password: The password; None to find it by libpq's rules.
        options: The options of the store.
        name: The server's name in messages.
        files: Parameters that name files, and their values.
        application_name: The client's name at the server; None if the URL does not have it.
        connect_timeout: Seconds that connecting may take, over all hosts, or None.
        has_user: Whether the URL names the user, or a service that may.
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
        """Parse a URL.

        No message shows any part of it: in a malformed URL, any part may belong to
        the password.

        Raises:
            ValueError: It is not a PostgreSQL URL, or asks for security that is not supported.
        """
        parsed = _parsed(url)
        if parsed is None:
            raise ValueError(
                "expected a URL such as "
                "postgresql://user:password@host:5432/database?name=value, found something else; "
                "characters such as @ : / ? # % in a password must be percent-encoded "
                "(urllib.parse.quote(password, safe=''))"
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
        # Per host, as in libpq.
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
        """Check that the user is known; the default is the user that runs this process.

        Raises:
            ClientConfigurationError: The latter has no name, as in some containers.
        """
        if self.has_user or os.environ.get("PGUSER") or os.environ.get("PGSERVICE"):
            return
        try:
            getpass.getuser()
        except (KeyError, OSError):
            raise ClientConfigurationError(
                "neither the URL nor PGUSER names a user, and the user that this process runs as "
                "has no name: write postgresql://user@host/database"
            ) from None

    def check_files(self) -> None:
        """Check that the files that the URL names can be read.

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
    """Return the parts of a URL and its parameters; None if it is not a PostgreSQL URL."""
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        return None
    # With several hosts, each may have a port.
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
            f"{name}={value} in a postgresql:// URL cannot be honored: the driver, asyncpg, does "
            "not support it, and without it the connection would be less secure than "
            f"requested{_INSTEAD.get(name, '')}"
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
