"""Each service from outside: where it listens, which key it wants and how it refuses, over a real socket.

The facts are repeated here, so that a slip of the pen in faces.py is found.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from click import Choice
from trio_websocket import ConnectionRejected

from relay import cli
from relay.simulator import SimulatorOptions, serve_simulator
from relay.simulator.faces import FACES
from tests.simulator.test_server import connected, ended, simulator

KEY = "secret-1"
BEARER = [(b"Authorization", b"Bearer secret-1")]
WRONG = [(b"Authorization", b"Bearer secret-2")]
PATHS = {
    "openai": "/v1/realtime",
    "azure": "/openai/v1/realtime",
    "xai": "/v1/realtime",
    "qwen": "/api-ws/v1/realtime",
    "localai": "/v1/realtime",
    "speaches": "/v1/realtime",
}
MODELS = {
    "openai": "gpt-realtime-2.1",
    "azure": "my-deployment",
    "xai": "grok-voice-latest",
    "qwen": "qwen3-omni-flash-realtime",
    "localai": "gpt-realtime",
    "speaches": "gpt-4o-mini",
}
FIRST = {
    "openai": ["session.created"],
    "azure": ["session.created"],
    "xai": ["conversation.created", "session.created", "ping"],
    "qwen": ["session.created", "conversation.created"],
    "localai": ["session.created"],
    "speaches": ["session.created", "conversation.created"],
}


async def first_events(profile: str, query: str = "", **options: Any) -> list[str]:
    async with (
        simulator(profile=profile, key=KEY) as url,
        connected(url, f"model={MODELS[profile]}{query}", **options) as peer,
    ):
        return [json.loads(await peer.websocket.get_message())["type"] for _ in FIRST[profile]]


async def refusal(profile: str, query: str, path: str = "", **options: Any) -> ConnectionRejected:
    async with simulator(profile=profile, key=KEY) as url:
        url = url.replace(PATHS[profile], path) if path else url
        with pytest.raises(ConnectionRejected) as rejected:
            async with connected(url, query, **options):
                pass
    return rejected.value


async def denial(profile: str, query: str, **options: Any) -> tuple[list[dict[str, Any]], int, str | None]:
    """What was said before the close, and the close."""
    async with simulator(profile=profile, key=KEY) as url, connected(url, query, **options) as peer:
        messages = await peer.rest()
    said = [json.loads(message) for message in messages if isinstance(message, str)]
    return said, *ended(messages)


def test_all_faces_are_offered_on_the_command_line() -> None:
    option = next(each for each in cli.simulate.params if each.name == "profile")
    assert isinstance(option.type, Choice)
    assert tuple(option.type.choices) == tuple(FACES) == tuple(PATHS)
    assert option.default == SimulatorOptions().profile == "openai"


@pytest.mark.parametrize("profile", PATHS)
async def test_a_client_with_the_key_and_a_model_gets_in_at_the_path(profile: str) -> None:
    async with simulator(profile=profile) as url:
        assert url.endswith(PATHS[profile])
    assert await first_events(profile, extra_headers=BEARER) == FIRST[profile]


@pytest.mark.parametrize("profile", PATHS)
async def test_every_other_path_is_a_404(profile: str) -> None:
    elsewhere = "/v1/realtime" if PATHS[profile] != "/v1/realtime" else "/openai/v1/realtime"
    assert (await refusal(profile, "model=gpt-realtime", elsewhere, extra_headers=BEARER)).status_code == 404


@pytest.mark.parametrize("profile", ["azure", "xai", "qwen"])
@pytest.mark.parametrize("headers", [WRONG, []])
async def test_a_wrong_key_fails_at_the_handshake(profile: str, headers: list[tuple[bytes, bytes]]) -> None:
    assert (await refusal(profile, f"model={MODELS[profile]}", extra_headers=headers)).status_code == 401


async def test_openai_tells_of_a_wrong_key_after_the_101_and_closes_3000() -> None:
    said, code, reason = await denial("openai", "model=gpt-realtime-2.1", extra_headers=WRONG)
    assert [event["type"] for event in said] == ["error"]
    assert str(said[0]["event_id"]).startswith("event_")
    assert (code, reason) == (3000, "invalid_request_error.invalid_api_key")


async def test_speaches_closes_1008_without_a_word() -> None:
    said, code, _ = await denial("speaches", "model=gpt-4o-mini", extra_headers=WRONG)
    assert (said, code) == ([], 1008)


async def test_localai_wants_no_key() -> None:
    assert await first_events("localai") == ["session.created"]


@pytest.mark.parametrize(
    ("profile", "query", "options"),
    [
        ("azure", "", {"extra_headers": [(b"api-key", b"secret-1")]}),
        ("azure", "&api-key=secret-1", {}),
        ("speaches", "&api_key=secret-1", {}),
        ("xai", "", {"subprotocols": ["xai-client-secret.secret-1"]}),
        ("openai", "", {"subprotocols": ["realtime", "openai-insecure-api-key.secret-1"]}),
    ],
)
async def test_a_key_is_taken_from_where_the_service_takes_it(
    profile: str, query: str, options: dict[str, Any]
) -> None:
    assert await first_events(profile, query, **options) == FIRST[profile]


@pytest.mark.parametrize("profile", ["xai", "qwen"])
async def test_azures_header_is_a_key_nowhere_else(profile: str) -> None:
    headers = [(b"api-key", b"secret-1")]
    assert (await refusal(profile, f"model={MODELS[profile]}", extra_headers=headers)).status_code == 401


async def test_azure_refuses_an_api_version() -> None:
    query = "model=my-deployment&api-version=2024-10-01-preview"
    assert (await refusal("azure", query, extra_headers=BEARER)).status_code == 400


async def test_localai_says_that_it_cannot_load_a_model_instead_of_creating_a_session() -> None:
    said, code, _ = await denial("localai", "model=no-such-pipeline")
    assert [(event["type"], event["error"]["code"]) for event in said] == [("error", "model_load_error")]
    assert code == 1011


@pytest.mark.parametrize("profile", ["openai", "xai", "qwen"])
async def test_a_model_of_another_service_is_refused(profile: str) -> None:
    said, code, _ = await denial(profile, "model=llama", extra_headers=BEARER)
    assert said[0]["error"]["code"] == "invalid_model"
    assert code == 4000


@pytest.mark.parametrize("profile", ["qwen", "speaches", "azure", "localai", "xai"])
async def test_only_openai_refuses_the_header_of_the_beta(profile: str) -> None:
    headers = [*BEARER, (b"OpenAI-Beta", b"realtime=v1")]
    assert await first_events(profile, extra_headers=headers) == FIRST[profile]


async def test_a_profile_that_nobody_knows_is_an_error_at_once() -> None:
    with trio.fail_after(5), pytest.raises(ValueError, match="unknown profile 'gemini'; known are openai, azure"):
        await serve_simulator(SimulatorOptions(profile="gemini"))


async def test_faults_strike_a_beta_service_at_the_same_points() -> None:
    async with (
        simulator(profile="qwen") as url,
        connected(url, "model=qwen3-omni&fault=malformed:base64@response,close:1011/enough@audio=100") as peer,
    ):
        content = [{"type": "input_text", "text": "one two three four five six seven"}]
        await peer.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        await peer.send("response.create")
        messages = await peer.rest()
    said = [json.loads(message) for message in messages if isinstance(message, str)]
    deltas = [event["delta"] for event in said if event["type"] == "response.audio.delta"]
    assert deltas[0] == "this is not base64!"
    assert len(deltas) == 2
    assert ended(messages) == (1011, "enough")


async def test_every_event_of_every_service_has_a_name_of_its_own() -> None:
    for profile in PATHS:
        async with simulator(profile=profile, pace=100.0) as url, connected(url, f"model={MODELS[profile]}") as peer:
            await peer.send("response.create")
            names: list[str] = []
            kind = ""
            while kind != "response.done":
                event = json.loads(await peer.websocket.get_message())
                kind = event["type"]
                names.append(event["event_id"])
        assert len(set(names)) == len(names)
        assert all(name.startswith("event_") for name in names)
