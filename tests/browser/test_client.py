"""relay-client.js as a page of somebody else's uses it: no elements, only the module."""

from __future__ import annotations

import signal
from typing import Any

from playwright.sync_api import Browser

from tests.browser.chromium import VoicePage
from tests.processes import relay_process

NOTHING = {"tracks": 0, "contexts": 0, "sockets": 0}


def run(page: VoicePage, function: str) -> Any:
    """Call a JavaScript function with RelayClient and the list of what `ended` said."""
    return page.page.evaluate(f"""async () => {{
        const {{ RelayClient }} = await import("/static/relay-client.js");
        return ({function})(RelayClient);
    }}""")


def test_what_is_muted_before_the_start_is_silent_from_the_first_sample(page: VoicePage) -> None:
    muted, enabled = run(
        page,
        """async (RelayClient) => {
            const client = new RelayClient();
            client.mute();
            await client.start();
            const found = [client.muted, spy.tracks.at(-1).enabled];
            client.stop();
            return found;
        }""",
    )
    assert muted is True
    assert enabled is False


def test_whatever_keeps_it_from_starting_is_a_typed_error(page: VoicePage) -> None:
    error = run(
        page,
        """async (RelayClient) => {
            const client = new RelayClient({ url: "gopher://example" });
            const { name, code } = await client.start().catch((error) => error);
            return { name, code, state: client.state };
        }""",
    )
    assert error == {"name": "RelayError", "code": "start_failed", "state": "idle"}
    page.until(lambda: page.alive == NOTHING, "everything is given back")


def test_a_client_that_is_stopped_as_it_opens_says_nothing_after_its_end(page: VoicePage) -> None:
    said = run(
        page,
        """async (RelayClient) => {
            const client = new RelayClient();
            const said = [];
            client.addEventListener("state", ({ detail }) => {
                if (detail.state === "open") client.stop();
            });
            for (const name of ["ended", "ready"]) client.addEventListener(name, () => said.push(name));
            await client.start().catch(() => said.push("not started"));
            return said;
        }""",
    )
    assert said == ["ended", "not started"]


def test_whoever_does_not_await_the_start_gets_no_stray_rejection(page: VoicePage) -> None:
    code = run(
        page,
        """(RelayClient) => new Promise((resolve) => {
            const client = new RelayClient({ url: "gopher://example" });
            client.addEventListener("ended", ({ detail }) => resolve(detail.reason.code));
            client.start();
        })""",
    )
    page.wait(100)
    assert code == "start_failed"
    assert page.errors == []


def test_a_server_that_hangs_is_not_waited_for_without_end(browser: Browser) -> None:
    with relay_process("--upstream", "simulator") as hanging:
        page = VoicePage(browser, hanging.url)
        hanging.process.send_signal(signal.SIGSTOP)
        page.page.evaluate("window.setTimeout = ((set) => (run, ms) => set(run, ms / 20))(window.setTimeout)")
        page.page.click("#start")
        page.page.wait_for_selector("#banner[data-code=audio_unreachable]", timeout=3000)
        page.until(lambda: page.alive == NOTHING, "everything is given back")
        page.page.context.close()
