"""What errors of redis-py and of the server mean, and which error a store raises for them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from redis import exceptions as redis_errors
from redis.asyncio.sentinel import MasterNotFoundError as AsyncMasterNotFoundError
from redis.sentinel import MasterNotFoundError
from swarmstate.errors import (
    StoreError,
    StoreFormatError,
    StoreIncompleteError,
    StoreReadOnlyError,
    StoreUnavailableError,
)

from swarmstate_redis.tls import TLSError

# What redis-py raises for whatever goes wrong on a connection.
FAILURES = (redis_errors.RedisError, redis_errors.RedisClusterException, OSError)

# An error of a command in a script comes wrapped, so codes are looked for anywhere.
_CODE = re.compile(r"(?:^|[-\s])([A-Z][A-Z]{2,})\b")

_LOST = (
    OSError,
    redis_errors.ConnectionError,
    # A cluster client found no node that serves a slot.
    redis_errors.RedisClusterException,
    # Only of the way to a server: links tell of late answers in another way.
    redis_errors.TimeoutError,
)

_NO_MASTER = (MasterNotFoundError, AsyncMasterNotFoundError)
# What kind of exception says why a sentinel could not be asked, as redis-py tells it after the
# settings of that one: with a category before its name, or arguments after it.
_UNASKED = re.compile(r"> - (?:\w+:)?(\w+)")

# The server did nothing and may do it in a moment.
_PASSING = {"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "TRYAGAIN"}

_UNAVAILABLE = {
    "BUSY": "a script of somebody else keeps it busy",
    "CLUSTERDOWN": "the cluster does not serve the slot: a node is down or being replaced",
    "LOADING": "it is reading its data after a start",
    "MASTERDOWN": "it is a replica that has lost its master",
    "MISCONF": "it refuses writes because it cannot write to its disk; see its log",
    "NOREPLICAS": "it refuses writes because too few replicas follow it (min-replicas-to-write)",
    "OOM": "its memory is full (maxmemory), so it takes no writes; deleting and reading still work",
    "TRYAGAIN": "the slot is being moved to another node of the cluster",
}


# Of these redis-py has a class, and takes the code off the message.
_CODES = {
    redis_errors.ClusterDownError: "CLUSTERDOWN",
    redis_errors.MasterDownError: "MASTERDOWN",
    redis_errors.OutOfMemoryError: "OOM",
    redis_errors.ReadOnlyError: "READONLY",
    redis_errors.TryAgainError: "TRYAGAIN",
}


class AnswerTimeoutError(Exception):
    """The server has what was sent, and did not answer in time.

    It may still do it, at any time; so it must not be sent again.
    """


def codes_of(error: BaseException) -> set[str]:
    """Return what may be the code of an error reply."""
    if not isinstance(error, redis_errors.ResponseError):
        return set()
    code = _CODES.get(type(error))
    return {code} if code is not None else set(_CODE.findall(str(error)))


def is_transient(error: Exception) -> bool:
    """Tell whether sending the same again may help."""
    if isinstance(error, (redis_errors.AuthenticationError, redis_errors.AuthorizationError)):
        return False
    if isinstance(error, TLSError) and error.seconds is None:
        return False
    if isinstance(error, _NO_MASTER) and _are_refused(error):
        return False
    return isinstance(error, _LOST) or bool(codes_of(error) & _PASSING)


def is_read_only(error: Exception) -> bool:
    """Tell whether it is a replica that should have written, as a master is after a failover."""
    return "READONLY" in codes_of(error)


def _are_refused(error: Exception) -> bool:
    """Tell whether no sentinel could be asked, since they want another user or password."""
    return set(_UNASKED.findall(str(error))) == {redis_errors.AuthenticationError.__name__}


def is_full(error: Exception) -> bool:
    """Tell whether a server takes no more clients (maxclients)."""
    return isinstance(error, redis_errors.ConnectionError) and "max number of clients" in str(error)


def waited_for(error: Exception) -> float:
    """Return the seconds that trying again has less, since they were spent on this failure."""
    return error.seconds or 0.0 if isinstance(error, TLSError) else 0.0


def store_error(error: Exception, server: str, namespaces: Sequence[str] = ()) -> StoreError:
    """Return the exception to raise for what a command came to.

    Args:
        error: What the client raised or returned.
        server: Where the server is, without any password.
        namespaces: What the command was about, as its script counts them.
    """
    text = str(error)
    head, _, rest = text.partition(" ")
    if head == "INCOMPLETE":
        number, records, entries = rest.split()
        return incomplete(namespaces[int(number) - 1], server, int(records), int(entries))
    if head == "UNKNOWN":
        return StoreUnavailableError(
            f"the connection to Redis at {server} broke during a write to namespace "
            f"{namespaces[int(rest) - 1]!r}, and so many others wrote to it since then, or so much "
            "time went by, that it cannot be told whether this one was applied; read it to find out"
        )
    if isinstance(error, AnswerTimeoutError):
        return StoreUnavailableError(f"Redis at {server} did not answer {text}")
    if isinstance(error, _NO_MASTER):
        return _no_master(error, server)
    codes = codes_of(error)
    if is_read_only(error):
        return StoreReadOnlyError(
            f"Redis at {server} is a replica, which can only be read; connect to its master"
        )
    if "WRONGTYPE" in codes:
        return StoreFormatError(
            f"Redis at {server} holds something else under a key of this store, in one of the "
            f"namespaces {', '.join(map(repr, namespaces))}; use another prefix or remove it"
        )
    for code, what in _UNAVAILABLE.items():
        if code in codes:
            return StoreUnavailableError(f"Redis at {server} is not available: {what} ({code})")
    if isinstance(error, (redis_errors.AuthenticationError, redis_errors.AuthorizationError)):
        return StoreUnavailableError(
            f"Redis at {server} refuses the connection: {text}; check user name and password"
        )
    if isinstance(error, redis_errors.NoPermissionError):
        return StoreUnavailableError(
            f"Redis at {server} does not permit it: {text}; docs/operations.md lists the commands "
            "that a store needs"
        )
    if is_transient(error) or isinstance(error, TLSError):
        return StoreUnavailableError(f"Redis at {server} cannot be reached: {text}")
    return StoreError(f"Redis at {server} answered with an unexpected error: {text}")


def _no_master(error: Exception, server: str) -> StoreError:
    if _are_refused(error):
        return StoreUnavailableError(
            f"Redis at {server} cannot be found: its sentinels refuse the connection; check user "
            "name and password in the sentinel_kwargs of redis-py's Sentinel"
        )
    kinds = ", ".join(dict.fromkeys(_UNASKED.findall(str(error))))
    return StoreUnavailableError(
        f"Redis at {server} cannot be found: no sentinel that answers knows a master of that name"
        + (f"; others did not answer ({kinds})" if kinds else "")
    )


def cause_of(error: Exception) -> Exception | None:
    """Return what may be shown as the cause of what `store_error` returns."""
    # Some releases of redis-py put the sentinels' passwords into the text.
    return None if isinstance(error, _NO_MASTER) else error


def incomplete(namespace: str, server: str, records: int, entries: int) -> StoreIncompleteError:
    """Return the exception for a namespace of which a part is missing."""
    return StoreIncompleteError(
        f"namespace {namespace!r} on Redis at {server} is incomplete: expected as many records as "
        f"keys in its index, found {records} records and {entries} keys. A part of it was evicted, "
        "expired on its own or was changed by hand. Clear it, and keep Redis from evicting parts "
        "(maxmemory-policy noeviction)"
    )


def lost_index(server: str, key: str) -> StoreIncompleteError:
    """Return the exception for an index of namespaces that is not the one it was."""
    return StoreIncompleteError(
        f"the index of namespaces on Redis at {server} was evicted or deleted, so they cannot be "
        f"listed; each by itself is whole. docs/operations.md says how to make {key!r} anew. Keep "
        "Redis from evicting it (maxmemory-policy noeviction)"
    )
