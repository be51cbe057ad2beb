"""
The test's side of the barriers: waits until a request has reached a point, and decides what becomes of it.

    gate = barriers.gate("before-complete")
    answer = client.start("/plain/pay", key="k", at=gate)
    gate.reached().kill()
"""

import itertools
import os
import queue
import signal
import socketserver
import threading
from dataclasses import dataclass

PATIENCE = 40.0
"""Seconds; a worker that was killed has a successor within a few, and on a machine with the whole suite within some more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A request that stands at a point. `backend` is its PostgreSQL process."""

    point: str
    pid: int
    backend: int
    gone_on: threading.Event

    def release(self) -> None:
        """Let the request go on."""
        self.gone_on.set()

    def kill(self) -> None:
        """Kill the worker that runs the request; nothing of it runs on."""
        os.kill(self.pid, signal.SIGKILL)
        self.gone_on.set()

    def stop(self) -> None:
        """Stop the worker's process as a debugger or a frozen machine does. It stays at the point."""
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Let a stopped worker run again."""
        os.kill(self.pid, signal.SIGCONT)
        self.gone_on.set()


class Gate:
    """One request's points, to be sent along in its header."""

    def __init__(self, ticket: str, points: tuple[str, ...]) -> None:
        self.header = " ".join([ticket, *points])
        self.arrivals: queue.Queue[Held] = queue.Queue()

    def reached(self) -> Held:
        """Return the request once it stands at its (next) point."""
        try:
            return self.arrivals.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"the request has not come to any of its points: {self.header}") from None


class Barriers:
    """The socket that held requests wait at."""

    def __init__(self) -> None:
        self.gates: dict[str, Gate] = {}
        self.tickets = itertools.count(1)
        self.server = _BarrierServer(("127.0.0.1", 0), _Arrival)
        self.server.barriers = self
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    def gate(self, *points: str) -> Gate:
        """Return a gate for one request that is to be held at each of these points."""
        ticket = str(next(self.tickets))
        self.gates[ticket] = Gate(ticket, points)
        return self.gates[ticket]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class _BarrierServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    barriers: Barriers


class _Arrival(socketserver.StreamRequestHandler):
    server: _BarrierServer

    def handle(self) -> None:
        ticket, point, pid, backend = self.rfile.readline().decode().split()
        held = Held(point=point, pid=int(pid), backend=int(backend), gone_on=threading.Event())
        self.server.barriers.gates[ticket].arrivals.put(held)
        # The connection closes when this returns, which is what lets the request go on.
        held.gone_on.wait(PATIENCE * 2)
