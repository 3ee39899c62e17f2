"""What the page promises to those who use it: text, log, privacy, keyboard, screen reader, phone, light and dark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import WebSocketRoute

from tests.browser.chromium import VoicePage
from tests.processes import RelayProcess


def test_typed_text_is_answered_aloud_and_can_be_interrupted(page: VoicePage) -> None:
    page.start()
    page.page.fill("#text", "Tell me something long, please: one two three four five six seven eight nine ten.")
    page.page.keyboard.press("Enter")
    page.wait_for_state("speaking")
    assert "Tell me something long" in page.text("#captions .user")
    page.page.click("#interrupt")
    page.wait_for_state("listening")
    assert int(page.text("#to-silence").removesuffix(" ms")) < 200


def test_typing_while_the_answer_sounds_cuts_it_short(page: VoicePage) -> None:
    page.start()
    for text in ("Tell me something long, please: one two three four five six seven eight.", "Now something else."):
        page.page.fill("#text", text)
        page.page.keyboard.press("Enter")
        page.page.locator("#captions .assistant").last.wait_for()
        page.wait_for_state("speaking")
    page.until(lambda: page.page.locator("#captions .assistant").count() == 2, "the second text is answered")
    page.page.locator("#captions .assistant.interrupted").wait_for()  # marked once it is known what was heard of it
    assert page.page.locator("#captions .assistant.interrupted").count() == 1
    assert page.text("#warnings") == ""


def test_texts_that_are_sent_in_one_breath_end_in_one_answer_to_the_last(page: VoicePage) -> None:
    page.start()
    page.page.evaluate("""() => {
        for (const text of ["the first of three sentences", "now the second", "here is the third"]) {
            document.querySelector("#text").value = text;
            document.querySelector("#text-form").requestSubmit();
        }
    }""")
    page.page.locator("#captions .assistant", has_text="here is the third").wait_for()
    page.wait_for_state("listening")
    assert page.page.locator("#captions .user").count() == 3
    assert page.page.locator("#captions .assistant").count() <= 2
    assert page.text("#warnings") == ""


def test_a_text_that_meets_an_answer_of_the_upstreams_own_is_answered_after_it(page: VoicePage) -> None:
    sent: list[dict[str, Any]] = []

    def serve(socket: WebSocketRoute) -> None:
        def answer(message: str | bytes) -> None:
            if isinstance(message, bytes):
                return
            event = json.loads(message)
            sent.append(event)
            if event["type"] == "relay.start":
                socket.send(json.dumps({"type": "relay.ready", "turn_detection": "server_vad"}))
            elif event["type"] == "response.create" and len(asked()) == 1:
                refusal = {"code": "conversation_already_has_active_response", "event_id": event["event_id"]}
                socket.send(json.dumps({"type": "response.created"}))
                socket.send(json.dumps({"type": "error", "error": refusal}))
            elif event["type"] == "relay.interrupt":
                socket.send(json.dumps({"type": "response.done"}))

        socket.on_message(answer)

    def asked() -> list[dict[str, Any]]:
        return [event for event in sent if event["type"] == "response.create"]

    page.page.route_web_socket("**/v1/realtime", serve)
    page.page.reload()
    page.start()
    page.page.fill("#text", "hello")
    page.page.keyboard.press("Enter")
    page.until(lambda: len(asked()) == 2, "the answer is asked for again")
    assert asked()[0]["event_id"] != asked()[1]["event_id"]
    assert page.text("#warnings") == ""


def test_a_microphone_chosen_while_it_connects_is_used(page: VoicePage) -> None:
    page.page.evaluate("""() => {
        document.querySelector("#start").click();
        document.querySelector("#voice-processing").click();
    }""")
    page.wait_for_state("listening")
    assert page.text("#warnings") == ""
    assert page.spy("spy.tracks.at(-1).getSettings().echoCancellation") is False
    assert page.alive["tracks"] == 1


def test_the_microphone_chosen_last_is_used_whichever_is_granted_last(page: VoicePage) -> None:
    page.start()
    page.page.evaluate("""() => {
        const ask = navigator.mediaDevices.getUserMedia;
        window.grants = [];
        navigator.mediaDevices.getUserMedia = async (wishes) => {
            await new Promise((resolve) => window.grants.push(resolve));
            return ask(wishes);
        };
    }""")
    page.page.select_option("#microphone", index=1)
    page.page.select_option("#microphone", index=2)
    chosen = page.page.input_value("#microphone")
    page.page.evaluate("window.grants[1]()")
    page.until(lambda: page.spy("spy.tracks.length") == 2, "the second one is granted")
    page.page.evaluate("window.grants[0]()")
    page.until(lambda: page.spy("spy.tracks.length") == 3, "the first one is granted")
    page.until(lambda: page.alive["tracks"] == 1, "only one is kept")
    used = page.spy("spy.tracks.find((track) => track.readyState === 'live').getSettings().deviceId")
    assert used == chosen


@pytest.mark.parametrize("text", ["a" * 40_000, "語" * 25_000], ids=["characters", "bytes"])
def test_text_that_is_too_long_stays_where_it_is_and_the_person_is_told(page: VoicePage, text: str) -> None:
    page.start()
    page.page.locator("#text").focus()
    page.page.keyboard.insert_text(text)
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector("#warnings [data-code=text_too_long]")
    assert f"{len(text)} characters" in page.text("#warnings")
    assert page.page.input_value("#text") == text, "nothing is cut off behind the person's back"
    page.page.fill("#text", text[:100])
    page.page.keyboard.press("Enter")
    page.wait_until_spoken()
    assert page.text("#warnings") == ""
    assert page.page.locator("#captions .user").count() == 1


def test_the_page_keeps_to_itself(page: VoicePage, relay: RelayProcess) -> None:
    page.start()
    page.page.fill("#text", "hello")
    page.page.keyboard.press("Enter")
    page.wait_until_spoken()
    page.page.click("#log-section summary")
    page.page.locator("#log summary").last.click()
    assert page.spy("spy.violations") == []
    assert page.errors == []
    assert {urlsplit(url).netloc for url in page.requests} == {f"127.0.0.1:{relay.port}"}
    assert page.page.locator("[style], [onclick], style, script:not([src])").count() == 0


def test_the_log_can_be_downloaded_and_holds_no_audio(page: VoicePage, tmp_path: Path) -> None:
    page.start()
    page.wait(2500)
    page.page.click("#log-section summary")
    with page.page.expect_download() as download:
        page.page.click("#download")
    path = tmp_path / "log.json"
    download.value.save_as(path)
    rows = json.loads(path.read_text())
    listed = [row["type"] for row in rows]
    assert listed[:2] == ["client connecting", "relay.start"]
    assert {"session.created", "relay.ready", "per second"} <= set(listed)
    assert not {"relay.level", "relay.played"} & set(listed), "what comes ten times a second is counted"
    counted = [row["data"]["last"]["→ audio"]["frames"] for row in rows if row["type"] == "per second"]
    assert counted[-1] == pytest.approx(50, abs=5)
    assert page.page.locator("#log li").count() == len(rows)
    assert page.spy("spy.violations") == []


def test_everything_works_from_the_keyboard(page: VoicePage) -> None:
    keyboard = page.page.keyboard
    page.page.locator("#start").focus()
    keyboard.press("Enter")
    page.wait_for_state("listening")
    assert focused(page) == "stop", "the focus moves on when its button is disabled"
    reached = []
    for _ in range(12):
        keyboard.press("Tab")
        reached.append(focused(page))
    for control in ("mute", "text", "send", "microphone", "voice-processing"):
        assert control in reached
    page.page.locator("#stop").focus()
    keyboard.press("Space")
    page.wait_for_state("idle")
    assert focused(page) == "start"


def test_interrupting_from_the_keyboard_keeps_the_focus(page: VoicePage) -> None:
    page.start()
    page.page.fill("#text", "Tell me something long, please: one two three four five six seven eight nine ten.")
    page.page.keyboard.press("Enter")
    page.wait_for_state("speaking")
    page.page.locator("#interrupt").focus()
    page.page.keyboard.press("Enter")
    page.wait_for_state("listening")
    assert focused(page) == "interrupt"
    page.page.keyboard.press("Tab")
    assert focused(page) != "interrupt"
    page.until(lambda: page.page.is_disabled("#interrupt"), "nothing is left to interrupt")


def test_every_control_has_a_name_and_every_change_is_spoken(page: VoicePage) -> None:
    tree = page.page.locator("body").aria_snapshot()
    for part in ('button "Start"', 'button "Stop"', 'button "Mute"', 'textbox "Or type"', 'combobox "Microphone"'):
        assert part in tree
    assert 'checkbox "Voice processing"' in tree
    assert 'meter "You"' in tree
    assert 'meter "Answer"' in tree
    assert page.page.locator("#state").get_attribute("role") == "status"
    assert page.page.locator("#banner-announcer").get_attribute("aria-live") == "polite"
    assert page.page.locator("#announcer").get_attribute("aria-live") == "polite"


def test_a_screen_reader_is_told_states_and_warnings_but_not_every_level(page: VoicePage) -> None:
    page.start()
    spoken = page.page.evaluate("""() => [...document.querySelectorAll("[role=status], [aria-live], output")]
        .filter((element) => !element.closest("[aria-hidden=true]") && getComputedStyle(element).display !== "none")
        .map((element) => element.id)""")
    assert sorted(spoken) == ["announcer", "banner-announcer", "state", "warnings"], (
        "rendered before there is anything to say"
    )
    regions = page.page.get_by_role("region", name="Captions")
    assert regions.count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read_in_light_and_dark(page: VoicePage, scheme: str) -> None:
    page.page.set_viewport_size({"width": 360, "height": 740})
    page.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.page.evaluate(CONTRAST) == []


CONTRAST = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgba = (color) => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const ground = (element) => {
        for (; element; element = element.parentElement) {
            const color = rgba(getComputedStyle(element).backgroundColor);
            if (color[3] === 255) return color;
        }
        return [255, 255, 255];
    };
    const tooFaint = [];
    for (const element of document.querySelectorAll("h1, h2, p, label, dt, dd, button, summary, .meter-row *")) {
        if (element.disabled || !element.offsetParent || !element.textContent.trim()) continue;
        const [a, b] = [light(rgba(getComputedStyle(element).color)), light(ground(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) tooFaint.push(`${element.tagName} ${element.id} ${contrast.toFixed(2)}`);
    }
    return tooFaint;
}"""


def focused(page: VoicePage) -> str:
    """Give the id of what has the focus."""
    return str(page.page.evaluate("document.activeElement.id"))
