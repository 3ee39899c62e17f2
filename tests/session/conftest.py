"""What tests of sessions have in common."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial

import pytest

from tests.session import road


def _plain() -> None:
    return None


InPython = partial(road.Tls, lent=False)
Older = partial(road.Tls, newest=ssl.TLSVersion.TLSv1_2)

KINDS: dict[str, tuple[Callable[[], road.Tls | None], Callable[[], road.Tls | None]]] = {
    "plain": (_plain, _plain),
    "tls": (_plain, road.Tls),
    "tls_in_python": (_plain, InPython),
    "https": (road.Tls, _plain),
    "https_1_2_and_tls_1_2": (Older, Older),
    "https_and_tls_in_python": (InPython, InPython),
}
"""TLS to the browser, TLS to the upstream."""


@pytest.fixture(params=KINDS)
def open_road(request: pytest.FixtureRequest) -> road.OpenRoad:
    """`road.open_road`, plain and with TLS on either leg: a session promises the same with all."""
    https, tls = KINDS[request.param]
    return partial(road.open_road, https=https(), tls=tls())
