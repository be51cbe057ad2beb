"""Signs of life: given while a function runs, resting in phases, and not for ever."""

import math
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_idempotency import Respond, RetryLater, heartbeats
from django_idempotency.exceptions import StoreUnavailable
from django_idempotency.heartbeats import OF_REDIS, PULSE, Heart, Pulse
from tests.operations.tills import GATEWAY, deployed, record
from tests.support.threads import PATIENCE, elsewhere

LEASE = 0.3
"""Seconds: a beat every tenth of a second."""


class Beats:
    """Counts beats, and lets a test wait for the next ones."""

    def __init__(self, answer: Callable[[], bool] = lambda: True) -> None:
        self.answer = answer
        self.count = 0
        self.changed = threading.Condition()

    def __call__(self) -> bool:
        with self.changed:
            self.count += 1
            self.changed.notify_all()
        return self.answer()

    def wait(self, more: int = 1) -> None:
        with self.changed:
            wanted = self.count + more
            assert self.changed.wait_for(lambda: self.count >= wanted, PATIENCE)


def removed(heart: Heart) -> bool:
    """Whether a heart has stopped, after a while."""
    until = time.monotonic() + PATIENCE
    other = Beats()
    clock = Heart(other, LEASE)
    clock.until = math.inf
    with clock.beating():
        while heart in PULSE._hearts and time.monotonic() < until:
            other.wait()
    return heart not in PULSE._hearts


class TestHearts:
    def test_it_beats_while_the_function_runs_three_times_in_a_lease(self) -> None:
        beats = Beats()
        begun = time.monotonic()
        with Heart(beats, LEASE).beating():
            beats.wait(3)
        assert LEASE * 0.9 <= time.monotonic() - begun < PATIENCE

    def test_after_that_it_does_not(self) -> None:
        beats, other = Beats(), Beats()
        with Heart(beats, LEASE).beating():
            beats.wait()
        count = beats.count
        with Heart(other, LEASE).beating():
            other.wait(3)
        assert beats.count == count

    def test_it_rests_in_a_phase_and_goes_on_after(self) -> None:
        beats, other = Beats(), Beats()
        heart = Heart(beats, LEASE)
        with heart.beating():
            with heart.resting(), Heart(other, LEASE).beating():
                count = beats.count
                other.wait(3)
                assert beats.count == count
            beats.wait()

    def test_it_has_a_maximum(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(heartbeats, "LONGEST", 1.0)
        heart = Heart(Beats(), LEASE)
        with heart.beating():
            assert removed(heart)

    def test_in_a_call_its_maximum_is_the_call_s_time_and_it_goes_on_after(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(heartbeats, "LONGEST", 1000.0)
        beats = Beats()
        heart = Heart(beats, LEASE)
        with heart.beating():
            with heart.limited(LEASE / 2):
                assert removed(heart)
            beats.wait(2)

    def test_it_stops_where_the_claim_is_lost(self) -> None:
        beats = Beats(lambda: False)
        heart = Heart(beats, LEASE)
        with heart.beating():
            assert removed(heart)
        assert beats.count == 1

    @pytest.mark.parametrize("fault", [StoreUnavailable(), ValueError("a bug")], ids=["unavailable", "bug"])
    def test_one_that_could_not_be_written_is_tried_again_and_stops_no_other(self, fault: Exception) -> None:
        def fail() -> bool:
            raise fault

        beats, other = Beats(fail), Beats()
        with Heart(beats, LEASE).beating(), Heart(other, LEASE).beating():
            beats.wait(2)
            other.wait(2)

    def test_one_thread_serves_all_and_ends_without_any(self) -> None:
        pulse, hearts = Pulse(), [Heart(Beats(), LEASE) for _ in range(5)]
        before = {*threading.enumerate()}
        for heart in hearts:
            pulse.add(heart)
        (thread,) = {*threading.enumerate()} - before
        assert thread is pulse._thread
        for heart in hearts:
            pulse.remove(heart)
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert pulse._thread is None

    def test_one_of_redis_that_hangs_keeps_none_of_the_database_waiting(self) -> None:
        entered, go_on = threading.Event(), threading.Event()

        def hang() -> bool:
            entered.set()
            return go_on.wait(PATIENCE)

        beats = Beats()
        with Heart(hang, LEASE, OF_REDIS).beating(), Heart(beats, LEASE).beating():
            assert entered.wait(PATIENCE)
            beats.wait(2)
            go_on.set()

    def test_one_that_was_removed_during_a_beat_is_waited_for(self) -> None:
        entered, go_on = threading.Event(), threading.Event()

        def slow() -> bool:
            entered.set()
            assert go_on.wait(PATIENCE)
            return True

        heart = Heart(slow, LEASE)
        PULSE.add(heart)
        assert entered.wait(PATIENCE)
        remover = threading.Thread(target=PULSE.remove, args=(heart,))
        remover.start()
        assert remover.is_alive()
        go_on.set()
        remover.join(PATIENCE)
        assert not remover.is_alive()

    def test_a_forked_process_has_a_thread_of_its_own(self) -> None:
        beats = Beats()
        with Heart(beats, LEASE).beating():
            beats.wait()
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                os.write(write, b"1" if self._beats_here() else b"0")
                os._exit(0)
            os.close(write)
            assert os.read(read, 1) == b"1"
            os.close(read)
            os.waitpid(child, 0)
            beats.wait()

    def _beats_here(self) -> bool:
        if PULSE._thread is not None or PULSE._hearts:
            return False
        beats = Beats()
        with Heart(beats, LEASE).beating():
            beats.wait()
        return beats.count > 0


@pytest.mark.django_db(transaction=True)
class TestOperations:
    def waiting(self) -> Callable[[], None]:
        """Wait until the lease of the one record has been extended by somebody else."""

        def wait() -> None:
            before, until = elsewhere(record).lease_until, time.monotonic() + PATIENCE
            while elsewhere(record).lease_until == before:
                assert time.monotonic() < until, "no sign of life"

        return wait

    def test_a_long_call_keeps_its_operation(self) -> None:
        GATEWAY.before = self.waiting()
        long = deployed(
            lambda op, amount: Respond(200, op.remote(GATEWAY.charge, amount=amount, timeout=1.9)),
            lease=timedelta(seconds=2),
        )
        assert long.run(key="k", amount=5).status == 200

    def test_what_is_put_off_has_no_signs_of_life(self) -> None:
        hearts: list[Any] = []

        def function(op: Any, *, amount: int) -> Any:
            hearts.append(op.heart in PULSE._hearts)
            hearts.append(op.heart)
            return RetryLater(30)

        with pytest.raises(RetryLater):
            deployed(function).run(key="k", amount=5)
        assert hearts[0] is True
        assert hearts[1] not in PULSE._hearts
        found = record()
        assert found.lease_until < found.resume_at

    def test_nor_what_has_failed(self) -> None:
        hearts: list[Any] = []

        def function(op: Any, *, amount: int) -> Any:
            hearts.append(op.heart)
            raise ImproperlyConfigured

        with pytest.raises(ImproperlyConfigured):
            deployed(function).run(key="k", amount=5)
        assert hearts[0] not in PULSE._hearts
