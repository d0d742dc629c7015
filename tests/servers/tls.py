"""TLS in front of a server without it: a certificate for the tests, and a proxy that uses it."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Create a self-signed certificate for 127.0.0.1; return the files of it and of its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-addext subjectAltName=IP:127.0.0.1 "
        "-addext keyUsage=critical,digitalSignature,keyCertSign"
    )
    names = ["-subj", "/CN=swarmstate tests", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return certificate, key


@contextmanager
def terminating_tls(
    target: int, certificate: Path, key: Path, *, when_asked: bool = False
) -> Iterator[int]:
    """Yield a port on 127.0.0.1 that speaks TLS and forwards to the port `target`.

    Args:
        target: The port of the server.
        certificate: The file of the certificate.
        key: The file of its key.
        when_asked: Start TLS once a client asks for it, as PostgreSQL clients do.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    ready: list[int] = []
    started = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        passing_on = _passing_on(target, context if when_asked else None)
        at_once = None if when_asked else context
        server = await asyncio.start_server(passing_on, "127.0.0.1", 0, ssl=at_once)
        ready.append(server.sockets[0].getsockname()[1])
        started.set()
        await stop.wait()
        server.close()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        # Aborted transports are closed in the next turn of the loop.
        await asyncio.sleep(0)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    started.wait()
    try:
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _passing_on(
    target: int, context: ssl.SSLContext | None
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
    # Keeps the tasks alive: a transport drops its task when its streams are replaced.
    held: set[asyncio.Task[Any] | None] = set()

    async def passing_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.add(asyncio.current_task())
        # The task is cancelled at the end of the test; asyncio would report that for a connection's
        # task.
        with suppress(asyncio.CancelledError):
            try:
                if context is not None:
                    reader, writer = await _agreed(reader, writer, context)
                await _pass_on(reader, writer, target)
            finally:
                writer.transport.abort()

    return passing_on


async def _agreed(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Read the client's request for TLS, and accept it."""
    await reader.readexactly(8)
    writer.write(b"S")
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport = await loop.start_tls(writer.transport, protocol, context, server_side=True)
    assert transport is not None
    protocol.connection_made(transport)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target)
    try:
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
    finally:
        inner_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
