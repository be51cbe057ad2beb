"""What must be true after any crash."""

from concurrent.futures import Future

import httpx
import pytest

from tests.support.live import Live


def paid_once(live: Live, path: str, key: str, *, within: float = 2.0) -> None:
    """Retry as the client does: an answer in time, one effect, the answer is that effect's, and it stays."""
    retry = live.client.insist(path, key=key, within=within)
    assert retry.status_code == 201, retry.text
    assert live.database.nonces(key) == [retry.json()["nonce"]]
    again = live.client.post(path, key=key)
    assert (again.status_code, again.content) == (201, retry.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert live.database.state(key) == "completed"


def answer_lost(future: "Future[httpx.Response]") -> None:
    """The client of a killed worker hears nothing."""
    with pytest.raises(httpx.TransportError):
        future.result()
