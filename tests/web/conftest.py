from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.web.chromium import Tab, browsing
from tests.web.parts import Film


@pytest.fixture(scope="session")
def film() -> Film:
    return Film()


@pytest.fixture(scope="session")
def tab() -> Iterator[Tab]:
    with browsing() as opened:
        yield opened
