"""Where a server is, and how to say so without its password."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

__all__ = ["Target"]

# What a URL may say about the store rather than about the connection, and its type.
_STORE_OPTIONS: dict[str, type[str] | type[int] | type[float]] = {
    "schema": str,
    "prefix": str,
    "max_size": int,
    "statement_cache_size": int,
    "timeout": float,
}


class Target(NamedTuple):
    """A server and a database on it.

    Attributes:
        dsn: The URL without its password and without what is for the store.
        password: The password; None leaves it to what libpq's rules find.
        options: What the URL says about the store.
        name: What messages call it.
    """

    dsn: str
    password: str | None
    options: dict[str, Any]
    name: str

    def __repr__(self) -> str:
        """Return the class and the name."""
        return f"{type(self).__name__}({self.name!r})"

    @classmethod
    def of(cls, url: str) -> Target:
        """Take a URL apart.

        No message shows any of it: what is wrong with it may have put a part of
        the password into another place.

        Raises:
            ValueError: It is no URL of PostgreSQL.
        """
        try:
            parts = urlsplit(url)
            # Each host of several may have a port.
            hosts = parts.netloc.rpartition("@")[2]
            ports = [host.rpartition("]")[2].partition(":")[2] for host in hosts.split(",")]
            query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
            database = unquote(parts.path[1:])
            known = all(name.isidentifier() for name, _ in query)
            well_formed = (
                parts.scheme in {"postgresql", "postgres"}
                and all(port.isdigit() or not port for port in ports)
                and known
                and not parts.fragment
                and "@" not in parts.path
                and "/" not in parts.path[1:]
            )
        except ValueError:
            well_formed = False
        if not well_formed:
            raise ValueError(
                "expected a URL such as postgresql://user:password@host:5432/database?name=value, "
                "found something else; characters of a password such as @ : / ? # % must be "
                "percent-encoded (urllib.parse.quote(password, safe=''))"
            )
        login = parts.netloc.rpartition("@")[0]
        user, has_password, password = login.partition(":")
        options = {}
        passed_on = []
        for name, value in query:
            if name in _STORE_OPTIONS:
                options[name] = _converted(name, value)
            elif name == "password":
                has_password, password = "=", quote(value, safe="")
            else:
                passed_on.append((name, value))
        netloc = f"{user}@{hosts}" if user else hosts
        dsn = f"postgresql://{netloc}{parts.path}"
        if passed_on:
            dsn += f"?{urlencode(passed_on)}"
        hosts = hosts or dict(passed_on).get("host", "the default host")
        return cls(dsn, unquote(password) if has_password else None, options, f"{hosts}/{database}")


def _converted(name: str, value: str) -> str | int | float:
    kind = _STORE_OPTIONS[name]
    try:
        return kind(value)
    except ValueError:
        raise ValueError(
            f"expected {name} of a postgresql:// URL to be a number, found {value!r}"
        ) from None
