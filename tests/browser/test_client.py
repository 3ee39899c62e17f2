"""relay-client.js as a page of somebody else's uses it: no elements, only the module."""

from __future__ import annotations

from typing import Any

from tests.browser.chromium import VoicePage

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
