"""The whole performance: the cast, the server, the scenario and what comes after it."""

import json
import os
import sys
from pathlib import Path

from django.conf import settings
from django.core.cache import caches

from django_idempotency.gateways.fake import FakeGateway

from . import scenario
from .cast import Cast, assemble
from .client import Client
from .day import explore
from .play import GOOD_CARD, Play
from .report import BOLD, Report
from .server import Server


def show(folder: Path, gateway: FakeGateway, *, serve: bool, unprotected: bool) -> bool:
    """Whether every expectation held."""
    report = Report(sys.stdout, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    cast = assemble()
    with Server(folder / "server.log") as server:
        play = _play(cast, server, gateway, report, unprotected=unprotected)
        held = scenario.run(play)
        _tell_of_redis(report)
        if serve:
            _serve(cast, server, play)
    return held


def _play(cast: Cast, server: Server, gateway: FakeGateway, report: Report, *, unprotected: bool) -> Play:
    payments = "/api/unprotected/payments/" if unprotected else "/api/payments/"
    report.print(f"The payments API is at {server.url}/api/, its log in {server.log}.")
    return Play(
        report=report,
        client=Client(port=server.port, token=cast.bakery.token),
        account=cast.bakery.account,
        other_client=Client(port=server.port, token=cast.florist.token),
        other_account=cast.florist.account,
        card_client=Client(port=server.port, token=cast.grocer.token),
        card_account=cast.grocer.account,
        gateway=gateway,
        payments=payments,
        brief_payments=payments if unprotected else "/api/brief/payments/",
        fuse=server.log.with_name("fuse"),
    )


def _tell_of_redis(report: Report) -> None:
    if "replays" in settings.CACHES:
        entries = len(caches["replays"].keys("*"))  # type: ignore[attr-defined]
        report.line("redis", f"{entries} entries in front of the database, for further retries")


def _serve(cast: Cast, server: Server, play: Play) -> None:
    report = play.report
    report.print()
    report.print("The server is still running; Ctrl-C ends it.", BOLD)
    report.line("admin", f"{server.url}/admin/")
    explore(play, server.url, cast.password)
    report.line("log-in", f"{cast.admin}, password {cast.password}")
    report.line("pay", f"curl -i {server.url}/api/payments/ \\")
    for option in _curl_options(cast):
        report.line("", f"  {option}")
    try:
        server.wait()
    except KeyboardInterrupt:
        report.print()


def _curl_options(cast: Cast) -> list[str]:
    account = cast.bakery.account
    data = {"account": account, "amount": 100, "currency": "EUR", "card": GOOD_CARD}
    return [
        f"-H 'Authorization: Token {cast.bakery.token}' \\",
        "-H 'Content-Type: application/json' -H 'Idempotency-Key: mine-1' \\",
        f"-d '{json.dumps(data)}'",
    ]
