"""The gateway that fails on purpose: each fault is seen by a sender, and the book says what really happened."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from django_idempotency.gateways import Approved, Declined, Failed, Unknown
from django_idempotency.gateways.example import ExampleGateway
from django_idempotency.gateways.fake import FakeGateway, Fault, Kind

MONEY = {"amount": 1250, "currency": "EUR"}
PATIENCE = 10


def charge(gateway, key="k", **other):
    return gateway.charge(idempotency_key=key, **{**MONEY, **other})


def set_fault(fake, kind, **options):
    fake.faults.set([Fault(kind=kind, **{"times": 1, **options})])


def booked(fake):
    return [(entry["key"], entry["amount"]) for entry in fake.charges]


class TestWithoutFaults:
    def test_a_key_is_charged_once(self, fake, gateway):
        assert charge(gateway) == charge(gateway)
        assert booked(fake) == [("k", 1250)]

    def test_many_at_once_under_one_key_are_one_charge(self, fake, gateway):
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: charge(gateway), range(8)))
        assert {type(result) for result in results} <= {Approved, Unknown}
        assert booked(fake) == [("k", 1250)]

    def test_a_key_with_another_amount_is_refused(self, fake, gateway):
        charge(gateway)
        assert charge(gateway, amount=9) == Failed(reason="HTTP 422: key-reused")
        assert booked(fake) == [("k", 1250)]

    def test_a_declined_card_is_booked_and_moves_no_money(self, fake, gateway):
        assert type(charge(gateway, card="4000000000000002")) is Declined
        assert fake.charges[0]["captured"] is False

    def test_held_money_is_captured_and_given_back(self, fake, gateway):
        held = charge(gateway, capture=False)
        capture = gateway.capture(idempotency_key="c", reference=held.reference, **MONEY)
        refund = gateway.refund(idempotency_key="r", reference=held.reference, **MONEY)
        assert [type(result) for result in (held, capture, refund)] == [Approved] * 3
        assert gateway.find_capture(idempotency_key="c", **MONEY) == capture
        assert gateway.find_refund(idempotency_key="r", **MONEY) == refund

    def test_no_more_is_given_back_than_was_taken(self, gateway):
        taken = charge(gateway)
        refunds = [gateway.refund(idempotency_key=key, reference=taken.reference, **MONEY) for key in "ab"]
        assert [type(refund) for refund in refunds] == [Approved, Failed]

    @pytest.mark.parametrize("body", [{}, {"amount": 0, "currency": "EUR"}, {"amount": 1.5, "currency": "EUR"}])
    def test_what_is_no_charge_is_refused(self, fake, body):
        answer = httpx.post(f"{fake.url}/charges", json=body, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, fake.charges) == (400, [])


class TestFaults:
    @pytest.mark.parametrize(
        ("kind", "charged"),
        [
            (Kind.CUT, False),
            (Kind.LOST, True),
            (Kind.ERROR_BEFORE, False),
            (Kind.ERROR_AFTER, True),
            (Kind.UNKNOWN_STATUS, True),
            (Kind.DRIP, True),
        ],
    )
    def test_the_outcome_is_unknown_until_it_is_looked_up(self, fake, gateway, kind, charged):
        set_fault(fake, kind, seconds=PATIENCE)
        assert type(charge(gateway)) is Unknown
        assert bool(fake.charges) is charged
        found = gateway.find(idempotency_key="k", **MONEY)
        assert type(found) is (Approved if charged else type(None))
        assert type(charge(gateway)) is Approved
        assert booked(fake) == [("k", 1250)]

    def test_a_wrong_amount_is_unknown_with_the_reference(self, fake, gateway):
        set_fault(fake, Kind.WRONG_AMOUNT)
        result = charge(gateway)
        assert (type(result), result.reference, result.amount) == (Unknown, "ch_1", 1251)
        assert booked(fake) == [("k", 1251)]

    def test_an_answer_may_take_its_time(self, fake, gateway):
        set_fault(fake, Kind.LATENCY, seconds=0.2)
        began = time.monotonic()
        assert type(charge(gateway)) is Approved
        assert time.monotonic() - began >= 0.2

    def test_a_look_up_that_is_down_cannot_tell(self, fake, gateway):
        charge(gateway)
        set_fault(fake, Kind.LOOKUP_DOWN)
        assert gateway.find(idempotency_key="k", **MONEY) == Unknown(reason="looked up: HTTP 503")
        assert type(gateway.find(idempotency_key="k", **MONEY)) is Approved

    def test_a_late_charge_comes_after_the_look_up_that_did_not_see_it(self, fake, gateway):
        set_fault(fake, Kind.LATE)
        assert type(charge(gateway)) is Unknown
        assert gateway.find(idempotency_key="k", **MONEY) is None
        assert type(gateway.find(idempotency_key="k", **MONEY)) is Approved

    def test_a_late_charge_under_a_key_that_was_sent_again_is_no_second_one(self, fake, gateway):
        set_fault(fake, Kind.LATE)
        charge(gateway)
        charge(gateway)
        gateway.find(idempotency_key="k", **MONEY)
        assert booked(fake) == [("k", 1250)]

    def test_a_late_charge_under_a_forgotten_key_is_a_second_one(self, fake, gateway):
        set_fault(fake, Kind.LATE)
        charge(gateway)
        charge(gateway)
        fake.keys.forget()
        gateway.find(idempotency_key="k", **MONEY)
        assert booked(fake) == [("k", 1250), ("k", 1250)]

    def test_the_same_seed_gives_the_same_mix(self):
        def mix(seed):
            faults = [Fault(kind=Kind.ERROR_BEFORE, probability=0.2), Fault(kind=Kind.ERROR_AFTER, probability=0.2)]
            with FakeGateway(faults, seed=seed) as fake:
                return [str((fault := fake.faults.next(lookup=False)) and fault.kind) for _ in range(100)]

        assert mix(1) == mix(1) != mix(2)
        assert 40 < mix(1).count("None") < 90


class TestKeys:
    def test_an_expired_key_charges_again(self, client):
        with FakeGateway(key_ttl=0) as fake:
            gateway = ExampleGateway(fake.url, timeout=1, client=client)
            charge(gateway)
            charge(gateway)
            assert booked(fake) == [("k", 1250), ("k", 1250)]

    def test_two_charges_under_one_key_cannot_be_told_apart(self, fake, gateway):
        charge(gateway)
        fake.keys.forget()
        charge(gateway)
        assert type(gateway.find(idempotency_key="k", **MONEY)) is Unknown


class TestBarriers:
    @pytest.mark.parametrize(("kind", "charged"), [(Kind.HOLD_BEFORE, 0), (Kind.HOLD_AFTER, 1)])
    def test_a_request_is_held_until_it_is_released(self, fake, client, kind, charged):
        gateway = ExampleGateway(fake.url, timeout=PATIENCE, client=client)
        set_fault(fake, kind)
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(charge, gateway)
            point = kind.removeprefix("hold-")
            assert fake.barriers.held(wait=PATIENCE) == [{"key": "k", "point": point}]
            assert len(fake.charges) == charged
            assert fake.barriers.release() == 1
            assert type(sent.result(PATIENCE)) is Approved
        assert booked(fake) == [("k", 1250)]

    def test_a_second_request_meanwhile_is_told_that_the_first_is_under_way(self, fake, gateway, client):
        patient = ExampleGateway(fake.url, timeout=PATIENCE, client=client)
        set_fault(fake, Kind.HOLD_BEFORE)
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(charge, patient)
            fake.barriers.held(wait=PATIENCE)
            assert charge(gateway) == Unknown(reason="HTTP 409: in-progress")
            fake.barriers.release()
            assert type(sent.result(PATIENCE)) is Approved


class TestOverHTTP:
    def test_everything_is_set_and_read_over_http(self, fake, client):
        faults = [{"kind": "hold-after", "times": 1}]
        assert httpx.post(f"{fake.url}/faults", json={"faults": faults}).json()["faults"][0]["kind"] == "hold-after"
        sender = threading.Thread(target=charge, args=(ExampleGateway(fake.url, timeout=PATIENCE, client=client),))
        sender.start()
        held = httpx.get(f"{fake.url}/held", params={"wait": PATIENCE}, timeout=PATIENCE * 2).json()["held"]
        assert held == [{"key": "k", "point": "after"}]
        assert httpx.post(f"{fake.url}/release").json() == {"released": 1}
        sender.join(PATIENCE)
        assert httpx.get(f"{fake.url}/faults").json()["faults"][0]["times"] == 0
        assert [entry["key"] for entry in httpx.get(f"{fake.url}/charges").json()["charges"]] == ["k"]
        assert httpx.post(f"{fake.url}/forget").status_code == 200
        assert httpx.get(f"{fake.url}/nowhere").status_code == 404
        assert httpx.post(f"{fake.url}/nowhere").status_code == 404

    def test_a_fault_that_nobody_knows_is_refused(self, fake):
        assert httpx.post(f"{fake.url}/faults", json={"faults": [{"kind": "flood"}]}).status_code == 400

    def test_it_runs_as_a_process_of_its_own(self, client):
        command = [sys.executable, "-m", "django_idempotency.gateways.fake", "--fault", "error-after=1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                url = process.stdout.readline().strip()
                gateway = ExampleGateway(url, timeout=PATIENCE, client=client)
                assert type(charge(gateway)) is Unknown
                assert type(gateway.find(idempotency_key="k", **MONEY)) is Approved
            finally:
                process.terminate()


class TestImports:
    def test_results_and_operations_need_no_httpx(self):
        code = (
            "import sys; sys.modules['httpx'] = None\n"
            "import django_idempotency.gateways, django_idempotency.gateways.fake\n"
            "assert django_idempotency.gateways.Journaled"
        )
        subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
