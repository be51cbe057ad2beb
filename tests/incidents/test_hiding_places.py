"""Places in which a code, a stripe or a card number has once been overlooked, and bodies that have once taken too long."""

import gc
import json
import time
import tracemalloc

import pytest
from django.test import RequestFactory, override_settings
from django.utils import timezone

from django_idempotency import incidents
from django_idempotency.core.engine import RequestParts, Snapshot
from django_idempotency.core.policies import Policy
from django_idempotency.encryption import answer_body
from django_idempotency.exceptions import StoreUnavailable
from django_idempotency.http import Exchange
from django_idempotency.maintenance import Purged, purge
from django_idempotency.masking import DROPPED, Masking, dumped, verdict
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord
from django_idempotency.stored_requests import Body
from tests.support.records import HOUR, completed, stored

FORM = "application/x-www-form-urlencoded"
CARD, CODE = "4111111111111111", "9876"


def written(body=b"{}", content_type="application/json", path="/pay", headers=None, **choices):
    """Return everything that would be stored of a request beside its key, as one text."""
    text = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    request = RequestFactory().generic("POST", path, text, content_type=content_type, headers=headers)
    operation = Exchange(request, Policy(**choices)).operation("key-1")
    parts = operation.request
    return f"{operation.path}\n{parts.headers}\n{parts.amount} {parts.currency}\n{(parts.body or b'').decode()}"


class TestCodes:
    @pytest.mark.parametrize(
        "name",
        [
            *("cav2", "CAV2", "cv2", "CV2", "cardCode", "card_code", "cvx", "cvNumber", "verificationCode"),
            *("cardpin", "CARDPIN", "NEWPIN", "pinnumber", "swipe_data"),
            *("cvv[0]", "card[pin][value]", "cvv[]", "pin.value", "/card/cvv", "ns:cvv"),
        ],
    )
    def test_more_names_and_every_step_of_a_name(self, name):
        assert verdict(name) == DROPPED

    @pytest.mark.parametrize(
        "body",
        [
            {"note": f"'cvv': {CODE}"},
            {"note": f"cvv        : {CODE}"},
            {"note": f"'cvv' => '{CODE}'"},
            {"note": f"run --cvv={CODE} _pin={CODE}"},
            {"note": f"my CVV is {CODE}"},
            {"note": f"cvv {CODE}"},
            {"note": f'{{"cvv": "{CODE}'},
            {"note": f"payment.paymentMethod.details.creditCard.verification.cardSecurityCode={CODE}"},
            {"note": f"https://x?card[cvv]={CODE}&card[pin][0]={CODE}"},
            {"note": f"https://x?card%5Bcvv%5D={CODE}"},
            {"note": f"https://x?n=%7B%22cvv%22%3A%22{CODE}%22%7D"},
            {f"cvv={CODE}": 1},
            {"event": json.dumps({"cvv": {"value": CODE}})},
            {"event": json.dumps({"pin": [1, CODE]})},
            {"event": '{"c\\u0076v": "9876"}'},
            {"event": json.dumps({"event": json.dumps({"cvv": {"value": [CODE]}})})},
            {"event": f"x {{'pin': {{'value': {CODE}}}}} y"},
            [{"name": "cvv", "value": CODE}],
            [{"op": "add", "path": "/card/cvv", "value": CODE}],
            [["cvv", CODE]],
        ],
        ids=str,
    )
    @pytest.mark.parametrize("encrypted", [False, True])
    def test_in_json(self, body, encrypted):
        masking = Masking(encrypted=encrypted)
        assert CODE not in json.dumps(masking.data(masking.json(json.dumps(body))))
        assert masking.changed

    @pytest.mark.parametrize(
        ("body", "content_type"),
        [
            (f"cvv[0]={CODE}&card[pin][value]={CODE}", FORM),
            (f'{{"cvv": {{"value": "{CODE}"}}}}', FORM),
            (f'<f name="cvv">{CODE}</f>', "application/xml"),
            (f'<f name="cvv" value="{CODE}"/>', "application/xml"),
            (f'<cvv a="{"x" * 300}">{CODE}</cvv>', "application/xml"),
            (f"<_cvv>{CODE}</_cvv>", "application/xml"),
            ('\ufeff{"c\\u0076v": "9876"}', "text/plain"),
            (
                f'--x\r\nContent-Disposition: form-data; name="cvv"\r\n\r\n{CODE}\r\n--x--\r\n',
                "multipart/mixed; boundary=x",
            ),
            *((f"cvv={CODE}", f"text/plain; charset={charset}") for charset in ("utf-16", "cp037", "utf-7", "hz")),
            (f"cvv={CODE}", f"{FORM}; charset=utf-16"),
        ],
    )
    def test_in_other_bodies(self, body, content_type):
        assert CODE not in written(body.encode(), content_type)

    @pytest.mark.parametrize("sent", [f"x cvv={CODE}", f";{CARD}=2512101{CODE}000?", f"%B{CARD}^DOE/J^2512101{CODE}?"])
    def test_in_headers(self, sent):
        assert CODE not in written(headers={"User-Agent": sent})

    def test_in_the_path(self):
        assert CODE not in written(path=f"/verify/pin/{CODE}")

    @pytest.mark.parametrize(
        "stripe",
        [
            f"5713{CARD}D2512201000001{CODE}000F",
            f"{CARD}d2512201000001{CODE}000f",
            f"{CARD}^DOE/JANE^2512101{CODE}00",
            f"t2_{CARD}=2512101{CODE}00",
        ],
    )
    def test_stripes_without_their_signs_and_inside_of_a_chips_data(self, stripe):
        masking = Masking(encrypted=True)
        assert CODE not in masking.text(stripe)
        assert CARD not in masking.text(stripe)


def test_what_is_stored_of_json_is_json():
    masking = Masking()
    clean = masking.data(masking.json('{"\\u00001": 1.50, "cvv": 1}'))
    assert json.loads(dumped(clean)) == {"\0" + "1": 1.5, "cvv": DROPPED}


class TestCardNumbers:
    @pytest.mark.parametrize("between", [".", "  ", " - ", "\u2013", "\u200b", "\u202f", "\u00ad", "\u2007", "\u3000"])
    def test_whatever_stands_between_its_groups(self, between):
        number = between.join(["4111", "1111", "1111", "1111"])
        assert number not in written({"n": number})
        assert "****1111" in written({"n": number})

    def test_a_negative_number(self):
        assert CARD not in written({"n": -int(CARD)})

    def test_escaped_in_the_path(self):
        stored_path = written(path="/cards/4111%201111%201111%201111/x%00y").partition("\n")[0]
        assert stored_path == "/cards/****1111/x%00y"

    def test_at_the_end_of_a_header_that_is_cut(self):
        assert CARD[:6] not in written(headers={"User-Agent": "x" * 988 + CARD})

    @pytest.mark.parametrize("found", [CARD, int(CARD), -int(CARD)])
    def test_where_amount_and_currency_point(self, found):
        assert CARD not in written({"n": found}, amount="/n", currency="/n")


class TestEffort:
    @pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape"])
    def test_no_charset_takes_long(self, charset):
        begun = time.process_time()
        written(b"a" * 400_000 + b"-" + b"a" * 400_000, f"text/plain; charset={charset}")
        assert time.process_time() - begun < 1

    @pytest.mark.parametrize(
        "body",
        [
            "4" * 1_000_000,
            "4 " * 500_000,
            "%41" * 300_000,
            '{"' + "aB" * 500_000 + '": 1}',
            "cvv:[" * 200_000,
            "a[b][c][d]" * 100_000,
            '<a name="x" ' * 80_000,
            "<a " + 'name="x" ' * 100_000,
            json.dumps(['{"cvv": 1}'] * 60_000),
            "cvv is " * 140_000,
        ],
        ids=lambda body: body[:12],
    )
    def test_no_body_takes_long_or_many_times_its_own_size(self, body):
        request = RequestFactory().post("/pay", body, content_type="text/plain")
        exchange = Exchange(request, Policy())
        gc.collect()
        begun = time.process_time()
        exchange.operation("key-1")
        assert time.process_time() - begun < 2
        tracemalloc.start()
        try:
            exchange.operation("key-1")
            assert tracemalloc.get_traced_memory()[1] < 30 * len(body)
        finally:
            tracemalloc.stop()


class TestErrorTrackers:
    """They show the variables of each frame of a traceback."""

    def test_bodies_are_in_no_repr(self):
        shown = [RequestParts(body=b"s3cret"), Snapshot(200, (), b"s3cret"), Body(raw=b"s3cret"), Body(parsed="s3cret")]
        assert "s3cret" not in repr(shown)

    def test_a_lost_key_shows_none_of_the_others(self, caplog):
        fernet = pytest.importorskip("cryptography.fernet", reason="without cryptography")
        kept = fernet.Fernet.generate_key().decode()
        with pytest.raises(StoreUnavailable) as raised:
            answer_body(b"x", "12345678", [kept])
        frames, error = [], raised.value
        while error is not None:
            place = error.__traceback__
            while place:
                frames.append(place.tb_frame)
                place = place.tb_next
            error = error.__context__
        ours = [frame for frame in frames if frame.f_code.co_filename.endswith("encryption.py")]
        assert ours
        assert kept not in repr([frame.f_locals for frame in ours])
        assert [record.exc_info for record in caplog.records] == [None]
        assert "12345678" in caplog.text


@pytest.mark.django_db(transaction=True)
class TestPurge:
    SETTINGS = {"default": {"RETENTION": HOUR, "TOMBSTONE": HOUR}, "longer": {"RETENTION": HOUR, "TOMBSTONE": 3 * HOUR}}

    @pytest.fixture(autouse=True)
    def profiles(self):
        with override_settings(IDEMPOTENCY=self.SETTINGS):
            yield

    def incident(self, record, *, age, **columns):
        seen = timezone.now() - age
        IdempotencyIncident.objects.create(
            record_id=record.pk, fingerprint=str(age), first_seen=seen, last_seen=seen, **{"kind": "failed", **columns}
        )

    def test_old_incidents_go_that_have_healed_or_whose_record_is_gone(self):
        here = completed(expired=-5 * HOUR, forgotten=-6 * HOUR)
        gone = completed(expired=-5 * HOUR, forgotten=-6 * HOUR, key="gone")
        IdempotencyRecord.objects.filter(pk=gone.pk).delete()
        self.incident(here, age=5 * HOUR, healed_at=timezone.now())
        self.incident(gone, age=5 * HOUR)
        self.incident(gone, age=5 * HOUR, kind="mismatch")
        assert purge(dry_run=True) == Purged(incidents=3)
        assert purge(batch_size=1) == Purged(incidents=3)
        assert not IdempotencyIncident.objects.exists()

    def test_younger_ones_and_those_of_a_record_that_is_there_stay(self):
        here = stored("unknown")
        self.incident(here, age=5 * HOUR, kind="unknown")
        self.incident(here, age=3 * HOUR, healed_at=timezone.now())
        assert purge() == Purged()
        assert IdempotencyIncident.objects.count() == 2

    def test_an_open_unknown_outcome_stays_though_its_record_is_in_redis(self):
        elsewhere = stored("unknown")
        IdempotencyRecord.objects.all().delete()
        self.incident(elsewhere, age=5 * HOUR, kind="unknown")
        assert purge() == Purged()
        IdempotencyIncident.objects.update(healed_at=timezone.now())
        assert purge() == Purged(incidents=1)

    def test_one_that_happens_again_meanwhile_stays(self, monkeypatch):
        here = completed(expired=-5 * HOUR, forgotten=-6 * HOUR)
        self.incident(here, age=5 * HOUR, healed_at=timezone.now())
        asked, find = [], incidents.forgotten

        def meanwhile(alias):
            asked.append(alias)
            if len(asked) == 2:
                IdempotencyIncident.objects.update(healed_at=None, last_seen=timezone.now())
            return find(alias)

        monkeypatch.setattr(incidents, "forgotten", meanwhile)
        assert purge() == Purged()
        assert IdempotencyIncident.objects.count() == 1
