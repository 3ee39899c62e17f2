"""What tests of sessions have in common."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial

import pytest

from tests.session import road


def _plain() -> None:
    return None


UPSTREAMS: dict[str, Callable[[], road.Tls | None]] = {
    "plain": _plain,
    "tls": road.Tls,
    "tls_1_2": partial(road.Tls, newest=ssl.TLSVersion.TLSv1_2),
    "tls_in_python": partial(road.Tls, lent=False),
}


@pytest.fixture(params=UPSTREAMS)
def open_road(request: pytest.FixtureRequest) -> road.OpenRoad:
    """`road.open_road` to a plain upstream and to those with TLS: a session promises the same with all."""
    return partial(road.open_road, tls=UPSTREAMS[request.param]())
