"""`python -m django_idempotency.gateways.fake --port 8090`: prints its address, and serves until it is interrupted."""

from __future__ import annotations

import argparse
import sys

from .faults import Fault, Kind
from .server import FakeGateway


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m django_idempotency.gateways.fake", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--key-ttl", type=float, help="seconds for which a key is remembered; for ever without it")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same chance")
    parser.add_argument("--fault", action="append", default=[], metavar="KIND[=PROBABILITY]", type=_fault)
    options = parser.parse_args()
    gateway = FakeGateway(
        options.fault, key_ttl=options.key_ttl, seed=options.seed, host=options.host, port=options.port
    )
    sys.stdout.write(f"{gateway.url}\n")
    sys.stdout.flush()
    try:
        gateway.serve()
    except KeyboardInterrupt:
        sys.exit(0)


def _fault(text: str) -> Fault:
    kind, _, probability = text.partition("=")
    return Fault(kind=Kind(kind), probability=float(probability or 1), seconds=1)


if __name__ == "__main__":
    main()
