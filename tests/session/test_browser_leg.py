"""The browser leg by itself (relay/browser.py)."""

from __future__ import annotations

import pytest

from relay.browser import utf8_bytes


@pytest.mark.parametrize("text", ["", "plain", "schön", "😀" * 1_000])
def test_what_waits_for_a_browser_is_counted_as_it_will_be_sent(text: str) -> None:
    assert utf8_bytes(text) == len(text.encode())


def test_half_a_character_is_counted_too() -> None:
    assert utf8_bytes("\ud83d") == 3
