"""How requests are sent at once."""

import threading

import pytest
from django.db import connections

from django_idempotency.testing.rounds import together


class TestTogether:
    def test_each_call_has_a_thread_of_its_own(self):
        assert len(set(together(20, threading.get_ident))) == 20

    def test_what_a_call_raises_comes_out(self):
        with pytest.raises(ZeroDivisionError):
            together(2, lambda: 1 // 0)

    @pytest.mark.django_db(transaction=True)
    def test_no_thread_leaves_a_connection_open(self):
        def call():
            used = connections["default"]
            used.ensure_connection()
            return used

        assert [used.connection for used in together(2, call)] == [None, None]
