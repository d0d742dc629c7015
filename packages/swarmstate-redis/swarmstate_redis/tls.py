"""Errors of connections that could not be made because of TLS."""

from __future__ import annotations

import ssl

from redis import exceptions as redis_errors


class TLSError(redis_errors.ConnectionError):
    """TLS is asked for and cannot be had.

    Args:
        text: Why.
        seconds: How long the server was waited for; None if trying again cannot help.
    """

    def __init__(self, text: str, seconds: float | None = None) -> None:
        super().__init__(text)
        self.seconds = seconds


def explained(error: Exception, seconds: float) -> Exception:
    """Return why a connection could not be made: for want of TLS, or `error` itself.

    Args:
        error: What redis-py raised, in the place of what it caught.
        seconds: How long the connection was tried at most.
    """
    caught = error.__cause__ or error.__context__
    if isinstance(caught, ssl.SSLCertVerificationError):
        return TLSError(f"its certificate is not accepted: {caught.verify_message}")
    if isinstance(caught, ssl.SSLError) and caught.reason == "WRONG_VERSION_NUMBER":
        return TLSError("it does not speak TLS at this port; redis:// is without TLS")
    # The module ssl has no class for it.
    if isinstance(caught, OSError) and "handshake operation timed out" in str(caught):
        return handshake_timeout(seconds)
    return error


def handshake_timeout(seconds: float) -> TLSError:
    """Return the error of a server with which there was no TLS for so long."""
    return TLSError(
        f"there was no connection with TLS within {seconds:g} s. Does it speak TLS at this port? "
        "redis:// is without TLS",
        seconds,
    )
