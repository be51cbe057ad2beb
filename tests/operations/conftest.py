"""What every test of operations begins with."""

from collections.abc import Iterator

import pytest

from tests.operations import tills


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    tills.restore()
    yield
    tills.restore()
