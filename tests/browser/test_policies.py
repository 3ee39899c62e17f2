"""The page under each policy, by its short path: a turn of push-to-talk is spoken, written down, and answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Playwright

from tests.browser.chromium import VoicePage, chromium
from tests.browser.sound import MICROPHONE_RATE_HZ, microphone_file, speech
from tests.processes import relay_process


@pytest.mark.parametrize("policy", ["locked", "open"])
def test_a_turn_is_spoken_and_answered(playwright: Playwright, tmp_path: Path, policy: str) -> None:
    sentence = 0.5 * speech(MICROPHONE_RATE_HZ)
    microphone = microphone_file(tmp_path / "talk.wav", sentence, sentence, sentence)
    serve = relay_process("--upstream", "simulator", "--policy", policy, "--turn-detection", "none")
    with serve as relay, chromium(playwright, microphone) as browser:
        page = VoicePage(browser, relay.url, voice_processing=False)
        page.start()
        button = page.page.locator("#talk")
        button.dispatch_event("keydown", {"key": " "})
        page.wait(600)
        button.dispatch_event("keyup", {"key": " "})
        page.wait_until_spoken()
        page.page.wait_for_selector("#captions .user")
        page.page.wait_for_selector("#captions .assistant")
        assert page.text("#warnings") == ""
        assert page.errors == []
