"""A real server on a free loopback port. Its workers may be killed: Gunicorn replaces them."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from .client import Call, Client, poll

CHECKOUT = Path(__file__).resolve().parent.parent.parent


class ServerFailed(Exception):
    """The server ended before it answered."""


class Server:
    """Runs while its `with` block does."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __enter__(self) -> Self:
        with socket.create_server(("127.0.0.1", 0)) as listener, self.log.open("wb") as log:
            self.port: int = listener.getsockname()[1]
            # The socket is inherited: a port that is only named could be taken in between.
            self.process = subprocess.Popen(
                [*_gunicorn(), "--bind", f"fd://{listener.fileno()}", "testproject.wsgi"],
                cwd=CHECKOUT,
                env=os.environ,
                pass_fds=[listener.fileno()],
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the demo, which then ends the server.
                start_new_session=True,
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self) -> None:
        self.process.wait()

    def _wait_until_it_answers(self) -> None:
        client = Client(port=self.port, token="none")

        def answers() -> bool:
            try:
                return client.send(Call(method="GET", path="/api/accounts/")).status > 0
            except OSError:
                return False

        if not poll(answers, until=lambda up: up or self.process.poll() is not None):
            raise ServerFailed(f"The server did not start; {self.log} says why.")

    def _stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _gunicorn() -> list[str]:
    return [sys.executable, "-m", "gunicorn", "--config", "python:testproject.demo.workers"]
