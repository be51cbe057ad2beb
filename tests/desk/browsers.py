"""One member of staff at a real browser: pages, screenshots, axe, and all that the browser complained of."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from django.test import Client
from django.urls import reverse

SIZES = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}
# Parts of every page of the admin, with findings of their own: links told by colour alone, a field without a visible label.
DJANGOS = (".breadcrumbs", "#header", "#nav-sidebar", "#searchbar")
ARTEFACTS = Path(__file__).resolve().parents[1] / "_artefacts"


def executable() -> str | None:
    """Where the machine has Chromium; CHROMIUM names another."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


class Visitor:
    """
    A page of the live server, as one user sees it.

    `complaints` is what the browser said of scripts, styles and the policy that each page has to keep.
    """

    def __init__(self, page: Any, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.complaints: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def go(self, name: str, *args: Any, query: str = "") -> Any:
        """Open a page of the admin by the name of its URL; what the server answered."""
        return self.page.goto(f"{self.origin}{reverse(f'admin:{name}', args=args)}{query}")

    def shoot(self, name: str) -> list[Path]:
        """Screenshots of the page in light and dark, wide and narrow, for a person to look at."""
        folder = Path(os.environ.get("IDEMPOTENCY_ARTEFACTS") or ARTEFACTS)
        folder.mkdir(parents=True, exist_ok=True)
        return [self._shot(folder, name, scheme, size) for scheme in ("light", "dark") for size in SIZES]

    def violations(self) -> list[str]:
        """What axe finds wrong with the page, as rule and element, besides Django's own parts."""
        context = {"exclude": [[place] for place in DJANGOS]}
        found = Axe().run(self.page, context=context).response["violations"]
        return [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]

    def _shot(self, folder: Path, name: str, scheme: str, size: str) -> Path:
        path = folder / f"{name}-{scheme}-{size}.png"
        self.page.emulate_media(color_scheme=scheme)
        self.page.set_viewport_size(SIZES[size])
        self.page.screenshot(path=path, full_page=True)
        return path

    def _heard(self, message: Any) -> None:
        # A page that is refused is what some tests are about.
        if message.type == "error" and not re.search(r"status of 4\d\d", message.text):
            self.complaints.append(message.text)


def session_cookie(user: Any, origin: str) -> dict[str, Any]:
    """The cookie of one who has logged in."""
    client = Client()
    client.force_login(user)
    return {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": origin}
