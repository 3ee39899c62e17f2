"""What a person sees when a session is lost: the page says so, comes back by itself, and keeps what they have.

When to try is tested in test_reconnect_strategy.py; here chance is held down, so that nobody waits for the jitter, or
up, so that nothing happens by itself.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from playwright.sync_api import Browser, WebSocketRoute

from tests.browser.chromium import VoicePage
from tests.browser.upstream_tap import free_port, upstream_tap
from tests.processes import RelayProcess, relay_process

NOTHING = {"tracks": 0, "contexts": 0, "sockets": 0}
SOON, LATE = 0.02, 0.999
LONG_TEXT = "Tell me something long, please: one two three four five six seven eight nine ten."


@pytest.fixture
def server() -> Iterator[Server]:
    with ExitStack() as stack:
        yield Server(stack)


class Server:
    """A relay that is killed and started again on its port."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._port = free_port()
        self.process = self.start()

    def start(self) -> RelayProcess:
        serve = relay_process("--upstream", "simulator", "--port", str(self._port))
        self.process = self._stack.enter_context(serve)
        return self.process

    def kill(self) -> None:
        self.process.stop(signal.SIGKILL)


@contextmanager
def page_of(browser: Browser, url: str, *, chance: float) -> Iterator[VoicePage]:
    """Open the page, with Math.random held at `chance`."""
    page = VoicePage(browser, url)
    page.page.evaluate(f"Math.random = () => {chance}")
    yield page
    page.page.context.close()


def write(page: VoicePage, text: str) -> None:
    page.page.fill("#text", text)
    page.page.keyboard.press("Enter")
    page.wait_for_state("speaking")


def wait_for_phase(page: VoicePage, phase: str) -> None:
    page.page.wait_for_selector(f"#banner[data-phase={phase}]")


def attempts(page: VoicePage) -> int:
    """How many sockets the page has opened so far."""
    return int(page.spy("spy.sockets.length"))


# -- it comes back -----------------------------------------------------------------------------------------------------


def test_a_killed_server_that_is_back_is_talked_to_again_with_microphone_and_captions_kept(
    browser: Browser, server: Server
) -> None:
    with page_of(browser, server.process.url, chance=SOON) as page:
        page.start()
        write(page, LONG_TEXT)
        server.kill()
        wait_for_phase(page, "waiting")
        told = page.text("#banner-announcer")
        assert "was lost" in told or "cannot be reached" in told  # which it says once it has tried again
        assert page.alive == {"tracks": 1, "contexts": 1, "sockets": 0}
        page.until(lambda: page.spy("spy.output.at(-1).samples.every((sample) => sample === 0)"), "it falls silent")
        server.start()
        page.wait_for_state("listening")
        assert page.page.is_hidden("#banner")
        assert "is not remembered" in page.text("#captions .note")
        write(page, "Are you there again?")
        assert page.page.locator("#captions .user").all_text_contents() == [
            f"You{LONG_TEXT}",
            "YouAre you there again?",
        ]
        assert page.spy("[spy.tracks.length, spy.contexts.length]") == [1, 1], "nobody was asked again"
        recording = page.recording().samples
    loud = np.flatnonzero(np.abs(recording) > 1e-4)
    broke_off = loud[np.argmax(np.diff(loud))]
    assert np.abs(recording[broke_off - 20 : broke_off]).max() < 0.05, "what was heard last faded, without a click"


def test_a_restart_is_waited_for_as_long_as_the_server_says(browser: Browser, server: Server) -> None:
    with page_of(browser, server.process.url, chance=SOON) as page:
        page.start()
        server.process.stop(signal.SIGTERM)
        wait_for_phase(page, "waiting")
        assert page.text("#banner .message").startswith("The server is restarting. It is tried again by itself")
        assert page.text("#banner .countdown").startswith("Next try in ")
        server.start()
        page.wait_for_state("listening")


def test_an_upstream_that_is_down_is_waited_for_from_the_start(browser: Browser) -> None:
    with ExitStack() as stack:
        upstream = stack.enter_context(upstream_tap())
        relay = stack.enter_context(relay_process("--upstream", upstream.url))
        page = stack.enter_context(page_of(browser, relay.url, chance=SOON))
        page.page.click("#start")
        wait_for_phase(page, "waiting")
        assert "cannot be reached" in page.text("#banner .message")
        upstream.open()
        page.wait_for_state("listening")
        assert upstream.connections == 1


def test_a_place_that_becomes_free_is_taken(browser: Browser) -> None:
    with ExitStack() as stack:
        small = stack.enter_context(relay_process("--upstream", "simulator", "--max-sessions", "1"))
        first, second = (stack.enter_context(page_of(browser, small.url, chance=SOON)) for _ in range(2))
        first.start()
        second.page.click("#start")
        wait_for_phase(second, "waiting")
        assert "All voice sessions are in use" in second.text("#banner .message")
        first.page.click("#stop")
        first.until(lambda: first.alive == NOTHING, "the place is free")
        second.page.click("#banner .retry")
        second.wait_for_state("listening")


def test_a_network_that_is_back_is_used_before_the_countdown_ends(browser: Browser, server: Server) -> None:
    with page_of(browser, server.process.url, chance=LATE) as page:
        page.start()
        page.page.context.set_offline(True)
        page.spy("spy.sockets.at(-1).dispatchEvent(new CloseEvent('close', { code: 1006 }))")  # emulation cuts nothing
        wait_for_phase(page, "waiting")
        assert page.text("#banner .countdown") == "Next try in 10 s."
        page.page.context.set_offline(False)
        page.wait_for_state("listening", deadline_s=5)


# -- the person decides ------------------------------------------------------------------------------------------------


def test_the_person_can_try_now_or_stop_from_the_keyboard(browser: Browser, server: Server) -> None:
    with page_of(browser, server.process.url, chance=LATE) as page:
        page.start()
        server.kill()
        wait_for_phase(page, "waiting")
        server.start()
        page.page.locator("#banner .retry").press("Enter")
        page.wait_for_state("listening")
        assert page.page.evaluate("document.activeElement.id") == "stop", "the focus is not lost with the banner"
        server.kill()
        wait_for_phase(page, "waiting")
        assert page.page.get_attribute("#banner-announcer", "aria-live") == "polite"
        assert page.page.locator("#banner[role=status], #banner [aria-live]").count() == 0, "no second is read out"
        page.page.locator("#banner .stop").press("Space")
        page.wait_for_state("idle")
        assert page.page.is_hidden("#banner")
        assert page.page.evaluate("document.activeElement.id") == "start"
        page.until(lambda: page.alive == NOTHING, "everything is given back")


# -- and it ends -------------------------------------------------------------------------------------------------------


def test_a_limit_that_is_reached_is_the_end(browser: Browser) -> None:
    with ExitStack() as stack:
        strict = stack.enter_context(relay_process("--upstream", "simulator", env={"RELAY_MAX_SESSION_S": "1"}))
        page = stack.enter_context(page_of(browser, strict.url, chance=SOON))
        page.page.click("#start")
        wait_for_phase(page, "ended")
        assert "the length that this server allows" in page.text("#banner .message")
        page.wait(500)
        assert attempts(page) == 1
        assert page.alive == NOTHING


def test_a_client_that_has_tried_for_long_stops_and_says_so(page: VoicePage) -> None:
    knocks: list[WebSocketRoute] = []

    def turn_away(socket: WebSocketRoute) -> None:
        knocks.append(socket)
        socket.on_message(lambda _: socket.close(code=1013))

    page.page.route_web_socket("**/v1/realtime", turn_away)
    page.page.reload()
    page.page.evaluate("Math.random = () => 0")
    page.page.click("#start")
    wait_for_phase(page, "ended")
    assert "Tried 20 times" in page.text("#banner .message")
    assert page.text("#banner .retry") == "Try again"
    assert len(knocks) == 21
    page.until(lambda: page.alive["tracks"] == page.alive["contexts"] == 0, "everything is given back")


# -- the client by itself ----------------------------------------------------------------------------------------------


def test_the_client_says_what_it_does_and_keeps_no_sound_for_later(browser: Browser, server: Server) -> None:
    with page_of(browser, server.process.url, chance=SOON) as page:
        page.page.evaluate("""async () => {
            const { RelayClient } = await import("/static/relay-client.js");
            const client = (window.client = new RelayClient());
            const said = (window.said = []);
            window.framesWhileWaiting = 0;
            client.addEventListener("state", ({ detail }) => said.push(detail.state));
            client.addEventListener("waiting", ({ detail }) => said.push(detail));
            client.addEventListener("ended", ({ detail }) => said.push(detail));
            client.addEventListener("frame", () => (window.framesWhileWaiting += client.state === "waiting"));
            client.mute();
            await client.start();
        }""")
        server.kill()
        page.until(lambda: page.page.evaluate("client.state === 'waiting'"), "client.state === 'waiting'")
        server.start()
        page.until(lambda: page.page.evaluate("client.state === 'open'"), "client.state === 'open'")
        assert page.page.evaluate("client.muted"), "whoever is muted stays so"
        page.page.evaluate("client.stop()")
        connecting, opened, waiting, lost, *more, ended = page.page.evaluate("""said.map(
            (one) => one.reason ? { ...one, reason: one.reason.code } : one)""")
        assert [connecting, opened, waiting] == ["connecting", "open", "waiting"]
        assert lost["reason"] == "connection_lost"
        assert (lost["attempt"], lost["retry_in_ms"]) == (1, pytest.approx(SOON * 10_000, abs=50))
        assert more[-2:] == ["open", "idle"]
        assert ended == {"reason": "stopped", "final": True, "attempts": ended["attempts"]}
        assert page.page.evaluate("framesWhileWaiting") == 0


def test_a_client_that_shall_not_reconnect_does_not(browser: Browser, server: Server) -> None:
    with page_of(browser, server.process.url, chance=SOON) as page:
        page.page.evaluate("""async () => {
            const { RelayClient } = await import("/static/relay-client.js");
            const client = new RelayClient({ reconnect: false });
            client.addEventListener("ended", ({ detail }) => (window.ended = detail));
            await client.start();
        }""")
        server.kill()
        page.until(lambda: page.page.evaluate("window.ended"), "window.ended")
        assert page.page.evaluate("[ended.reason.code, ended.final, ended.attempts]") == ["connection_lost", False, 0]
        page.until(lambda: page.alive == NOTHING, "everything is given back")
