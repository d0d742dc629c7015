"""Classifies errors of redis-py and the server, and converts them to the store's errors."""

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

# All that redis-py raises if something goes wrong on a connection.
FAILURES = (redis_errors.RedisError, redis_errors.RedisClusterException, OSError)

# Errors of commands in a script are wrapped, so a code may be anywhere in the message.
_CODE = re.compile(r"(?:^|[-\s])([A-Z][A-Z]{2,})\b")

_LOST = (
    OSError,
    redis_errors.ConnectionError,
    # A cluster client found no node that serves a slot.
    redis_errors.RedisClusterException,
    # Only while connecting: links raise `AnswerTimeoutError` for late answers.
    redis_errors.TimeoutError,
)

_NO_MASTER = (MasterNotFoundError, AsyncMasterNotFoundError)
# Finds the exceptions for sentinels that could not be asked. redis-py's message names each after
# the sentinel's settings, with a category before the name, or arguments after it.
_UNASKED = re.compile(r"> - (?:\w+:)?(\w+)")

# The server did nothing, but may do it in a moment.
_PASSING = {"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "TRYAGAIN"}

_UNAVAILABLE = {
    "BUSY": "another client's script keeps it busy",
    "CLUSTERDOWN": "the cluster does not serve the slot: a node is down or being replaced",
    "LOADING": "it is loading its data after startup",
    "MASTERDOWN": "it is a replica that has lost its master",
    "MISCONF": "it refuses writes because it cannot write to its disk; see its log",
    "NOREPLICAS": "it refuses writes because too few replicas follow it (min-replicas-to-write)",
    "OOM": "its memory is full (maxmemory), so it rejects writes; reads and deletes still work",
    "TRYAGAIN": "the slot is being moved to another node of the cluster",
}


# redis-py has classes for these errors, and removes the code from the message.
_CODES = {
    redis_errors.ClusterDownError: "CLUSTERDOWN",
    redis_errors.MasterDownError: "MASTERDOWN",
    redis_errors.OutOfMemoryError: "OOM",
    redis_errors.ReadOnlyError: "READONLY",
    redis_errors.TryAgainError: "TRYAGAIN",
}


class AnswerTimeoutError(Exception):
    """The server has the commands, but did not answer in time.

    It may still execute them at any time, so they must not be retried.
    """


def codes_of(error: BaseException) -> set[str]:
    """Return the possible codes of an error reply."""
    if not isinstance(error, redis_errors.ResponseError):
        return set()
    code = _CODES.get(type(error))
    return {code} if code is not None else set(_CODE.findall(str(error)))


def is_transient(error: Exception) -> bool:
    """Return whether a retry may help."""
    if isinstance(error, (redis_errors.AuthenticationError, redis_errors.AuthorizationError)):
        return False
    if isinstance(error, TLSError) and error.seconds is None:
        return False
    if isinstance(error, _NO_MASTER) and _are_refused(error):
        return False
    return isinstance(error, _LOST) or bool(codes_of(error) & _PASSING)


def is_read_only(error: Exception) -> bool:
    """Return whether a replica refused a write, as a former master does after a failover."""
    return "READONLY" in codes_of(error)


def _are_refused(error: Exception) -> bool:
    """Return whether all sentinels refused the user or password."""
    return set(_UNASKED.findall(str(error))) == {redis_errors.AuthenticationError.__name__}


def is_full(error: Exception) -> bool:
    """Return whether a server accepts no more clients (maxclients)."""
    return isinstance(error, redis_errors.ConnectionError) and "max number of clients" in str(error)


def waited_for(error: Exception) -> float:
    """Return the seconds spent on a failure, by which the time for retries is shorter."""
    return error.seconds or 0.0 if isinstance(error, TLSError) else 0.0


def store_error(error: Exception, server: str, namespaces: Sequence[str] = ()) -> StoreError:
    """Return the exception to raise for a failed command.

    Args:
        error: The error that the client raised or returned.
        server: The server's address, without any password.
        namespaces: The namespaces of the command, in the order of its script.
    """
    text = str(error)
    head, _, rest = text.partition(" ")
    if head == "INCOMPLETE":
        number, records, entries = rest.split()
        return incomplete(namespaces[int(number) - 1], server, int(records), int(entries))
    if head == "UNKNOWN":
        return StoreUnavailableError(
            f"the connection to Redis at {server} was lost during a write to namespace "
            f"{namespaces[int(rest) - 1]!r}, and after so many later writes, or so much time, it "
            "is unknown whether this one was applied; read the namespace to find out"
        )
    if isinstance(error, AnswerTimeoutError):
        return StoreUnavailableError(f"Redis at {server} did not answer {text}")
    if isinstance(error, _NO_MASTER):
        return _no_master(error, server)
    codes = codes_of(error)
    if is_read_only(error):
        return StoreReadOnlyError(
            f"Redis at {server} is a read-only replica; connect to its master"
        )
    if "WRONGTYPE" in codes:
        return StoreFormatError(
            f"Redis at {server} holds foreign data under a key of this store, in one of the "
            f"namespaces {', '.join(map(repr, namespaces))}; use another prefix or remove it"
        )
    for code, what in _UNAVAILABLE.items():
        if code in codes:
            return StoreUnavailableError(f"Redis at {server} is unavailable: {what} ({code})")
    if isinstance(error, (redis_errors.AuthenticationError, redis_errors.AuthorizationError)):
        return StoreUnavailableError(
            f"Redis at {server} refuses the connection: {text}; check username and password"
        )
    if isinstance(error, redis_errors.NoPermissionError):
        return StoreUnavailableError(
            f"Redis at {server} denied a command: {text}; docs/operations.md lists the commands "
            "that a store needs"
        )
    if is_transient(error) or isinstance(error, TLSError):
        return StoreUnavailableError(f"Redis at {server} cannot be reached: {text}")
    return StoreError(f"Redis at {server} answered with an unexpected error: {text}")


def _no_master(error: Exception, server: str) -> StoreError:
    if _are_refused(error):
        return StoreUnavailableError(
            f"Redis at {server} cannot be found: its sentinels refuse the connection; check "
            "username and password in the sentinel_kwargs of redis-py's Sentinel"
        )
    kinds = ", ".join(dict.fromkeys(_UNASKED.findall(str(error))))
    return StoreUnavailableError(
        f"Redis at {server} cannot be found: no sentinel that answered knows a master by that name"
        + (f"; others did not answer ({kinds})" if kinds else "")
    )


def cause_of(error: Exception) -> Exception | None:
    """Return the error to show as the cause of what `store_error` returns, if it may be shown."""
    # Some releases of redis-py put the sentinels' passwords into the text.
    return None if isinstance(error, _NO_MASTER) else error


def incomplete(namespace: str, server: str, records: int, entries: int) -> StoreIncompleteError:
    """Return the exception for a namespace with a part missing."""
    return StoreIncompleteError(
        f"namespace {namespace!r} on Redis at {server} is incomplete: expected as many records as "
        f"keys in its index, found {records} and {entries}. Part of it was evicted, expired on its "
        "own or was changed by hand. Clear it, and keep Redis from evicting parts "
        "(maxmemory-policy noeviction)"
    )


def lost_index(server: str, key: str) -> StoreIncompleteError:
    """Return the exception for an index of namespaces that was lost."""
    return StoreIncompleteError(
        f"the index of namespaces on Redis at {server} was evicted or deleted, so they cannot be "
        f"listed; each one is intact. docs/operations.md says how to rebuild {key!r}. Keep Redis "
        "from evicting it (maxmemory-policy noeviction)"
    )
