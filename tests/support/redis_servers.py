"""Redis servers of the tests' own, which they may flush, stop and kill: one alone, a cluster, one under a Sentinel."""

import atexit
import contextlib
import functools
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support import services
from tests.support.clusters import free_port

PATIENCE = 20.0
FAST = {"SOCKET_TIMEOUT": 2, "SOCKET_CONNECT_TIMEOUT": 2}


@functools.cache
def binary() -> str:
    """Return the path of redis-server, or skip the test that asked for it."""
    return shutil.which("redis-server") or services.unavailable("Redis servers", "redis-server is not installed")


def cache(url: str, **options: Any) -> dict[str, Any]:
    """Return the CACHES entry for what listens at a URL."""
    return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "OPTIONS": {**FAST, **options}}


def until(found: Any) -> Any:
    """Ask again until there is an answer, and return it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, *_errors()):
            if answer := found():
                return answer
        time.sleep(0.02)
    raise AssertionError(f"{found} had no answer in {PATIENCE} s")


def _errors() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisClusterException, RedisError

    return (RedisError, RedisClusterException)


class RedisServer:
    """One process on a free port of the loopback. It keeps nothing on disk unless told to."""

    def __init__(self, *options: str, sentinel: bool = False) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="idempotency-redis-"))
        self.port = _port()
        self.options = options
        self.sentinel = sentinel
        (self.home / "redis.conf").write_text("")
        self.start()
        atexit.register(self.close)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def cache(self) -> dict[str, Any]:
        return cache(self.url)

    def start(self) -> None:
        """Start the process and return when it answers."""
        command = [binary(), "redis.conf", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.home)]
        command += [] if self.sentinel else ["--save", "", "--enable-debug-command", "yes"]
        command += [*self.options, *(["--sentinel"] if self.sentinel else [])]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.home)
        until(lambda: self.ask("PING"))

    def kill(self) -> None:
        """End it as a machine that dies."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Let it answer nobody, with its connections open."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """As after a crash: what is not on its disk is gone."""
        self.kill()
        self.start()

    def close(self) -> None:
        if self.process.poll() is None:
            self.resume()
            self.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def ask(self, *command: Any) -> Any:
        """Send one command and return the answer."""
        with self.client() as connection:
            return connection.execute_command(*command)

    def client(self) -> Any:
        import redis

        return redis.Redis(port=self.port, socket_timeout=5)


class RedisCluster:
    """Three primaries that share the slots."""

    def __init__(self) -> None:
        options = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "10000",
            "--cluster-require-full-coverage",
            "no",
        ]
        self.nodes = [RedisServer(*options) for _ in range(3)]
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "ADDSLOTSRANGE", number * 5461, 16383 if number == 2 else number * 5461 + 5460)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        self.settle()

    def settle(self) -> None:
        """Return when all nodes take part: one that has begun anew refuses commands for some seconds."""
        for node in self.nodes:
            until(functools.partial(self._agrees, node))

    def ask(self, *command: Any) -> list[Any]:
        """Send one command to each node."""
        return [node.ask(*command) for node in self.nodes]

    @property
    def cache(self) -> dict[str, Any]:
        factory = "django_idempotency.backends.redis.clusters.ClusterConnectionFactory"
        others = [("127.0.0.1", node.port) for node in self.nodes[1:]]
        return cache(self.nodes[0].url, CONNECTION_FACTORY=factory, CLUSTER_NODES=others)

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def _agrees(self, node: RedisServer) -> bool:
        info = node.ask("CLUSTER INFO")
        return (
            info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "3" and info["cluster_slots_ok"] == "16384"
        )


class Watched:
    """A primary and its replica, under one Sentinel."""

    def __init__(self) -> None:
        self.primary = RedisServer()
        self.replica = RedisServer(
            "--replicaof", "127.0.0.1", str(self.primary.port), "--repl-diskless-sync-delay", "0"
        )
        self.sentinel = RedisServer(sentinel=True)
        # django-redis keeps its connections by this name, from one test to the next.
        self.name = f"payments-{self.sentinel.port}"
        self.sentinel.ask("SENTINEL", "MONITOR", self.name, "127.0.0.1", self.primary.port, 1)
        for option, value in {"down-after-milliseconds": 200, "failover-timeout": 3000}.items():
            self.sentinel.ask("SENTINEL", "SET", self.name, option, value)
        until(lambda: self.replica.ask("INFO", "replication")["master_link_status"] == "up")
        until(lambda: self.sentinel.ask("SENTINEL MASTER", self.name)["num-slaves"] == 1)

    @property
    def cache(self) -> dict[str, Any]:
        return cache(
            f"redis://{self.name}/0",
            CLIENT_CLASS="django_redis.client.SentinelClient",
            CONNECTION_FACTORY="django_redis.pool.SentinelConnectionFactory",
            SENTINELS=[("127.0.0.1", self.sentinel.port)],
        )

    def cut(self) -> None:
        """Let the replica hear no more of its primary, as over a network that is down."""
        for option in ("masteruser", "masterauth"):
            self.replica.ask("CONFIG", "SET", option, "nobody")
        self.replica.ask("CLIENT", "KILL", "TYPE", "master")
        until(lambda: self.replica.ask("INFO", "replication")["master_link_status"] == "down")

    def ask(self, *command: Any) -> Any:
        """Send one command to the primary."""
        return self.primary.ask(*command)

    def fail_over(self) -> None:
        """Let the primary die, and return when the replica has taken its place."""
        self.primary.kill()
        until(lambda: self.replica.ask("INFO", "replication")["role"] == "master")
        until(lambda: self.sentinel.ask("SENTINEL MASTER", self.name)["port"] == self.replica.port)

    def close(self) -> None:
        for server in (self.sentinel, self.replica, self.primary):
            server.close()


def _port() -> int:
    """A cluster's nodes talk to each other 10,000 ports higher."""
    while True:
        port = free_port()
        if port + 10000 > 65535:
            continue
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port + 10000)):
            return port
