"""A gateway that fails on purpose: a real HTTP server with a book, for tests and demonstrations."""

from .faults import Fault, Kind
from .server import FakeGateway

__all__ = ["FakeGateway", "Fault", "Kind"]
