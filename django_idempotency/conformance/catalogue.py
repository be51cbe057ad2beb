"""The vectors: behaviours as data, one JSON file each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRAFT = "draft-ietf-httpapi-idempotency-key-header-07"
HOME = Path(__file__).parent / "vectors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One behaviour: the requests that show it, and what must be answered."""

    name: str
    title: str
    steps: list[dict[str, Any]]
    draft: str | None = None
    """The section of the IETF draft that speaks of it; None where the draft is silent."""
    cites: str | None = None
    """Another text that does, and its section."""

    @property
    def sources(self) -> str:
        """Whom the vector quotes, in words."""
        draft = f"{DRAFT}, section {self.draft}" if self.draft else None
        return "; ".join(filter(None, [draft, self.cites])) or "django-idempotency"


def vectors(only: Sequence[str] = ()) -> list[Vector]:
    """All vectors by name, or those whose names begin with one of these texts."""
    found = [Vector(name=path.stem, **json.loads(path.read_text())) for path in sorted(HOME.glob("*.json"))]
    return [vector for vector in found if not only or vector.name.startswith(tuple(only))]
