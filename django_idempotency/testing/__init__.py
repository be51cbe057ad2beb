"""For the tests of projects: one assertion that a view runs once, and keys that expire without waiting."""

from __future__ import annotations

from collections.abc import Callable

from .retention import expire_answer, forget_key
from .rounds import Answer, Rounds, refuse_memory, refuse_test_case

__all__ = ["Answer", "assert_runs_once", "expire_answer", "forget_key"]


def assert_runs_once(
    send: Callable[[str], Answer], *, effects: Callable[[], int], parallel: int = 4, crashes: bool = True
) -> None:
    """
    Send a request twice, several at once, and with a crash before and after the commit: each time it takes effect once.

    `send` takes a key, sends the request under it, the same whenever it is called, and returns the answer. `effects`
    counts what such requests have done so far. Every round has a key of its own.

    `parallel` is how many requests are sent at once; 0 leaves that round out, and `crashes=False` the crashes. Both need
    real transactions: a TransactionTestCase, pytest's `django_db(transaction=True)`, or a live server in this process.

    Raises AssertionError, whose message says what is wrong with the view or with the test.
    """
    if parallel or crashes:
        refuse_test_case()
    if parallel:
        refuse_memory()
    rounds = Rounds(send, effects)
    rounds.twice()
    if parallel:
        rounds.at_once(parallel)
    if crashes:
        rounds.crashing("before")
        rounds.crashing("after")
