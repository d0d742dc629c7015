"""Splits the URL of a store into options of the store and a URL for redis-py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

__all__ = ["StoreUrl", "each_host", "flag", "unreadable"]


class StoreUrl(NamedTuple):
    """The URL of a store in its two parts.

    Attributes:
        server: The URL without the options of the store.
        options: The options of the store, as arguments of `RedisStore`.
    """

    server: str
    options: dict[str, Any]

    @classmethod
    def parse(cls, url: str) -> StoreUrl:
        """Parse a URL.

        Raises:
            ValueError: It is not a Redis URL, or an option has a value of the wrong type.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            # The original message may show part of the password.
            raise unreadable() from None
        if not _ends_where_it_seems_to(parts):
            raise unreadable()
        options = {}
        rest = []
        for name, text in parse_qsl(parts.query, keep_blank_values=True):
            if name in _OPTIONS:
                option, kind = _OPTIONS[name]
                options[option] = _converted(name, text, kind)
            else:
                rest.append((name, text))
        return cls(urlunsplit(parts._replace(query=urlencode(rest))), options)


def each_host(url: str) -> list[str]:
    """Return one URL for each host that a URL names, in order.

    Raises:
        ValueError: One of several has no name.
    """
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return [url]
    names = hosts.split(",")
    if not all(names):
        raise unreadable()
    return [urlunsplit(parts._replace(netloc=f"{login}{at}{name}")) for name in names]


def unreadable() -> ValueError:
    """Return the exception for a URL that cannot be what its author meant."""
    return ValueError(
        "expected a URL such as redis://user:password@host:6379/0, with special characters in "
        "user and password percent-encoded (? is %3F, # is %23, / is %2F, @ is %40), and any @ "
        "elsewhere; this one cannot be parsed"
    )


def _ends_where_it_seems_to(parts: SplitResult) -> bool:
    """Return whether no part of a password was mistaken for something else.

    An unescaped character may end a password before its `@` and begin a path, a query or
    a fragment. Messages would then show the rest, and the host would be localhost.
    """
    if parts.fragment or "@" in parts.query:
        return False
    # A Unix socket may have any path.
    return parts.scheme == "unix" or parts.path in ("", "/") or parts.path[1:].isdecimal()


def flag(name: str, text: str) -> bool:
    """Return the value of a boolean option.

    Raises:
        ValueError: It is neither true nor false.
    """
    if text.lower() not in ("true", "false"):
        raise ValueError(
            f"expected option {name} of a redis:// URL to be true or false, found {text!r}"
        )
    return text.lower() == "true"


# For each URL option the argument that it sets, and its type; None means a boolean.
_OPTIONS: dict[str, tuple[str, Callable[[str], Any] | None]] = {
    "max_connections": ("max_connections", int),
    "prefix": ("prefix", str),
    "refresh_on_read": ("refresh_on_read", None),
    "retry_for": ("retry_for", float),
    "socket_timeout": ("timeout", float),
    "timeout": ("timeout", float),
    "ttl": ("ttl", float),
}


def _converted(name: str, text: str, kind: Callable[[str], Any] | None) -> Any:
    if kind is None:
        return flag(name, text)
    try:
        return kind(text)
    except ValueError:
        raise ValueError(
            f"expected option {name} of a redis:// URL to be a number, found {text!r}"
        ) from None
