"""pgbouncer in transaction mode, the way most Django sites meet it."""

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.clusters import free_port, unprivileged_user
from tests.support.services import Server

CONFIGURATION = """
[databases]
* = {place}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 200
default_pool_size = 20
server_idle_timeout = 5
logfile = {home}/log
pidfile = {home}/pid
"""


class Pgbouncer:
    """Runs in front of a server until closed."""

    def __init__(self, binary: str, server: Server) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="idempotency-pgbouncer-"))
        port = free_port()
        self.server = Server(host="127.0.0.1", port=port, user=server.user)
        configuration = self.home / "pgbouncer.ini"
        place = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
        written = " ".join(f"{name}={value}" for name, value in place.items() if value)
        configuration.write_text(CONFIGURATION.format(place=written, own_port=port, home=self.home))
        user = unprivileged_user()
        if user is not None:
            shutil.chown(self.home, user)
            shutil.chown(configuration, user)
        self.process = subprocess.Popen([binary, "-q", str(configuration)], user=user, stdin=subprocess.DEVNULL)
        self._wait_until_it_listens()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection((self.server.host, self.server.port), timeout=1).close()
            except ConnectionRefusedError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError((self.home / "log").read_text())
