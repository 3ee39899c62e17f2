"""How a session ends or gets into trouble: everything is given back, and the person is told why."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright

from tests.browser.chromium import VoicePage, chromium
from tests.browser.sound import MICROPHONE_RATE_HZ, microphone_file, speech
from tests.browser.upstream_tap import upstream_tap
from tests.processes import RelayProcess, relay_process

NOTHING = {"tracks": 0, "contexts": 0, "sockets": 0}
RUNNING = {"tracks": 1, "contexts": 1, "sockets": 1}


# -- everything is given back ------------------------------------------------------------------------------------------


def test_stop_gives_back_microphone_sound_and_socket(page: VoicePage) -> None:
    page.start()
    assert page.alive == RUNNING
    page.page.click("#stop")
    page.wait_for_state("idle")
    page.until(lambda: page.alive == NOTHING, "everything is given back")
    assert page.page.is_hidden("#banner"), "a person who pressed Stop needs no error"
    bars = [bar.get_attribute("width") for bar in page.page.locator("rect.level").all()]
    assert bars == ["0.0%", "0.0%"], "what has ended has no level"


def test_the_end_of_the_socket_stops_everything_and_says_so(page: VoicePage) -> None:
    page.start()
    page.spy("spy.sockets.at(-1).close(4000)")
    page.page.wait_for_selector("#banner")
    page.until(lambda: page.alive == NOTHING, "everything is given back")
    assert page.page.is_enabled("#start")


def test_the_end_of_the_microphone_stops_everything_and_says_so(page: VoicePage) -> None:
    page.start()
    page.spy("spy.tracks.at(-1).dispatchEvent(new Event('ended'))")  # as when it is unplugged
    page.page.wait_for_selector("#banner")
    assert "microphone" in page.text("#banner .message")
    page.until(lambda: page.alive == NOTHING, "everything is given back")


def test_leaving_the_page_ends_the_session(page: VoicePage) -> None:
    page.start()
    page.page.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide'))")
    page.until(lambda: page.alive == NOTHING, "everything is given back")


def test_stop_while_it_connects_leaves_nothing_behind(page: VoicePage) -> None:
    page.page.evaluate("document.querySelector('#start').click(); document.querySelector('#stop').click()")
    page.wait_for_state("idle")
    page.until(lambda: page.alive == NOTHING, "everything is given back")
    page.wait(500)
    assert page.alive == NOTHING, "nor does anything arrive late"


def test_a_microphone_that_is_granted_after_stop_is_given_back(page: VoicePage) -> None:
    page.page.evaluate("""() => {
        const ask = navigator.mediaDevices.getUserMedia;
        navigator.mediaDevices.getUserMedia = async (wishes) => {
            window.prompted = true;
            await new Promise((resolve) => (window.grant = resolve));
            return ask(wishes);
        };
    }""")
    page.page.click("#start")
    page.until(lambda: page.page.evaluate("window.prompted"), "the person is asked")
    page.page.click("#stop")
    page.page.evaluate("window.grant()")
    page.until(lambda: page.spy("spy.tracks.length") == 1, "the microphone is granted")
    page.until(lambda: page.alive == NOTHING, "everything is given back")


def test_a_session_can_be_started_again(page: VoicePage) -> None:
    for _ in range(3):
        page.start()
        page.page.click("#stop")
        page.wait_for_state("idle")
    page.until(lambda: page.alive == NOTHING, "everything is given back")


def test_a_refused_microphone_is_explained_and_opens_no_connection(playwright: Playwright, relay: RelayProcess) -> None:
    with chromium(playwright, allow=False) as strict:
        page = VoicePage(strict, relay.url)
        page.page.click("#start")
        page.page.wait_for_selector("#banner")
        assert "may not use the microphone" in page.text("#banner .message")
        assert page.spy("spy.sockets.length") == 0
        page.until(lambda: page.alive == NOTHING, "everything is given back")


# -- what went wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [b"\x01\x00\x00", b"\x01" + bytes(16), "not JSON", '{"no": "type"}'])
def test_a_broken_message_ends_the_session_with_a_reason(page: VoicePage, message: str | bytes) -> None:
    page.page.route_web_socket("**/v1/realtime", lambda socket: socket.on_message(lambda _: socket.send(message)))
    page.page.reload()
    page.page.click("#start")
    page.page.wait_for_selector("#banner[data-code^=bad_]")
    assert page.text("#banner .message").startswith("The server sent ")
    page.until(lambda: page.alive["tracks"] == page.alive["contexts"] == 0, "everything is given back")


def test_a_relay_that_is_gone_is_told_as_such(browser: Browser) -> None:
    with relay_process("--upstream", "simulator") as leaving:
        page = VoicePage(browser, leaving.url)
    page.page.click("#start")
    page.page.wait_for_selector("#banner")
    assert "Check that the server runs" in page.text("#banner .message")
    page.until(lambda: page.alive == NOTHING, "everything is given back")
    page.page.context.close()


def test_a_microphone_of_zeros_is_warned_of(playwright: Playwright, relay: RelayProcess, tmp_path: Path) -> None:
    with chromium(playwright, microphone_file(tmp_path / "zeros.wav", 10.0, noise=False)) as browser:
        page = VoicePage(browser, relay.url, voice_processing=False)
        page.start()
        page.page.wait_for_selector("#warnings [data-code=microphone_silent]")
        assert "only silence" in page.text("#warnings")
        assert page.state == "listening", "a warning ends nothing"


def test_mute_is_no_reason_for_a_warning(page: VoicePage) -> None:
    page.start()
    page.page.click("#mute")
    assert page.page.get_attribute("#mute", "aria-pressed") == "true"
    page.wait(3000)
    assert page.text("#warnings") == ""
    assert page.text("#input-meter + .value") == "silent"


def test_a_connection_that_takes_no_voice_drops_it_and_says_so(page: VoicePage) -> None:
    page.start()
    page.page.evaluate("Object.defineProperty(WebSocket.prototype, 'bufferedAmount', { get: () => 1_000_000 })")
    page.page.wait_for_selector("#warnings [data-code=audio_dropped]")
    assert "too slow" in page.text("#warnings")
    page.page.click("#warnings button")
    page.wait(300)
    assert page.page.locator("#warnings p").count() == 0, "one warning per congestion, not one per frame"
    assert page.state == "listening"


TOO_SHORT = "b => { for (const t of ['keydown', 'keyup']) b.dispatchEvent(new KeyboardEvent(t, { key: ' ' })) }"
"""Too short to be speech, however busy the machine is."""


def test_push_to_talk_ends_a_turn_once(playwright: Playwright, tmp_path: Path) -> None:
    sentence = 0.5 * speech(MICROPHONE_RATE_HZ)
    microphone = microphone_file(tmp_path / "talk.wav", sentence, sentence, sentence)
    with upstream_tap() as upstream:
        upstream.open()
        serve = relay_process("--upstream", upstream.url, "--turn-detection", "none")
        with serve as relay, chromium(playwright, microphone) as browser:
            page = VoicePage(browser, relay.url, voice_processing=False)
            page.start()
            button = page.page.locator("#talk")
            assert page.page.is_hidden("#mute")
            button.click(button="right", delay=300)  # opens a menu; it may never hear the button's release
            button.evaluate(TOO_SHORT)
            button.dispatch_event("keydown", {"key": " "})
            page.wait(700)
            button.dispatch_event("pointerdown", {"button": 0})  # held already: what was said so far must stay
            page.wait(800)
            button.dispatch_event("keyup", {"key": " "})
            page.wait_for_state("speaking")
    assert len(upstream.sent("input_audio_buffer.clear")) == 2
    assert len(upstream.sent("input_audio_buffer.commit")) == 1
    assert len(upstream.sent("response.create")) == 1
    assert upstream.received("error") == []
