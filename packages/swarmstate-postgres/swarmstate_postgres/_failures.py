"""Classifies errors of the driver and the server, and converts them to the store's errors."""

from __future__ import annotations

import asyncio
import ssl

import asyncpg
from swarmstate.errors import (
    InvalidNameError,
    StoreFormatError,
    StoreReadOnlyError,
    StoreUnavailableError,
    SwarmStateError,
)

__all__ = [
    "OUTCOME_FORGOTTEN",
    "SetupRequiredError",
    "is_full",
    "is_passing",
    "is_rolled_back",
    "store_error",
]

OUTCOME_FORGOTTEN = "SW001"
"""The SQLSTATE with which the write function gives up on a retried write."""

# SQLSTATE classes and codes after which a retry may succeed: connections lost or refused,
# serialization failures, deadlocks, a server that is starting, stopping or out of slots.
_PASSING_CLASSES = ("08",)
_ROLLED_BACK = {"40001", "40P01"}
_PASSING = _ROLLED_BACK | {"53300", "57P01", "57P02", "57P03", "57P05"}

# A wrong password or certificate, or a role that is not allowed to connect.
_REFUSED_CLASS = "28"
_NO_DATABASE = "3D000"
# The driver's message for a server without TLS, in the error type of a broken connection.
_NO_TLS = "rejected SSL upgrade"

_PREPARED = {"26000", "42P05", "0A000"}


class SetupRequiredError(StoreUnavailableError):
    """The tables are missing or of an older release, and this role cannot create them.

    Attributes:
        sql: The SQL to run with a role that may; the message includes it.
    """

    def __init__(self, message: str, sql: str) -> None:
        """Keep the SQL and append it to the message."""
        super().__init__(f"{message}\n\n{sql}")
        self.sql = sql


def is_full(error: BaseException) -> bool:
    """Return whether the server, or a limit of the role or database, allows no more connections."""
    return isinstance(error, asyncpg.TooManyConnectionsError)


def is_passing(error: BaseException) -> bool:
    """Return whether to reconnect and try again."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state in _PASSING or state.startswith(_PASSING_CLASSES)
    if isinstance(error, asyncpg.ClientConfigurationError) or _lacks_tls(error):
        return False
    if isinstance(error, ssl.SSLError):
        # Problems with certificates, the server's or our files, do not go away.
        return error.library == "SSL" and not isinstance(error, ssl.SSLCertVerificationError)
    return isinstance(error, (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError))


def is_rolled_back(error: BaseException) -> bool:
    """Return whether the server reported rolling back a transaction in favor of others."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in _ROLLED_BACK


def store_error(
    error: Exception, name: str, *, waited: float | None = None
) -> SwarmStateError | None:
    """Return the error to raise instead, or None if `error` is a bug of this package.

    Args:
        error: The error that the driver raised.
        name: The server's name in the message.
        waited: Seconds spent on retries, if the error kept occurring.
    """
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return StoreUnavailableError(
            f"PostgreSQL at {name} did not answer in time; the request may or may not have been "
            "carried out"
        )
    if isinstance(error, asyncpg.PostgresError):
        return _of_server(error, name, waited)
    if _lacks_tls(error):
        return StoreUnavailableError(
            f"PostgreSQL at {name} does not offer TLS, which sslmode requires: enable it on the "
            "server, or set sslmode=disable if anyone on the network may read the traffic"
        )
    if isinstance(error, ssl.SSLError) and not is_passing(error):
        return StoreUnavailableError(
            f"no TLS with PostgreSQL at {name}: {_words(error)}; sslrootcert must name a file of "
            "certificates to trust, sslcert and sslkey the client's own files if it needs any"
        )
    if is_passing(error) or isinstance(error, asyncpg.ClientConfigurationError):
        return StoreUnavailableError(f"{_cannot(name, waited)}: {_words(error)}")
    return None


def _of_server(error: asyncpg.PostgresError, name: str, waited: float | None) -> SwarmStateError:
    state = error.sqlstate or ""
    said = f"{_words(error)} (SQLSTATE {state})"
    if state == OUTCOME_FORGOTTEN:
        return StoreUnavailableError(
            f"the connection to PostgreSQL at {name} was lost during a write, and after so much "
            "time, or so many later writes to its namespace, it is unknown whether it was "
            "applied: read again before you repeat it"
        )
    if state == "25006":
        return StoreReadOnlyError(
            f"PostgreSQL at {name} is read-only: {said}; connect to the primary server or, if "
            "this is it, find out what set default_transaction_read_only"
        )
    if state == "54000":
        return InvalidNameError(
            f"a record does not fit in the index, so nothing was stored: {said}; a namespace and "
            "a key together can total about 2,600 bytes of UTF-8"
        )
    if state in _PREPARED:
        return StoreUnavailableError(
            f"PostgreSQL at {name} lost a prepared statement: {said}; behind PgBouncer in "
            "transaction mode, open the store with statement_cache_size=0"
        )
    if state.startswith(_REFUSED_CLASS):
        return StoreUnavailableError(
            f"PostgreSQL at {name} rejected the login: {said}; check the user and the password in "
            "the URL or the environment"
        )
    if state == _NO_DATABASE:
        return StoreUnavailableError(
            f"PostgreSQL at {name} has no such database: {said}; create it, or correct the URL"
        )
    if state.startswith("53"):
        return StoreUnavailableError(
            f"PostgreSQL at {name} is out of resources: {said}; none of this was stored"
        )
    if state == "42501":
        return StoreUnavailableError(
            f"the role lacks permission at {name}: {said}; "
            "swarmstate_postgres.setup_sql(role=...) lists what to grant"
        )
    if state in {"42P01", "42883", "3F000"}:
        return StoreFormatError(
            f"the database at {name} no longer has what the store needs: {said}; call its "
            "setup(), or reopen the store"
        )
    return StoreUnavailableError(f"{_cannot(name, waited)}: {said}")


def _lacks_tls(error: BaseException) -> bool:
    return isinstance(error, ConnectionError) and _NO_TLS in str(error)


def _cannot(name: str, waited: float | None) -> str:
    if waited is None:
        return f"PostgreSQL at {name} cannot do this"
    return f"PostgreSQL at {name} cannot be reached (tried for {waited:.1f} s)"


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
