"""Errors of connections that failed because of TLS."""

from __future__ import annotations

import ssl

from redis import exceptions as redis_errors


class TLSError(redis_errors.ConnectionError):
    """TLS is required, but the connection cannot use it.

    Args:
        text: The reason.
        seconds: How long the attempt waited for the server; None if a retry cannot help.
    """

    def __init__(self, text: str, seconds: float | None = None) -> None:
        super().__init__(text)
        self.seconds = seconds


def explained(error: Exception, seconds: float) -> Exception:
    """Return the TLS error that explains a failed connection, or else `error` itself.

    Args:
        error: The error that redis-py raised in place of the one it caught.
        seconds: The timeout of the attempt to connect.
    """
    caught = error.__cause__ or error.__context__
    if isinstance(caught, ssl.SSLCertVerificationError):
        return TLSError(f"its certificate was rejected: {caught.verify_message}")
    if isinstance(caught, ssl.SSLError) and caught.reason == "WRONG_VERSION_NUMBER":
        return TLSError("it does not speak TLS on this port; redis:// does not use TLS")
    # The module ssl has no class for this error.
    if isinstance(caught, OSError) and "handshake operation timed out" in str(caught):
        return handshake_timeout(seconds)
    return error


def handshake_timeout(seconds: float) -> TLSError:
    """Return the error for a server that completed no TLS handshake in time."""
    return TLSError(
        f"no TLS connection within {seconds:g} s. Does it speak TLS on this port? redis:// does "
        "not use TLS",
        seconds,
    )
