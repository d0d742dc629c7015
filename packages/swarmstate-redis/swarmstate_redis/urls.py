"""URLs of stores: options of the store, and the rest, which is for redis-py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

__all__ = ["StoreUrl", "each_host", "flag", "unreadable"]


class StoreUrl(NamedTuple):
    """The URL of a store in its two parts.

    Attributes:
        server: The URL without the options of the store.
        options: These: arguments of `RedisStore`.
    """

    server: str
    options: dict[str, Any]

    @classmethod
    def parse(cls, url: str) -> StoreUrl:
        """Take a URL apart.

        Raises:
            ValueError: It is no URL of Redis, or a value is not of its option's kind.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            # The original message may show a part of the password.
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
    """Return a URL of each host that a URL names, in their order.

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
    """Return the exception for a URL that does not say what its author meant."""
    return ValueError(
        "expected a URL such as redis://user:password@host:6379/0, with special characters of "
        "user and password percent-encoded (? is %3F, # is %23, / is %2F, @ is %40), and @ also "
        "elsewhere; this one cannot be read"
    )


def _ends_where_it_seems_to(parts: SplitResult) -> bool:
    """Tell whether no part of a password can have been taken for something else.

    What ends a password before its `@` begins a path, a query or a fragment: the rest of
    it would be shown in messages, and the host would be localhost.
    """
    if parts.fragment or "@" in parts.query:
        return False
    # The path of a Unix socket may be any.
    return parts.scheme == "unix" or parts.path in ("", "/") or parts.path[1:].isdecimal()


def flag(name: str, text: str) -> bool:
    """Return an option that is true or false.

    Raises:
        ValueError: It is neither.
    """
    if text.lower() not in ("true", "false"):
        raise ValueError(
            f"expected the option {name} of a redis:// URL to be true or false: {text!r}"
        )
    return text.lower() == "true"


# The argument that an option of a URL stands for, and its kind; None is true or false.
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
            f"expected the option {name} of a redis:// URL to be a number: {text!r}"
        ) from None
