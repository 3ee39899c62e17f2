"""What a handshake makes of a client: its language, the subprotocol it is answered, and what becomes of its key."""

from __future__ import annotations

import json

import pytest
import trio
from trio_websocket import connect_websocket

from relay.app import answered_subprotocol, asked_language
from tests.processes import relay_process

CANARY = "ek_canary_0123456789"
KEY = f"openai-insecure-api-key.{CANARY}"


@pytest.mark.parametrize(
    ("offered", "headers", "language"),
    [
        (["relay.v1"], [], "relay.v1"),
        (["realtime", "relay.v1"], ["realtime=v1"], "relay.v1"),
        ([], [], "openai"),
        (["realtime", KEY, "openai-agents-sdk.0.20.0"], [], "openai"),
        ([], ["assistants=v2"], "openai"),
        ([], ["realtime=v10"], "openai"),
        ([], ["realtime=v1"], "openai-beta"),
        ([], ["assistants=v2, realtime=v1"], "openai-beta"),
        ([], ["assistants=v2", "realtime=v1"], "openai-beta"),
        (["realtime", KEY, "openai-beta.realtime-v1"], [], "openai-beta"),
    ],
)
def test_the_handshake_says_the_language(offered: list[str], headers: list[str], language: str) -> None:
    assert asked_language(offered, headers) == language


@pytest.mark.parametrize(
    ("offered", "answer"),
    [
        ([], None),
        (["realtime", "relay.v1"], "relay.v1"),
        (["realtime", KEY], "realtime"),
        ([KEY, "openai-beta.realtime-v1", "realtime"], "realtime"),
        (["openai-organization.o", "openai-project.p", "realtime", "openai-agents-sdk.1"], "realtime"),
    ],
)
def test_one_of_our_own_names_is_selected_and_never_a_key(offered: list[str], answer: str | None) -> None:
    assert answered_subprotocol(offered) == answer


@pytest.mark.parametrize(
    ("offered", "headers", "first"),
    [
        (["realtime", KEY], [], ["session.created", "session.updated"]),
        (["realtime", KEY, "openai-beta.realtime-v1"], [], ["session.created", "conversation.created"]),
        ([], [("OpenAI-Beta", "realtime=v1")], ["session.created", "conversation.created"]),
    ],
)
async def test_a_client_hears_its_dialect_and_its_key_leaves_no_trace(
    offered: list[str], headers: list[tuple[str, str]], first: list[str]
) -> None:
    named = [*headers, ("Authorization", f"Bearer {CANARY}"), ("api-key", CANARY)]
    with relay_process("--upstream", "simulator", "--log-level", "debug") as relay, trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            socket = await connect_websocket(
                nursery,
                "127.0.0.1",
                relay.port,
                "/v1/realtime?model=gpt-4o-realtime-preview",
                use_ssl=False,
                subprotocols=offered,
                extra_headers=[(name.encode(), value.encode()) for name, value in named],
            )
            assert socket.subprotocol == (offered[0] if offered else None)
            told = [await socket.get_message() for _ in first]
            assert [json.loads(text)["type"] for text in told] == first
            await socket.aclose()
        relay.stop()
        assert CANARY not in relay.stderr
        assert CANARY not in str(told)
