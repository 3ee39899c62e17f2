"""A real Chromium with a fake microphone, and the page seen from outside.

    with chromium(microphone=wav) as browser:
        page = VoicePage(browser, relay.url)

Rules:
- The browser is the system's (Debian's chromium); nothing is downloaded. A missing browser is an error when CI=true.
- Every browser has a new, empty profile. What the microphone hears is a file, played once.
- The page is watched by spy.js, which the test brings along; the product has no test hooks.
"""

from __future__ import annotations

import base64
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, ViewportSize

from tests.browser.sound import Signal, resample
from tests.certificates import Certificate

HERE = Path(__file__).resolve().parent
STATIC = HERE.parent.parent / "static"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
)
DEADLINE_S = 25.0
DESK: ViewportSize = {"width": 1200, "height": 900}


def chromium_path() -> str:
    """Give the system's Chromium, or skip the test; in CI its absence is an error."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    message = f"none of {', '.join(NAMES)} is installed: apt-get install chromium"
    if os.environ.get("CI") == "true":
        raise AssertionError(message)
    pytest.skip(message)


@contextmanager
def chromium(
    playwright: Playwright,
    microphone: Path | None = None,
    *,
    allow: bool = True,
    certificate: Certificate | None = None,
) -> Iterator[Browser]:
    """Launch Chromium. `allow` answers the microphone's permission prompt with yes; `certificate` is trusted."""
    flags = list(FLAGS)
    if certificate:
        flags.append(f"--ignore-certificate-errors-spki-list={certificate.key_hash}")
    if allow:
        flags.append("--use-fake-ui-for-media-stream")
    if microphone:
        flags.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    browser = playwright.chromium.launch(executable_path=chromium_path(), headless=True, args=flags)
    try:
        yield browser
    finally:
        browser.close()


@dataclass(frozen=True)
class Recording:
    """What the page played, at the rate of its audio context."""

    samples: Signal
    rate_hz: int

    def at(self, rate_hz: int) -> Signal:
        """The same at another rate."""
        return resample(self.samples, self.rate_hz, rate_hz)


class VoicePage:
    """The page as a person sees it, and as the spy does."""

    def __init__(
        self, browser: Browser, url: str, *, viewport: ViewportSize = DESK, voice_processing: bool = True
    ) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page: Page = browser.new_page(viewport=viewport)
        self.page.set_default_timeout(DEADLINE_S * 1000)
        self.page.add_init_script(path=HERE / "spy.js")
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._on_console)
        self.page.goto(url)
        self.page.locator("#voice-processing").set_checked(voice_processing)

    def _on_console(self, line: ConsoleMessage) -> None:
        if line.type == "error":
            self.errors.append(line.text)

    def start(self) -> None:
        """Press Start and wait until the voice service listens."""
        self.page.click("#start")
        self.wait_for_state("listening")

    @property
    def state(self) -> str:
        return str(self.page.locator("#stage").get_attribute("data-state"))

    def wait_for_state(self, state: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until the page shows a state."""
        self.page.wait_for_selector(f'#stage[data-state="{state}"]', timeout=deadline_s * 1000)

    def wait_until_spoken(self) -> None:
        """Wait until an answer sounds, or has: a word takes less time than there is between two looks at the page."""
        self.until(lambda: "speaking" in self.spy("spy.states"), "an answer sounds")

    def text(self, selector: str) -> str:
        return str(self.page.text_content(selector))

    def spy(self, expression: str) -> Any:
        """Evaluate an expression in which `spy` is the spy."""
        return self.page.evaluate(f"(() => {{ const spy = window.spy; return {expression}; }})()")

    @property
    def alive(self) -> dict[str, int]:
        """How many tracks, contexts and sockets the page still holds."""
        return dict(self.spy("spy.alive()"))

    def recording(self) -> Recording:
        """Everything that the page has played so far."""
        made = self.spy("spy.recording()")
        assert made["missed"] == [], "the recorder missed something: its measure does not count"
        samples = np.frombuffer(base64.b64decode(made["audio"]), "<f4").astype(np.float64)
        return Recording(samples, int(made["rateHz"]))

    def wait(self, ms: float) -> None:
        """Let the page run. Playwright's page only hears events while the test waits in it."""
        self.page.wait_for_timeout(ms)

    def until(self, condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until a condition outside the page holds."""
        ends_at = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < ends_at, f"not within {deadline_s} s: {what}"
            self.wait(20)
