"""What tests of sessions have in common."""

from __future__ import annotations

from functools import partial

import pytest

from tests.session import road


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def open_road(request: pytest.FixtureRequest) -> road.OpenRoad:
    """`road.open_road` to a plain upstream and to one with TLS: a session promises the same with both."""
    return partial(road.open_road, tls=request.param)
