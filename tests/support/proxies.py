"""A TCP proxy in front of a database, or of Redis, that loses what the test tells it to lose."""

import contextlib
import socket
import threading

# As PostgreSQL is sent it, and MariaDB; and what changes a record in Redis.
COMMITS = (b"COMMIT\x00", b"\x03COMMIT", b"EVALSHA\r\n")
CHUNK = 65536


class Proxy:
    """
    Passes everything on, until told otherwise.

    `lose("commit")` cuts the next connection that commits instead of passing its COMMIT on. `lose("answer")` passes it on,
    waits for the database's answer, and cuts the connection instead of delivering that. `lose("answer and the database")`
    takes no new connection after that either. `refuse()` is a dead database.
    """

    def __init__(self, host: str, port: int) -> None:
        self.upstream = (host, port)
        self.losing = ""
        self.refusing = False
        self.links: set[_Link] = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def lose(self, what: str) -> None:
        """Lose this of the next COMMIT."""
        self.losing = what

    def refuse(self) -> None:
        """Cut every connection and take no new one."""
        self.refusing = True
        for link in list(self.links):
            link.cut()

    def recover(self) -> None:
        """Take connections again."""
        self.refusing = False

    def close(self) -> None:
        self.refuse()
        _cut(self.listener)
        self.thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.refusing:
                _cut(client)
                continue
            link = _Link(self, client, socket.create_connection(self.upstream))
            self.links.add(link)
            for direction in (link.pass_requests, link.pass_answers):
                threading.Thread(target=direction, daemon=True).start()


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self.withheld = ""

    def pass_requests(self) -> None:
        with contextlib.suppress(OSError):
            while (data := self.client.recv(CHUNK)) and self._may_pass(data):
                self.server.sendall(data)
        self.cut()

    def pass_answers(self) -> None:
        with contextlib.suppress(OSError):
            while (data := self.server.recv(CHUNK)) and not self.withheld:
                self.client.sendall(data)
        if "database" in self.withheld:
            self.proxy.refusing = True
        self.cut()

    def cut(self) -> None:
        _cut(self.client)
        _cut(self.server)
        self.proxy.links.discard(self)

    def _may_pass(self, data: bytes) -> bool:
        if not self.proxy.losing or not any(commit in data for commit in COMMITS):
            return True
        lost, self.proxy.losing = self.proxy.losing, ""
        self.withheld = lost if lost != "commit" else ""
        return bool(self.withheld)


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
