"""
The fixture routes without Django, in memory: what a server in another language would be, right, or wrong in one way.

`faults` of the server names what it does wrong.
"""

import json
import re
import threading
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

BARE = re.compile(r"[!#-+\--~]{1,255}")
QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"')
STATUSES = {
    "key-missing": 400,
    "key-invalid": 400,
    "key-reused": 422,
    "in-flight": 409,
    "key-expired": 412,
}
ROUTES = {"/pay": 201, "/decline": 402, "/invalid": 201, "/slow": 201, "/crash": 500}


@dataclass
class Record:
    """What is remembered of a key."""

    asked: str
    answer: tuple[int, dict[str, str], bytes] | None = None
    expired: bool = False


@dataclass
class Store:
    """All keys and effects of one server."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    records: dict[tuple[str, str], Record] = field(default_factory=dict)
    effects: list[tuple[str, str]] = field(default_factory=list)


class Refused(Exception):
    """A problem's code."""


class Reference(BaseHTTPRequestHandler):
    faults: frozenset[str] = frozenset()
    store: Store

    def do_GET(self) -> None:
        if "safe methods claim" in self.faults:
            self.store.records[self.owner(self.headers["Idempotency-Key"] or "")] = Record(self.path)
        key = parse_qs(urlsplit(self.path).query)["key"][0]
        self.send(200, {}, {"effects": self.store.effects.count(self.owner(key))})

    def do_POST(self) -> None:
        route, body = urlsplit(self.path).path, self.rfile.read(int(self.headers["Content-Length"]))
        if route in ("/expire", "/forget"):
            self.move(route, self.owner(parse_qs(urlsplit(self.path).query)["key"][0]))
            return
        try:
            owner = self.owner(self.key())
            found = self.claim(owner, self.asked(body))
        except Refused as refused:
            self.refuse(str(refused))
            return
        if found.answer:
            self.replay(*found.answer)
        else:
            self.run(route, json.loads(body), owner, found)

    def key(self) -> str:
        values = self.headers.get_all("Idempotency-Key", [])
        if not values:
            if "key not required" in self.faults:
                return str(uuid.uuid4())
            raise Refused("key-missing")
        if "keys unread" in self.faults:
            return str(values[0]).lower()
        header = ", ".join(values)
        if "short keys" in self.faults and len(header) > 100:
            raise Refused("key-invalid")
        if quoted := QUOTED.fullmatch(header):
            return quoted[1]
        if BARE.fullmatch(header):
            return header
        raise Refused("key-invalid")

    def owner(self, key: str) -> tuple[str, str]:
        return ("" if "keys without owner" in self.faults else self.headers["Authorization"], key)

    def asked(self, body: bytes) -> str:
        if "nothing compared" in self.faults:
            return ""
        if "bytes compared" in self.faults:
            return f"{self.path} {body.decode()}"
        if "only the body compared" in self.faults:
            return json.dumps(json.loads(body), sort_keys=True)
        return f"{self.path} {json.dumps(json.loads(body), sort_keys=True)}"

    def claim(self, owner: tuple[str, str], asked: str) -> Record:
        with self.store.lock:
            record = self.store.records.get(owner)
            if record is None or ("run while running" in self.faults and not record.answer):
                self.store.records[owner] = Record(asked)
                return self.store.records[owner]
            if record.expired and "expired is forgotten" not in self.faults:
                raise Refused("key-expired")
            if record.expired:
                self.store.records[owner] = Record(asked)
                return self.store.records[owner]
            if record.asked != asked:
                raise Refused("key-reused")
            if record.answer is None:
                raise Refused("in-flight")
            return record

    def run(self, route: str, body: dict[str, Any], owner: tuple[str, str], record: Record) -> None:
        threading.Event().wait(body.get("milliseconds", 0) / 1000)
        status = 400 if body["amount"] == "five" else ROUTES[route]
        number = str(uuid.uuid4())
        content = json.dumps({"id": number, "amount": body["amount"]}).encode()
        kept = status in (201, 402) or "everything kept" in self.faults
        with self.store.lock:
            if kept or "nothing undone" in self.faults:
                self.store.effects.append(owner)
            if kept:
                record.answer = (
                    status,
                    {"Content-Type": "application/json", "Location": f"/payments/{number}"},
                    content,
                )
            else:
                del self.store.records[owner]
        marked = {"Idempotent-Replayed": "false"} if "first answer marked" in self.faults else {}
        self.send(status, {"Location": f"/payments/{number}", "Set-Cookie": f"session={number}", **marked}, content)

    def replay(self, status: int, headers: dict[str, str], content: bytes) -> None:
        added = {"Idempotent-Replayed": "true", "Cache-Control": "no-store"}
        if "replay as it was" in self.faults:
            added = {"Set-Cookie": "session=1"}
        if "replay without headers" in self.faults:
            headers = {}
        if "replay with 200" in self.faults:
            status = 200
        self.send(status, {**headers, **added}, content)

    def refuse(self, code: str) -> None:
        status = 409 if "409 for everything" in self.faults else STATUSES[code]
        if "bare refusals" in self.faults:
            self.send(status, {}, {"error": code})
            return
        kind = {"Content-Type": "application/problem+json", "Retry-After": "1"}
        if "no Retry-After" in self.faults:
            del kind["Retry-After"]
        document = {"type": f"https://example.com/problems#{code}", "title": code, "detail": code}
        self.send(status, kind, {**document, "status": status, "code": code, "retryable": code == "in-flight"})

    def move(self, route: str, owner: tuple[str, str]) -> None:
        with self.store.lock:
            if route == "/forget":
                del self.store.records[owner]
            else:
                self.store.records[owner].expired = True
        self.send(204, {}, b"")

    def send(self, status: int, headers: dict[str, str], document: Any) -> None:
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def reference(*faults: str) -> type[Reference]:
    """Return a server's handler, with a memory of its own, that does these things wrong."""
    return type("Handler", (Reference,), {"faults": frozenset(faults), "store": Store()})
