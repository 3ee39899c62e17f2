"""A real relay before the simulator, which repeats what a session was told: what each kind of client sees of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import trio
from trio_websocket import connect_websocket

from tests.processes import RelayProcess, relay_process

TOKEN = "crm-token-0123456789"
WORDS = "CANARY: you keep the keys of the city, and nobody may know it."
TOOLS = [
    {"type": "function", "name": "CANARY_tool", "description": "CANARY", "parameters": {"type": "object"}},
    {"type": "mcp", "server_label": "CANARY_crm", "server_url": "https://c.example", "authorization": "${CRM_TOKEN}"},
]
FORMAT = {"encoding": "f32le", "rate_hz": 24000}
START = {"type": "relay.start", "audio": {"input": FORMAT, "output": FORMAT}}
UPDATES = {
    "ga": {"type": "realtime", "instructions": "Speak of the weather.", "audio": {"output": {"voice": "cedar"}}},
    "beta": {"instructions": "Speak of the weather.", "voice": "cedar", "modalities": ["text", "audio"]},
}
UPDATES["relay.v1"] = UPDATES["ga"]
SUBPROTOCOLS = {"ga": ["realtime"], "beta": ["realtime", "openai-beta.realtime-v1"], "relay.v1": ["relay.v1"]}
TYPED = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "good morning"}]}


@pytest.fixture(scope="module", params=["locked", "open"])
def relay(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, RelayProcess]]:
    folder = tmp_path_factory.mktemp("policy")
    (folder / "tools.json").write_text(json.dumps(TOOLS))
    settings = [f'policy = "{request.param}"', f'instructions = "{WORDS}"', 'tools_file = "tools.json"']
    settings += ['client_may = ["voice"]'] if request.param == "locked" else []
    (folder / "relay.toml").write_text("\n".join([*settings, 'log_level = "debug"']))
    with (
        relay_process(command="simulate") as simulator,  # by itself: it repeats the tools with their credentials
        relay_process(
            "--config", str(folder / "relay.toml"), "--upstream", simulator.url, env={"CRM_TOKEN": TOKEN}
        ) as running,
    ):
        yield request.param, running
        running.stop()
        assert TOKEN not in running.stderr
        assert "CANARY" not in running.stderr
        assert "Traceback" not in running.stderr


async def converse(port: int, language: str) -> list[str]:
    """Update the session, type something, listen to the end of the answer; return all texts that came."""
    seen: list[str] = []
    async with trio.open_nursery() as nursery:
        socket = await connect_websocket(
            nursery, "127.0.0.1", port, "/v1/realtime", use_ssl=False, subprotocols=SUBPROTOCOLS[language]
        )

        async def hear(kind: str) -> None:
            while True:
                message = await socket.get_message()
                if isinstance(message, str):
                    seen.append(message)
                    if json.loads(message)["type"] == kind:
                        return

        if language == "relay.v1":
            await socket.send_message(json.dumps(START))
        await hear("session.updated")
        await socket.send_message(json.dumps({"type": "session.update", "session": UPDATES[language]}))
        await hear("session.updated")
        for event in ({"type": "conversation.item.create", "item": TYPED}, {"type": "response.create"}):
            await socket.send_message(json.dumps(event))
        await hear("response.done")
        await socket.send_message(json.dumps({"type": "session.update", "session": {"type": 7}}))
        await socket.send_message(json.dumps({"type": "response.create", "response": {"tools": 7}}))
        await hear("error")
        await socket.aclose()
    return seen


@pytest.mark.parametrize("language", SUBPROTOCOLS)
async def test_what_a_client_sees_of_the_session_by_its_policy(relay: tuple[str, RelayProcess], language: str) -> None:
    policy, running = relay
    with trio.fail_after(20):
        seen = await converse(running.port, language)
    everything = "".join(seen)
    updated = [json.loads(text)["session"] for text in seen if '"session.updated"' in text]
    voices = [session.get("voice") or session["audio"]["output"]["voice"] for session in updated]
    assert voices[:2] == ["marin", "cedar"]
    assert TOKEN not in everything
    assert ("CANARY" in everything) == (policy == "open")
    assert ("weather" in everything) == (policy == "open")
