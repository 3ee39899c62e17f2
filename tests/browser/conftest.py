"""A quiet room with a page in it, for the tests that need no speech.

One Playwright per test file: it owns the thread's event loop, so it must be gone when Trio's tests run.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.browser.chromium import VoicePage, chromium, chromium_path
from tests.browser.modules import Modules, serve_modules
from tests.browser.sound import microphone_file
from tests.processes import RelayProcess, relay_process


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    chromium_path()
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with relay_process("--upstream", "simulator") as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    quiet = microphone_file(tmp_path_factory.mktemp("sound") / "quiet.wav", 60.0)
    with chromium(playwright, quiet) as running:
        yield running


@pytest.fixture
def page(browser: Browser, relay: RelayProcess) -> Iterator[VoicePage]:
    opened = VoicePage(browser, relay.url)
    yield opened
    opened.page.context.close()


@pytest.fixture(scope="module")
def modules(playwright: Playwright) -> Iterator[Modules]:
    with chromium(playwright) as browser:
        yield serve_modules(browser.new_page())
