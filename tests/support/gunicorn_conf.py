"""How gunicorn serves the tests' bank."""

import os
import signal
import threading
from typing import Any

preload_app = True
timeout = 120
graceful_timeout = 1
# Its place would be in the user's home; an older gunicorn has none, and leaves out what it does not know.
control_socket_disable = True


def when_ready(server: Any) -> None:
    """Let the server end with the tests, even when those are killed."""
    threading.Thread(target=_end_with_the_tests, daemon=True).start()


def _end_with_the_tests() -> None:
    # Nothing is ever written to this pipe: it ends when the process that holds its other end does.
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
