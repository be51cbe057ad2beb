"""The command: what it prints, how it ends, and what it needs."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from django_idempotency.conformance import __main__ as command
from django_idempotency.conformance import catalogue
from tests.conformance.reference import reference
from tests.conformance.wrong import serving


def ended(*arguments: str) -> int:
    """Return the code with which the command ends."""
    try:
        return command.main(arguments)
    except SystemExit as exc:
        return int(exc.code or 0)


class TestOutput:
    def test_a_right_server(self, capsys):
        with serving(reference()) as url:
            assert ended(url, "--only", "replay-is", "--only", "first") == 0
        plan, *lines, summary = capsys.readouterr().out.splitlines()[1:]
        assert plan == "1..4"
        assert [line.partition(":")[0] for line in lines] == [
            "ok 1 - first-is-untouched",
            "ok 2 - replay-is-marked",
            "ok 3 - replay-is-not-stored",
            "ok 4 - replay-is-the-first-answer",
        ]
        assert summary == "# 4 passed, 0 failed, 0 skipped"

    def test_a_wrong_server(self, capsys):
        with serving(reference("replay as it was")) as url:
            assert ended(url, "--only", "replay-is-marked") == 1
        lines = capsys.readouterr().out.splitlines()
        assert lines[2:] == [
            "not ok 1 - replay-is-marked: A replay says that it is one",
            "  # step 2: Idempotent-Replayed is None, not 'true'",
            "  # See django-idempotency.",
            "# 0 passed, 1 failed, 0 skipped",
        ]

    def test_the_draft_is_quoted(self, capsys):
        with serving(reference("nothing compared")) as url:
            assert ended(url, "--only", "reuse-of-another-payload") == 1
        assert "  # See draft-ietf-httpapi-idempotency-key-header-07, section 2.7." in capsys.readouterr().out

    def test_a_server_that_drops_a_connection_fails_that_vector(self, capsys):
        class Dropping(reference()):
            def run(self, *args):
                if "/crash" in self.path:
                    self.close_connection = True
                    return
                super().run(*args)

        with serving(Dropping) as url:
            assert ended(url, "--only", "crash-is", "--only", "first") == 1
        out = capsys.readouterr().out
        assert "not ok 1 - crash-is-not-replayed" in out
        assert "# POST /crash got no answer" in out
        assert "ok 2 - first-is-untouched" in out

    def test_a_url_with_a_path_is_a_place_for_the_routes(self):
        class Below(reference()):
            def parse_request(self):
                found = super().parse_request()
                assert self.path.startswith("/below/")
                self.path = self.path.removeprefix("/below")
                return found

        with serving(Below) as url:
            assert ended(f"{url}/below/", "--only", "first") == 0

    def test_a_refusal_that_is_no_json_fails_where_a_problem_document_is_asked_for(self, capsys):
        class Speaking(reference()):
            def refuse(self, code):
                self.send(400, {"Content-Type": "text/plain"}, b"no")

        with serving(Speaking) as url:
            assert ended(url, "--only", "problem-key-missing") == 1
        told = "Content-Type is 'text/plain', not 'application/problem+json'; the body is no JSON object: 400 no"
        assert f"  # step 1: {told}" in capsys.readouterr().out

    def test_a_clock_that_cannot_be_moved_fails_and_is_not_skipped(self, capsys):
        class Stuck(reference()):
            def move(self, *args):
                self.send(500, {}, b"")

        with serving(Stuck) as url:
            assert ended(url, "--only", "expiry-is-told") == 1
        assert "  # step 2: POST /expire failed: 500" in capsys.readouterr().out


class TestUse:
    def test_the_list_names_each_with_its_sources_and_sends_nothing(self, capsys):
        assert ended("--list") == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.partition(":")[0] for line in lines] == [vector.name for vector in catalogue.vectors()]
        expected = "[draft-ietf-httpapi-idempotency-key-header-07, section 2.1; RFC 9651, section 3.3.3]"
        assert next(line for line in lines if line.startswith("key-list")).endswith(expected)

    def test_the_list_can_be_chosen_from(self, capsys):
        assert ended("--list", "--only", "scope") == 0
        assert len(capsys.readouterr().out.splitlines()) == 2

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ([], "the URL is missing"),
            (["localhost:8000"], "is not the URL of a server"),
            (["--list", "--only", "nothing"], "no vector begins with nothing"),
        ],
    )
    def test_misuse_is_told(self, capsys, arguments, told):
        assert ended(*arguments) == 2
        assert told in capsys.readouterr().err

    def test_a_server_that_is_not_there(self, capsys):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            assert ended(f"http://127.0.0.1:{free.getsockname()[1]}") == 1
        assert capsys.readouterr().out.splitlines()[-1].startswith("Bail out! ")

    def test_a_server_without_the_routes(self, capsys):
        class Empty(reference()):
            def send(self, status, headers, document):
                super().send(404, {}, {})

        with serving(Empty) as url:
            assert ended(url) == 1
        last = capsys.readouterr().out.splitlines()[-1]
        assert last == 'Bail out! GET /effects must answer 200 {"effects": <number>}, not 404 {}'

    def test_a_copy_of_its_folder_runs_without_any_package(self, tmp_path):
        shutil.copytree(Path(command.__file__).parent, tmp_path / "conformance")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        with serving(reference()) as url:
            found = subprocess.run(
                [sys.executable, "-S", "-m", "conformance", url, "--only", "first"],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
        assert (found.returncode, found.stderr) == (0, "")
        assert "ok 1 - first-is-untouched" in found.stdout

    def test_the_command_needs_no_django(self):
        code = """
import runpy, sys
sys.argv = ["conformance", "--list"]
try:
    runpy.run_module("django_idempotency.conformance", run_name="__main__")
finally:
    assert not [name for name in sys.modules if name.partition(".")[0] in ("django", "http_sf")]
"""
        root = Path(command.__file__).parents[2]
        ended = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout.count("\n") == 48
