"""Open a store by its URL.

A distribution registers its store with an entry point in the group
`swarmstate.stores`. Its name is the URL scheme. Its object is called with the URL
and the options, and returns the store.
"""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from swarmstate.errors import UnknownSchemeError

if TYPE_CHECKING:
    from swarmstate.base import BaseStore

__all__ = ["open"]

GROUP = "swarmstate.stores"

# Schemes of distributions that may not be installed.
DISTRIBUTIONS = {
    "postgres": "swarmstate-postgres",
    "postgresql": "swarmstate-postgres",
    "redis": "swarmstate-redis",
    "rediss": "swarmstate-redis",
}

# What to use instead of other schemes that people try.
_FILE = "for a file, use disk:///absolute/path or disk://relative/path; "
_POSTGRES = "use postgresql:// (pip install swarmstate-postgres); "
_REDIS = "use redis:// or, with TLS, rediss:// (pip install swarmstate-redis); "
HINTS = {
    "file": _FILE,
    "sqlite": _FILE,
    "sqlite3": _FILE,
    "pgsql": _POSTGRES,
    "postgress": _POSTGRES,
    "valkey": _REDIS,
    "valkeys": _REDIS,
}

# A scheme as defined by RFC 3986.
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def open(url: str, **options: Any) -> BaseStore:
    """Open the store that `url` names.

    `memory://` opens a new store in memory; `disk:///absolute/path` and
    `disk://relative/path` open files; installed distributions add `redis://`,
    `rediss://`, `postgresql://` and others.

    Args:
        url: The URL.
        options: Passed to the store, such as `allow=`.

    Raises:
        UnknownSchemeError: No installed store handles such URLs; the message
            says what to install.
        TypeError: `url` is not a str, or the store has no such option.
        ValueError: The store does not understand the URL or an option.
        StoreUnavailableError: A file cannot be opened. Stores on servers connect
            on first use.
    """
    if not isinstance(url, str):
        raise TypeError(f"url must be str, not {type(url).__name__}")
    # No message shows the URL: it may hold a password.
    match = SCHEME.match(url)
    if match is None:
        raise UnknownSchemeError(
            "expected a URL that begins with a scheme, such as 'memory://' or "
            "'disk:///path/to/file', found none; for the file agents.db, use "
            "'disk://agents.db' or DiskStore('agents.db')"
        )
    scheme = match[1].lower()
    for entry_point in entry_points(group=GROUP, name=scheme):
        store: BaseStore = entry_point.load()(url, **options)
        return store
    if scheme in DISTRIBUTIONS:
        raise UnknownSchemeError(
            f"{scheme}:// URLs require another package; run: pip install {DISTRIBUTIONS[scheme]}"
        )
    known = ", ".join(sorted({f"{each.name}://" for each in entry_points(group=GROUP)}))
    raise UnknownSchemeError(
        f"no installed store opens {scheme}:// URLs; {_hint(scheme)}installed: {known}"
    )


def _hint(scheme: str) -> str:
    """Return what to use instead of `scheme`, as part of a sentence, or ""."""
    base, driver, _ = scheme.partition("+")  # as SQLAlchemy names drivers
    if driver and base in DISTRIBUTIONS:
        return _REDIS if base.startswith("redis") else _POSTGRES
    return HINTS.get(base, "")
