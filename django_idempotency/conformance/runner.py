"""Runs a vector against a server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from string import Template
from typing import Any
from urllib.parse import quote

from .catalogue import Vector
from .expectations import faults
from .wire import Answer, Server

Step = Mapping[str, Any]

PRINCIPAL = "alice"


class Failed(Exception):
    """The server does something else than the vector says."""


class Skipped(Exception):
    """The server has not got what the vector needs."""


def run(vector: Vector, server: Server) -> None:
    """Send a vector's requests, under a key that was never used. Raises Failed, Skipped, and OSError."""
    _Run(server).steps(vector.steps)


class _Run:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.key = str(uuid.uuid4())
        self.answers: dict[str, Answer] = {}

    def steps(self, steps: Iterable[Step]) -> None:
        for number, step in enumerate(steps, 1):
            try:
                self.step(step)
            except Failed as exc:
                raise Failed(f"step {number}: {exc}") from exc

    def step(self, step: Step) -> None:
        if "effects" in step:
            self.count(step)
        elif "let" in step:
            self.move_clock(step)
        elif "together" in step:
            self.together(step)
        else:
            self.judge(step["expect"], self.send(step), step.get("as"))

    def send(self, step: Step) -> Answer:
        method = "POST" if "post" in step else "GET"
        headers = [("Authorization", f"Bearer {step.get('principal', PRINCIPAL)}")]
        headers += [("Idempotency-Key", self.filled(key)) for key in step.get("keys", [])]
        body = step.get("raw") or (json.dumps(step["body"]) if "body" in step else None)
        return self.server.send(method, self.filled(step[method.lower()]), headers, body)

    def judge(self, expected: Mapping[str, Any], answer: Answer, name: str | None = None) -> None:
        found = faults(expected, answer, self.answers)
        if found:
            raise Failed("; ".join(found))
        if name:
            self.answers[name] = answer

    def count(self, step: Step) -> None:
        principal = step.get("principal", PRINCIPAL)
        found = self.server.effects(self.filled(step.get("of", "$key")), principal)
        if found != step["effects"]:
            raise Failed(f"the requests took effect {found} times, not {step['effects']}")

    def move_clock(self, step: Step) -> None:
        path = f"/{step['let']}?key={quote(self.key)}"
        answer = self.server.send("POST", path, [("Authorization", f"Bearer {PRINCIPAL}")], "{}")
        if answer.status in (404, 405, 501):
            raise Skipped(f"the server has no POST /{step['let']}")
        if answer.status >= 300:
            raise Failed(f"POST /{step['let']} failed: {answer}")

    def together(self, step: Step) -> None:
        """Send copies at once. With the first answer the server has settled who is running: then comes `meanwhile`."""
        with ThreadPoolExecutor(step["together"]) as pool:
            running: list[Future[Answer]] = [pool.submit(self.send, step) for _ in range(step["together"])]
            next(as_completed(running)).result()
            self.steps(step.get("meanwhile", []))
        self.judge_together(step, [future.result() for future in running])

    def judge_together(self, step: Step, answers: list[Answer]) -> None:
        right = [answer for answer in answers if not faults(step["expect_one"], answer, self.answers)]
        if len(right) != 1:
            shown = ", ".join(map(str, answers))
            raise Failed(f"{len(right)} of {len(answers)} requests at once got what one must get: {shown}")
        for other in answers:
            if other is not right[0]:
                self.judge(step["expect_others"], other)
        self.answers["first"] = right[0]

    def filled(self, text: str) -> str:
        return Template(text).substitute(key=self.key)
