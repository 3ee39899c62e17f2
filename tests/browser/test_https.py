"""The page over relay's own TLS: the microphone, the WebSocket and the answer, all of it in real Chromium."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Playwright

from tests.browser.chromium import VoicePage, chromium
from tests.browser.sound import microphone_file
from tests.certificates import Certificate
from tests.processes import relay_process


def test_over_https_the_page_gets_its_microphone_and_speaks_over_wss(playwright: Playwright, tmp_path: Path) -> None:
    certificate = Certificate.issue(tmp_path)
    quiet = microphone_file(tmp_path / "quiet.wav", 20.0)
    with (
        relay_process("--upstream", "simulator", certificate=certificate) as relay,
        chromium(playwright, quiet, certificate=certificate) as browser,
    ):
        page = VoicePage(browser, relay.url)
        sockets: list[str] = []
        page.page.on("websocket", lambda socket: sockets.append(socket.url))
        page.start()
        assert page.page.evaluate("window.isSecureContext")
        assert sockets == [f"wss://127.0.0.1:{relay.port}/v1/realtime"]
        page.page.fill("#text", "good morning")
        page.page.keyboard.press("Enter")
        page.wait_until_spoken()
        assert page.errors == []
