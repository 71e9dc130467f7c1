"""What several unit tests need."""

from __future__ import annotations

import pytest

from tests.http_server import serving


@pytest.fixture
def server():
    with serving() as server:
        yield server
