"""What a person sees when a session is lost: the page says so, comes back by itself, and keeps what they have.

The strategy is tested with a clock of its own in test_reconnect_strategy.py; here Math.random is held down, so that
nobody waits for the jitter.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, WebSocketRoute

from tests.browser.chromium import VoicePage
from tests.browser.upstream_tap import free_port, upstream_tap
from tests.processes import relay_process

NOTHING = {"tracks": 0, "contexts": 0, "sockets": 0}
SIMULATED = ("--upstream", "simulator")
SOON = "Math.random = () => 0.05"
LATE = "Math.random = () => 0.999"


@pytest.fixture
def page_at(browser: Browser) -> Iterator[list[VoicePage]]:
    """Pages to be closed at the end."""
    opened: list[VoicePage] = []
    yield opened
    for page in opened:
        page.page.context.close()
