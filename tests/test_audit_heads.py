"""The exported heads of the audit: written after each commit, by many at once, and by some who are killed meanwhile."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files import locks
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import override_settings

from django_idempotency import heads
from django_idempotency.audit import Actor, record_event
from django_idempotency.heads import append, heads_in
from django_idempotency.models import IdempotencyEvent, IdempotencyHead
from django_idempotency.signals import audited
from tests.support.threads import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

ADA = Actor(name="ada", id="7", address="192.0.2.7")
EVENTS, HEAD = IdempotencyEvent._meta.db_table, IdempotencyHead._meta.db_table

# Of a process whose file may not grow beyond so many bytes: it is killed in the middle of its line.
KILLED = """
import resource, signal, sys
from pathlib import Path
from django_idempotency.heads import append
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
append(Path(sys.argv[1]), sys.argv[3])
"""


def sql(statement: str, *parameters: Any) -> None:
    """Change the tables as somebody does who can write to the database."""
    with connection.cursor() as cursor:
        cursor.execute(statement.format(events=EVENTS, head=HEAD), parameters)
        assert cursor.rowcount, statement


def line(number: int) -> str:
    return f'{{"at":"2026-05-03T09:12:44+00:00","database":"default","digest":"v1-{number:064x}","sequence":{number}}}'


def read(file: Path) -> tuple[list[int], list[int]]:
    """The sequence numbers of the heads in a file, and the numbers of the lines that were cut off."""
    cut_off: list[int] = []
    return [sequence for sequence, _ in heads_in(file, "default", cut_off.append)], cut_off


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "heads"
    profiles = {"default": {}, "payments": {"AUDIT_HEADS": path}, "elsewhere": {"DATABASE": "other"}}
    profiles["elsewhere"]["AUDIT_HEADS"] = str(tmp_path / "of another database")
    with override_settings(IDEMPOTENCY=profiles):
        yield path


def run(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("idempotency_audit", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


class TestExport:
    def test_each_head_is_written_to_the_file_after_the_commit(self, file: Path) -> None:
        with transaction.atomic():
            events = [record_event(ADA, "one"), record_event(ADA, "two")]
            assert not file.exists()
        assert list(heads_in(file, "default")) == [(event.sequence, event.digest) for event in events]
        assert list(heads_in(file, "other")) == []
        assert not file.with_name("of another database").exists()
        assert set(json.loads(file.read_text().splitlines()[0])) == {"at", "database", "digest", "sequence"}
        assert file.stat().st_mode & 0o077 == 0

    def test_what_is_rolled_back_is_not_exported(self, file: Path) -> None:
        with suppress(RuntimeError), transaction.atomic():
            record_event(ADA, "undone")
            raise RuntimeError
        assert not file.exists()

    def test_it_is_logged_and_told(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "django_idempotency.audit")
        heard: list[dict[str, Any]] = []

        def receive(sender: Any, **said: Any) -> None:
            heard.append(said)

        audited.connect(receive)
        try:
            event = record_event(ADA, "one")
        finally:
            audited.disconnect(receive)
        assert f"ends with 1:{event.digest}" in caplog.text
        ((told),) = heard
        assert (told["database"], told["sequence"], told["digest"], told["event"].act) == (
            *("default", 1, event.digest),
            "one",
        )

    def test_a_file_that_cannot_be_written_stops_nobody(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with override_settings(IDEMPOTENCY={"default": {"AUDIT_HEADS": str(tmp_path)}}):
            record_event(ADA, "one")
        assert "could not be written" in caplog.text
        assert IdempotencyEvent.objects.count() == 1

    def test_the_command_compares_with_the_file(self, file: Path) -> None:
        first, _ = record_event(ADA, "one"), record_event(ADA, "two")
        assert run("--verify")[0] == "verified: 2 events\ncompared with 2 exported heads, up to event 2\n"
        sql("DELETE FROM {events} WHERE sequence = 2")
        sql("UPDATE {head} SET sequence = 1, digest = %s", first.digest)
        with pytest.raises(CommandError, match="event 2 is missing"):
            run("--verify")


class TestCutOff:
    """The beginning of a line, left by a process that was killed."""

    def test_after_a_killed_process_the_next_line_is_whole(self, file: Path) -> None:
        append(file, line(1))
        limit = file.stat().st_size + 40
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, file, str(limit), line(2)], check=False, capture_output=True
        )
        assert killed.returncode < 0, killed.stderr
        assert file.read_text() == f"{line(1)}\n{line(2)[:40]}"
        assert read(file) == ([1], [2])
        append(file, line(3))
        append(file, line(4))
        assert file.read_text() == f"{line(1)}\n{line(2)[:40]}\n{line(3)}\n{line(4)}\n"
        assert read(file) == ([1, 3, 4], [2])

    @pytest.mark.parametrize("rest", ["", "\0" * 9])
    def test_wherever_it_was_cut_off(self, file: Path, rest: str) -> None:
        whole = f"{line(1)}\n"
        for length in range(1, len(line(2))):
            file.write_text(f"{whole}{line(2)[:length]}{rest}")
            assert read(file) == ([1], [2])
            append(file, line(3))
            assert read(file) == ([1, 3], [2])

    def test_what_lacks_its_end_of_line_alone_is_whole(self, file: Path) -> None:
        file.write_text(line(1))
        assert read(file) == ([1], [])
        append(file, line(2))
        assert read(file) == ([1, 2], [])

    def test_a_loss_of_power_may_leave_nothing_but_zeros(self, file: Path) -> None:
        file.write_bytes(b"\0" * 30)
        append(file, line(1))
        assert read(file) == ([1], [1])

    @pytest.mark.parametrize(
        "text", ["?", "[]", '{"sequence": 1}', '{"at":"now"}', "\xe9", f"x{line(1)}", f"{line(1)}x"]
    )
    @pytest.mark.parametrize("end", ["", "\n"])
    def test_what_is_not_the_beginning_of_one_is_an_error(self, file: Path, text: str, end: str) -> None:
        file.write_text(f"{line(1)}\n{text}{end}", encoding="latin-1")
        with pytest.raises(ValueError, match="line 2 of"):
            read(file)

    def test_all_lines_begin_alike(self, file: Path) -> None:
        record_event(ADA, "one")
        assert file.read_bytes().startswith(heads.START)


class TestAtOnce:
    def test_lines_that_need_several_writes_are_not_mixed(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        come, lock = threading.Event(), locks.lock

        def another() -> None:
            append(file, line(2))
            come.set()

        def tried(held: Any, flags: int) -> bool:
            ours = lock(held, flags)
            # Who is second has come, and waits.
            _ = ours or come.set()
            return ours

        class Short(FileIO):
            def write(self, data: Any) -> int:
                done = super().write(data[:9])
                if not second.ident:
                    second.start()
                    assert come.wait(PATIENCE)
                return done

        second = threading.Thread(target=another)
        monkeypatch.setattr(heads, "FileIO", Short)
        monkeypatch.setattr(heads, "PATIENCE", PATIENCE)
        monkeypatch.setattr(heads.locks, "lock", tried)
        append(file, line(1))
        second.join(PATIENCE)
        assert read(file) == ([1, 2], [])

    def test_who_holds_the_file_stops_nobody(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(heads, "PATIENCE", 0.05)
        with file.open("w") as held:
            assert locks.lock(held, locks.LOCK_EX)
            append(file, line(1))
            assert read(file) == ([1], [])

    def test_a_file_system_without_locks_stops_nobody(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> bool:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(heads.locks, "lock", refuse)
        append(file, line(1))
        assert read(file) == ([1], [])


class TestCommand:
    def test_a_line_that_was_cut_off_is_told_and_the_whole_ones_are_compared(self, file: Path) -> None:
        first, second = record_event(ADA, "one"), record_event(ADA, "two")
        with file.open("a") as heads_file:
            heads_file.write('{"at":"2026')
        out, err = run("--verify")
        assert out == "verified: 2 events\ncompared with 2 exported heads, up to event 2\n"
        assert err == f"line 3 of {file} was cut off while it was written; the whole ones are compared.\n"
        sql("DELETE FROM {events} WHERE sequence = 2")
        sql("UPDATE {head} SET sequence = 1, digest = %s", first.digest)
        with pytest.raises(CommandError, match="event 2 is missing"):
            run("--verify")
        assert second.sequence == 2

    @pytest.mark.parametrize("text", ["?", "[]", '{"sequence": 1}'])
    def test_a_file_that_holds_something_else_is_an_error(self, tmp_path: Path, text: str) -> None:
        file = tmp_path / "heads"
        with pytest.raises(CommandError, match="cannot be read"):
            run("--verify", f"--head={file}")
        file.write_text(f"{text}\n")
        with pytest.raises(CommandError, match="line 1 of"):
            run("--verify", f"--head={file}")

    @pytest.mark.parametrize("text", ["", '{"at":', line(1).replace("default", "other")])
    def test_a_file_that_was_asked_for_and_tells_nothing_is_an_error(self, tmp_path: Path, text: str) -> None:
        file = tmp_path / "heads"
        file.write_text(text)
        with pytest.raises(CommandError, match="has no head of the database default"):
            run("--verify", f"--head={file}")
