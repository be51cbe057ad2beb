"""A payload full of secrets, HTML, 1 MB of JSON, binary and right-to-left text: nothing of it in logs, incidents, admin."""

import json

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_idempotency.models import IdempotencyIncident, IdempotencyRecord

pytestmark = pytest.mark.django_db(transaction=True)

CARD, CODE, PASSWORD, TRACK = "4242424242424242", "8675309", "hunter2-s3cret", ";5555555555554444=25121011000012300000?"
SECRETS = (CARD, "4242 4242 4242 4242", CODE, PASSWORD, "5555555555554444")
HTML = "<script>alert('x')</script>"
RTL = "\u202e\u0645\u0628\u0644\u063a \u0627\u0644\u062f\u0641\u0639\u200f"

FULL = {
    "amount": 5,
    "card": {"number": "4242 4242 4242 4242", "cvv": CODE, "pin": CODE},
    "raw": CARD,
    "password": PASSWORD,
    "swipe": TRACK,
    "event": json.dumps({"cvv2": CODE, "api_key": PASSWORD}),
    "note": HTML,
    "name": RTL,
    "large": [{"id": number, "text": "x" * 100, "secret": PASSWORD} for number in range(8_000)],
}
BODIES = {
    "json": (json.dumps(FULL).encode(), "application/json"),
    "form": (
        f"amount=5&card[cvv]={CODE}&n=4242+4242+4242+4242&password={PASSWORD}".encode(),
        "application/x-www-form-urlencoded",
    ),
    "xml": (f"<pay><cvv>{CODE}</cvv><n>{CARD}</n><password>{PASSWORD}</password></pay>".encode(), "application/xml"),
    "binary": (b"\x89PNG\x00\xff" + f"cvv={CODE} {CARD}".encode(), "application/octet-stream"),
    "broken": (f'{{"cvv": "{CODE}", "n": "{CARD}", "password": "{PASSWORD}"'.encode(), "text/plain"),
}


def everything_stored():
    """Return every column of every record and incident, without the answers, as one text."""
    rows = [*IdempotencyRecord.objects.values(), *IdempotencyIncident.objects.values()]
    values = [value for row in rows for name, value in row.items() if name not in ("body", "key")]
    return "\n".join(bytes(v).decode(errors="replace") if isinstance(v, bytes | memoryview) else str(v) for v in values)


def pages_of_the_admin():
    User.objects.create_superuser("staff", password="x")
    client = Client()
    client.login(username="staff", password="x")
    pages = []
    for model in (IdempotencyRecord, IdempotencyIncident):
        place = f"/admin/django_idempotency/{model._meta.model_name}/"
        found = [place, *(f"{place}{pk}/change/" for pk in model.objects.values_list("pk", flat=True))]
        pages += [client.get(page) for page in found]
    assert {page.status_code for page in pages} == {200}
    return "\n".join(page.content.decode() for page in pages)


@pytest.mark.parametrize("kind", BODIES)
def test_nothing_leaks(send, caplog, kind):
    caplog.set_level("DEBUG", "django_idempotency")
    body, content_type = BODIES[kind]
    place = f"/plain/failing?token={PASSWORD}&cvv={CODE}"
    assert send(place, raw=body, content_type=content_type).status_code == 500
    assert send("/plain/function", raw=body, content_type=content_type).status_code == 200
    assert send("/plain/function", raw=body + b" ", content_type=content_type).status_code in (200, 422)
    assert IdempotencyIncident.objects.count() >= 1
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name == "django_idempotency")
    for text in (everything_stored(), logged, pages_of_the_admin()):
        assert [secret for secret in SECRETS if secret in text] == []


def test_what_is_shown_is_escaped_and_whole_otherwise(send):
    send("/plain/failing", raw=BODIES["json"][0])
    shown = pages_of_the_admin()
    assert HTML not in shown
    assert "&lt;script&gt;" in shown
    stored = json.loads(bytes(IdempotencyIncident.objects.get().request_body))
    assert (stored["note"], stored["name"], len(stored["large"])) == (HTML, RTL, 8_000)


def test_the_staff_cannot_write_to_an_incident(send, admin_client):
    send("/plain/failing")
    (pk,) = IdempotencyIncident.objects.values_list("pk", flat=True)
    place = "/admin/django_idempotency/idempotencyincident/"
    pages = [f"{place}add/", f"{place}{pk}/delete/"]
    assert [admin_client.get(page).status_code for page in pages] == [403, 403]
    assert admin_client.post(f"{place}{pk}/change/", {"kind": "unknown"}).status_code == 403
    assert IdempotencyIncident.objects.get().kind == "failed"


@pytest.fixture(autouse=True)
def urls(settings):
    settings.ROOT_URLCONF = "tests.incidents.urls"
