"""A TCP proxy that counts round trips, and drops replies and connections on demand."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock, Thread


class Proxy:
    """Forwards bytes between clients and a server on loopback.

    Attributes:
        port: The port for clients.
        lost: The number of lost replies.
        refused: The number of refused clients.
        trips: The number of round trips: sends by a client that was not waiting for a reply.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.lost = 0
        self.refused = 0
        self.trips = 0
        self._waiting: set[socket.socket] = set()
        self._refuses = False
        self._lose = 0
        self._lock = Lock()
        self._sockets: set[socket.socket] = set()
        self._threads = [Thread(target=self._accept)]
        self._threads[0].start()

    def lose_replies(self, count: int = 1) -> None:
        """Drop the next `count` replies of the server, and close their connections."""
        with self._lock:
            self._lose = count

    def cut(self) -> None:
        """Close all client connections; the server's ends stay open."""
        with self._lock:
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Close all connections, and every new one at once."""
        self._refuses = True
        self.cut()

    def refuse_others(self) -> None:
        """Close every new connection at once; existing ones stay open."""
        self._refuses = True

    def accept(self) -> None:
        """Serve new connections again."""
        self._refuses = False

    def lead_to(self, server_port: int) -> None:
        """Route new connections to another server; existing ones stay open."""
        self._server_port = server_port

    def close(self) -> None:
        """Close everything."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses:
                self.refused += 1
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._server_port))
            with self._lock:
                self._sockets.add(client)
            thread = Thread(target=self._serve, args=(client, server))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        replies = Thread(target=self._pass_replies, args=(server, client))
        replies.start()
        with suppress(OSError):
            while data := client.recv(65536):
                with self._lock:
                    self.trips += client not in self._waiting
                    self._waiting.add(client)
                server.sendall(data)
        # A server that is busy with a request does not notice, and continues with it.
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)
        replies.join()
        with self._lock:
            self._sockets.discard(client)
            self._waiting.discard(client)
        client.close()
        server.close()

    def _pass_replies(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                with self._lock:
                    loses = self._lose > 0
                    self._lose -= loses
                    self.lost += loses
                    self._waiting.discard(client)
                if loses:
                    break
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_to(server_port: int) -> Iterator[Proxy]:
    """Run a proxy."""
    proxy = Proxy(server_port)
    try:
        yield proxy
    finally:
        proxy.close()
