"""An environment without DRF has nothing to collect here."""

import pytest

from tests.settings import HAVE_DRF

collect_ignore_glob = [] if HAVE_DRF else ["*.py"]


@pytest.fixture
def post():
    """POST one body to a view under a key."""
    from rest_framework.test import APIRequestFactory

    def send(view, data=None, *, key="abc", path="/pay", kind="json", user=None, **headers):
        if key is not None:
            headers["Idempotency-Key"] = key
        content = {"content_type": kind} if "/" in kind else {"format": kind}
        request = APIRequestFactory().post(path, {"amount": 5} if data is None else data, headers=headers, **content)
        if user is not None:
            request.META["HTTP_AUTHORIZATION"] = f"Test {user}"
        answer = view(request)
        return answer.render() if hasattr(answer, "render") else answer

    return send
