"""The commands: what they pass on, what they print, what they refuse."""

import json
import re
import uuid
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from django_idempotency.maintenance import Purged
from django_idempotency.management.commands.idempotency_purge import rate
from django_idempotency.management.progress import PAUSE, Progress
from django_idempotency.models import IdempotencyRecord, IdempotencyStep
from django_idempotency.operations.recovery import RESUMES
from tests.operations import tills
from tests.support.records import HOUR, completed, states, stored, tombstone

pytestmark = pytest.mark.django_db

RESUMED = "resumed: completed 0, postponed 0, parked 0\n"
NOTHING = "incidents 0, messages 0, approvals 0, bulk_acts 0, steps 0"
WOULD = "would recover: released 1, doubtful 0\nwould resume: completed 0, postponed 0, parked 0\n"


def run(name, *arguments, **options):
    """Return what a command has written: its output and its progress."""
    out, err = StringIO(), StringIO()
    call_command(name, *arguments, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


class TestPurge:
    def test_it_purges_and_sums_up(self):
        tombstone(forgotten=HOUR)
        completed(expired=HOUR, forgotten=-HOUR)
        out, err = run("idempotency_purge")
        assert re.fullmatch(
            rf"purged: shrunk 1, deleted 1, {NOTHING}\n[\d,]+ rows a second\n",
            out,
        )
        assert err == ""
        assert list(states().values()) == ["tombstone"]

    def test_a_dry_run_only_counts(self):
        kept = tombstone(forgotten=HOUR)
        assert run("idempotency_purge", "--dry-run") == (
            f"would purge: shrunk 0, deleted 1, {NOTHING}\n",
            "",
        )
        assert states() == {kept.key: "tombstone"}

    def test_each_batch_is_told_at_verbosity_2(self):
        tombstone(forgotten=HOUR)
        tombstone(forgotten=HOUR)
        _, err = run("idempotency_purge", "--batch-size=1", verbosity=2)
        assert err == f"so far: shrunk 0, deleted 1, {NOTHING}\nso far: shrunk 0, deleted 2, {NOTHING}\n"

    def test_nothing_is_told_at_verbosity_0(self):
        tombstone(forgotten=HOUR)
        assert run("idempotency_purge", verbosity=0) == ("", "")
        assert states() == {}

    @pytest.mark.parametrize("size", ["0", "-1", "many", "1.5", "10001"])
    def test_a_batch_of_no_possible_size_is_refused(self, size):
        with pytest.raises(CommandError, match="must be a whole number from 1 to 10000"):
            run("idempotency_purge", f"--batch-size={size}")

    @pytest.mark.django_db(databases=["default", "other"])
    def test_the_database_can_be_named(self):
        kept = tombstone(forgotten=HOUR)
        tombstone(forgotten=HOUR, using="other")
        out, _ = run("idempotency_purge", "--database=other")
        assert out.startswith(f"purged: shrunk 0, deleted 1, {NOTHING}\n")
        assert states() == {kept.key: "tombstone"}

    @pytest.mark.parametrize("command", [["idempotency_purge"], ["idempotency_recover"], ["idempotency_show", "key"]])
    def test_an_unknown_database_is_refused(self, command):
        with pytest.raises(CommandError, match="invalid choice: 'nowhere'"):
            run(*command, "--database=nowhere")

    @pytest.mark.parametrize(("seconds", "said"), [(2.0, "50,000"), (0.0, "100,000,000")])
    def test_the_rate_is_over_all_that_was_purged(self, seconds, said):
        assert rate(Purged(shrunk=60_000, deleted=39_998, incidents=1, messages=1), seconds) == f"{said} rows a second"


class TestProgress:
    def test_long_work_is_told_now_and_then(self, monkeypatch):
        clock = iter([0, 1, PAUSE, PAUSE + 1, 2 * PAUSE])
        monkeypatch.setattr("django_idempotency.management.progress.time", SimpleNamespace(monotonic=clock.__next__))
        stream = StringIO()
        progress = Progress(stream, verbosity=1)
        for deleted in (1, 2, 3, 4):
            progress(Purged(deleted=deleted))
        assert stream.getvalue() == f"so far: shrunk 0, deleted 2, {NOTHING}so far: shrunk 0, deleted 4, {NOTHING}"


class TestRecover:
    def test_it_recovers_and_sums_up(self):
        stored("processing")
        doubtful = stored("processing", token=1)
        assert run("idempotency_recover") == (f"recovered: released 1, doubtful 1\n{RESUMED}", "")
        assert states() == {doubtful.key: "unknown"}

    def test_a_dry_run_only_counts(self):
        kept = stored("processing")
        assert run("idempotency_recover", "--dry-run") == (WOULD, "")
        assert states() == {kept.key: "processing"}

    def test_the_age_is_given_in_seconds(self):
        stored("processing", claimed_at=timedelta(minutes=2))
        assert run("idempotency_recover")[0] == f"recovered: released 0, doubtful 0\n{RESUMED}"
        assert run("idempotency_recover", "--older-than=60")[0] == f"recovered: released 1, doubtful 0\n{RESUMED}"

    def test_the_longest_age_is_one_that_every_database_can_compute_with(self):
        assert (
            run("idempotency_recover", "--older-than=315360000")[0] == f"recovered: released 0, doubtful 0\n{RESUMED}"
        )

    @pytest.mark.parametrize("age", ["-1", "soon", "nan", "315360001", "9" * 30])
    def test_an_impossible_age_is_refused(self, age):
        with pytest.raises(CommandError, match="must be a whole number of seconds from 0 to"):
            run("idempotency_recover", f"--older-than={age}")

    def test_each_batch_is_told_at_verbosity_2_and_nothing_at_0(self):
        stored("processing")
        assert run("idempotency_recover", verbosity=2)[1] == "so far: released 1, doubtful 0\n"
        stored("processing")
        assert run("idempotency_recover", verbosity=0) == ("", "")

    @pytest.mark.django_db(transaction=True)
    def test_operations_go_on(self):
        left_behind()
        assert run("idempotency_recover", "--dry-run")[0].endswith("would resume: completed 0, postponed 1, parked 0\n")
        assert run("idempotency_recover")[0].endswith("resumed: completed 1, postponed 0, parked 0\n")
        assert set(states().values()) == {"completed"}


@pytest.mark.django_db(transaction=True)
class TestResolve:
    SAID = ("--evidence=line 7", "--by=ada")

    @pytest.fixture
    def waiting(self):
        """The id of an operation whose one call may have charged, or not."""
        left_behind()
        tills.age(timedelta(days=9))
        tills.GATEWAY.finding = RuntimeError()
        tills.GATEWAY.charged.clear()
        IdempotencyRecord.objects.update(resumes=RESUMES)
        run("idempotency_recover")
        tills.GATEWAY.finding = None
        return str(IdempotencyRecord.objects.get().pk)

    def test_without_a_word_it_shows_the_steps_and_nothing_they_hold(self, waiting):
        out, _ = run("idempotency_resolve", waiting)
        lines = out.splitlines()
        assert "state        unknown" in lines
        assert lines[-2].startswith("step 0       phase reserve: done ")
        assert lines[-1].startswith("step 1       remote Gateway.charge: no result, sent ")
        assert "amount" not in out

    @pytest.mark.parametrize(
        ("word", "result"),
        [
            (["--approved=ch_7", "--currency=EUR"], {"status": "approved", "reference": "ch_7", "amount": 5}),
            (["--declined=no money"], {"status": "declined", "reason": "no money"}),
            (['--returned={"number": 3}'], {"number": 3}),
        ],
    )
    def test_an_outcome_is_recorded(self, waiting, word, result):
        assert run("idempotency_resolve", waiting, *word, *self.SAID) == ("recorded\n", "")
        step = IdempotencyStep.objects.get(position=1)
        assert result.items() <= json.loads(bytes(step.result)).items()
        assert "resolved by ada: line 7" in run("idempotency_resolve", waiting)[0]
        assert IdempotencyRecord.objects.get().state == "processing"

    def test_it_is_closed_for_good_when_it_is_time(self, waiting):
        with pytest.raises(CommandError, match="too early"):
            run("idempotency_resolve", waiting, "--never-happened", *self.SAID)
        tills.lapse(timedelta(days=2))
        run("idempotency_resolve", waiting, "--never-happened", *self.SAID)
        assert IdempotencyRecord.objects.get().status == 410

    def test_it_goes_on(self, waiting):
        assert run("idempotency_resolve", waiting, "--go-on", *self.SAID, verbosity=0) == ("", "")
        assert IdempotencyRecord.objects.get().state == "processing"

    def test_a_word_on_another_state_than_was_shown_is_refused(self, waiting):
        with pytest.raises(CommandError, match="Look at it again"):
            run("idempotency_resolve", waiting, "--go-on", "--token=1", *self.SAID)

    @pytest.mark.parametrize(
        ("word", "fault"),
        [
            (["--go-on", "--by=ada"], "evidence must not be empty"),
            (["--go-on", "--evidence=line 7"], "by must not be empty"),
            (["--returned={"], "must be JSON"),
            (["--go-on", "--never-happened"], "not allowed with"),
        ],
    )
    def test_what_cannot_be_recorded_is_refused(self, waiting, word, fault):
        with pytest.raises(CommandError, match=fault):
            run("idempotency_resolve", waiting, *word)
        assert IdempotencyRecord.objects.get().state == "unknown"

    def test_what_is_not_there_is_not_shown(self):
        with pytest.raises(CommandError, match="There is no record"):
            run("idempotency_resolve", str(uuid.uuid4()))


def left_behind():
    """An operation whose process died after its charge, an hour ago."""
    tills.restore()
    tills.interrupted()


class TestShow:
    def test_a_record_is_shown_without_its_body(self):
        record = completed(expired=-HOUR, forgotten=-2 * HOUR, key="k 1")
        out, _ = run("idempotency_show", "k 1")
        lines = dict(line.split(maxsplit=1) for line in out.splitlines())
        assert lines["id"] == str(record.pk)
        assert (lines["key"], lines["scope"], lines["state"], lines["status"]) == ("k 1", "user:1", "completed", "201")
        assert lines["headers"] == '[["X-Paid", "yes"]]'
        assert "paid" not in out.replace("X-Paid", "")

    def test_the_body_is_shown_when_asked_for(self):
        completed(expired=-HOUR, forgotten=-2 * HOUR, key="k")
        assert run("idempotency_show", "k", "--body")[0].endswith('body\n{"paid": true}\n')

    def test_an_encrypted_body_is_said_to_be(self):
        completed(expired=-HOUR, forgotten=-2 * HOUR, key="k", body=b"gAAAA", body_key_id="12345678")
        assert run("idempotency_show", "k", "--body")[0].endswith("body\n(encrypted under key 12345678)\n")

    def test_a_record_without_a_body_is_shown_without_one(self):
        tombstone(forgotten=-HOUR, key="k")
        out, _ = run("idempotency_show", "k", "--body")
        assert "tombstone" in out
        assert "body" not in out
        assert "status" not in out

    def test_the_key_is_exact(self):
        stored("processing", key="Key")
        with pytest.raises(CommandError, match="Nothing is remembered of key 'key'"):
            run("idempotency_show", "key")
        assert "processing" in run("idempotency_show", "Key")[0]

    def test_every_match_is_shown_unless_scope_or_namespace_say_which(self):
        stored("processing", key="k", scope="user:1")
        stored("processing", key="k", scope="user:2", namespace="hooks")
        assert run("idempotency_show", "k")[0].count("processing") == 2
        assert "user:1" not in run("idempotency_show", "k", "--scope=user:2")[0]
        assert "user:1" not in run("idempotency_show", "k", "--namespace=hooks")[0]
        with pytest.raises(CommandError, match="key 'k', scope 'user:1', namespace 'hooks'") as caught:
            run("idempotency_show", "k", "--scope=user:1", "--namespace=hooks")
        assert caught.value.returncode == 1

    def test_what_a_client_sent_does_not_command_the_terminal(self):
        body = "\x1b[2Jé\n".encode()
        completed(expired=-HOUR, forgotten=-2 * HOUR, key="k", path="/\x1b]0;x\x07", body=body)
        out, _ = run("idempotency_show", "k", "--body")
        assert "\x1b" not in out
        assert "\x07" not in out
        assert out.endswith("\\x1b[2Jé\n")

    def test_what_is_stored_is_shown_masked_and_bytes_are_only_counted(self):
        masked = {"body": b'{"card": "4111111111111111"}', "headers": '[["X-Api-Key", "s3cret"]]'}
        completed(expired=-HOUR, forgotten=-2 * HOUR, key="card", **masked)
        completed(expired=-HOUR, forgotten=-2 * HOUR, key="bytes", body=b"\xff\x00")
        out, _ = run("idempotency_show", "card", "--body")
        assert "4111111111111111" not in out
        assert "s3cret" not in out
        assert "card" in out
        assert "2 bytes that are no text" in run("idempotency_show", "bytes", "--body")[0]

    @pytest.mark.django_db(databases=["default", "other"])
    def test_the_database_can_be_named(self):
        stored("processing", key="k", using="other")
        assert "processing" in run("idempotency_show", "k", "--database=other")[0]
        assert not IdempotencyRecord.objects.exists()
