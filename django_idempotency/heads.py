"""
The files to which the heads of the audit are exported: one line of JSON each, and lines are only added.

A process that is killed while it adds one, and a disk that is full, leave the beginning of a line. It stays where it is, on
a line of its own: what comes after it is whole. So a beginning is told from what nobody of ours has written.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path

from django.core.files import locks

Head = tuple[int, str]
"""A sequence number, and the digest of the event that has it."""

PATIENCE = 1.0
"""Seconds to wait for others who are at the file. Whoever has stopped there must not stop the rest."""
PAUSE = 0.01
START = b'{"at":"'
"""How each line begins."""


def append(path: Path, line: str) -> None:
    """Add a line, whoever else is just adding one. Raises OSError where it could not be written, or not to its end."""
    with FileIO(path, "a+", opener=partial(os.open, mode=0o600)) as file:
        _wait_for_others(file)
        rest = f"{line}\n".encode()
        if _is_cut_off(file):
            rest = b"\n" + rest
        while rest:
            rest = rest[file.write(rest) :]


def _wait_for_others(file: FileIO) -> None:
    """Lock the file until it is closed, where that can be had in time. Else a line is added in one write all the same."""
    deadline = time.monotonic() + PATIENCE
    # Not every file system knows of locks.
    with suppress(OSError):
        while not locks.lock(file, locks.LOCK_EX | locks.LOCK_NB) and time.monotonic() < deadline:
            time.sleep(PAUSE)


def _is_cut_off(file: FileIO) -> bool:
    if not os.fstat(file.fileno()).st_size:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def heads_in(path: Path, alias: str, cut_off: Callable[[int], object] = bool) -> Iterator[Head]:
    """
    The heads of a database that were exported to a file. `cut_off` is called with the number of each line that is only the
    beginning of one. Raises OSError, and ValueError for what is neither.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                head = json.loads(line)
                found = head["database"], int(head["sequence"]), str(head["digest"])
            except (ValueError, KeyError, TypeError) as exc:
                if not _is_beginning(line):
                    raise ValueError(f"line {number} of {path} is no exported head.") from exc
                cut_off(number)
                continue
            if found[0] == alias:
                yield found[1:]


def _is_beginning(line: bytes) -> bool:
    """Whether a line that cannot be read is what is left of one."""
    # After a loss of power, a file may have grown already by what was never written to it.
    text = line.rstrip(b"\n").rstrip(b"\0")
    return (START.startswith(text) or text.startswith(START)) and b"}" not in text


@dataclass(slots=True)
class Exported:
    """The heads of a database in some files, and what was met in reading them."""

    files: Iterable[Path]
    alias: str
    tell: Callable[[str], object]
    """Called with what is not as it should be, and is no tampering."""
    number: int = 0
    last: int = 0
    """The highest sequence number."""

    def __iter__(self) -> Iterator[Head]:
        for path in self.files:
            for head in heads_in(path, self.alias, partial(self._cut_off, path)):
                self.number += 1
                self.last = max(self.last, head[0])
                yield head

    def _cut_off(self, path: Path, number: int) -> None:
        self.tell(f"line {number} of {path} was cut off while it was written; the whole ones are compared.")
