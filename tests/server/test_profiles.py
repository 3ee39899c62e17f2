"""The examples of docs/profiles.md, run: a real relay, each upstream played by the simulator, both kinds of clients."""

from __future__ import annotations

import base64
import json
import re
import stat
import time
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from relay.simulator import SimulatorOptions, serve_simulator
from tests.processes import RelayProcess, relay_process
from tests.server.talker import FIXTURES, Talker, open_talker, similarity
from tests.server.talker import speech as whole_speech

PAGE = (FIXTURES.parents[1] / "docs" / "profiles.md").read_text()
SECTION = re.compile(r"^## (\w+)\n(.*?)(?=^## |\Z)", flags=re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```toml\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
EXAMPLES = [(name, text) for name, section in SECTION.findall(PAGE) for text in BLOCK.findall(section)]
IDS = [f"{name}{'-token' if 'token_command' in text else ''}" for name, text in EXAMPLES]
PLAYED_BY = {"custom": "qwen"}
"""The custom server of the page is one that the simulator can play."""

KEY = "secret-key-0123"
CLIENT_RATE_HZ = 24_000
PACE = 3.0
STORY = "please tell me a rather long story about a parrot, a relay, and the sea that lies between the two of them"
LACKS = {"speaches": {"cancel", "truncate"}, "custom": {"truncate"}}
NOT_WRITTEN_DOWN = {"xai"}
"""Whose example names no model for what the person says."""


def speech() -> tuple[np.ndarray, int]:
    """Return the beginning of the sentence: seven of these are waited for in real time."""
    said, rate_hz = whole_speech()
    return said[: rate_hz * 3 // 2], rate_hz


def test_the_page_has_an_example_for_every_profile() -> None:
    assert {name for name, _ in EXAMPLES} == {"openai", "azure", "xai", "qwen", "localai", "speaches", "custom"}


def write_config(folder: Path, name: str, text: str, url: str) -> Path:
    """Write an example with the simulator's address in the place of the service's."""
    settings = tomllib.loads(text)
    address = settings["upstream"]
    lines = [f"profile = {json.dumps(name)}"] if "profile" not in settings else []
    path = folder / "relay.toml"
    path.write_text("\n".join([*lines, text.replace(json.dumps(address), json.dumps(url))]))
    return path


def write_az(folder: Path, token: str) -> None:
    """Put a program called az into a folder, which prints a token as Azure's command line does."""
    output = json.dumps({"accessToken": token, "expires_on": int(time.time()) + 3600, "tokenType": "Bearer"})
    path = folder / "az"
    path.write_text(f"#!/bin/sh\ntest \"$1 $2\" = 'account get-access-token' && cat <<'EOF'\n{output}\nEOF\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@asynccontextmanager
async def running(
    folder: Path, name: str, text: str, *, key: str = KEY, faults: str = ""
) -> AsyncIterator[RelayProcess]:
    """Play a service, with KEY as the only key, and run relay with an example and a key in front of it."""
    played = SimulatorOptions(PLAYED_BY.get(name, name), faults=faults, key=KEY, pace=PACE)
    write_az(folder, key)
    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve_simulator, played)
        config = write_config(folder, name, text, url)
        env = {"PATH": f"{folder}:/usr/bin:/bin"}
        env["RELAY_UPSTREAM_KEY"] = "" if "upstream_token_command" in text else key
        with relay_process("--config", str(config), env=env) as relay:
            yield relay
            assert key not in relay.stderr
            assert "Traceback" not in relay.stderr
        nursery.cancel_scope.cancel()


# A relay.v1 client


async def converse_by_voice(port: int, name: str) -> None:
    """Say something, hear it again and read it; then interrupt an answer, and hear the next one."""
    said, rate_hz = speech()
    async with open_talker(port, rate_hz) as talker:
        await talker.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talker.expect, "relay.audio.done")
            await talker.say(said)
            while nursery.child_tasks:
                await talker.be_silent(0.1)
        assert similarity(talker.answer, said) >= 0.9
        check_transcripts(name, talker.events)
        await interrupt(talker)
        errors = [event["error"] for event in talker.events if event["type"] == "error"]
        assert errors == []
        kinds = [event["type"] for event in talker.events]
        assert ("conversation.item.truncated" in kinds) == ("truncate" not in LACKS.get(name, ()))


def check_transcripts(name: str, events: list[dict[str, Any]]) -> None:
    """See that both sides of the conversation came in writing."""
    kinds = [event["type"] for event in events]
    assert "response.output_audio_transcript.done" in kinds
    assert ("conversation.item.input_audio_transcription.completed" in kinds) == (name not in NOT_WRITTEN_DOWN)


async def interrupt(talker: Talker) -> None:
    await talker.write(STORY)
    started = await talker.expect("relay.audio.started")
    await talker.send({"type": "relay.interrupt"})
    flush = await talker.expect("relay.flush")
    await talker.send({"type": "relay.flushed", "flush": flush["flush"], "item": started["item"], "samples": 100})
    await talker.expect("response.done")
    await talker.write("good morning")
    await talker.expect("relay.audio.done")


# A client that speaks OpenAI's JSON


class Caller:
    """An official client, as far as its wire is concerned: PCM16 at 24 kHz both ways, whatever the upstream."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket
        self.events: list[dict[str, Any]] = []

    async def send(self, kind: str, **fields: Any) -> None:
        await self._socket.send_message(json.dumps({"type": kind, **fields}))

    async def expect(self, kind: str) -> dict[str, Any]:
        while True:
            event: dict[str, Any] = json.loads(await self._socket.get_message())
            self.events.append(event)
            if event["type"] == kind:
                return event

    async def say(self, samples: np.ndarray) -> None:
        """Speak at the pace of a microphone, 20 ms an event."""
        pcm, began_s = (samples * 32767).astype("<i2"), trio.current_time()
        for start in range(0, len(pcm), 480):
            await trio.sleep_until(began_s + start / CLIENT_RATE_HZ)
            audio = base64.b64encode(pcm[start : start + 480].tobytes()).decode()
            await self.send("input_audio_buffer.append", audio=audio)

    async def ask(self, text: str) -> None:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self.send("conversation.item.create", item=item)
        await self.send("response.create")

    @property
    def answer(self) -> np.ndarray:
        deltas = [event["delta"] for event in self.events if event["type"] == "response.output_audio.delta"]
        return np.asarray(np.frombuffer(b"".join(map(base64.b64decode, deltas)), "<i2") / 32768)


@asynccontextmanager
async def open_caller(port: int) -> AsyncIterator[Caller]:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    try:
        async with trio.open_nursery() as nursery:
            socket = await wrap_client_stream(nursery, stream, f"127.0.0.1:{port}", "/v1/realtime")
            yield Caller(socket)
            await socket.aclose()
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


def at_client_rate(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    wanted = np.arange(len(samples) * CLIENT_RATE_HZ // rate_hz) * rate_hz / CLIENT_RATE_HZ
    return np.asarray(np.interp(wanted, np.arange(len(samples)), samples))


async def converse_by_json(port: int, name: str) -> None:
    """The same, with the client's own cancel."""
    said = at_client_rate(*speech())
    async with open_caller(port) as caller:
        created = await caller.expect("session.created")
        assert "instructions" not in created["session"]
        session = (await caller.expect("session.updated"))["session"]
        pcm = {"type": "audio/pcm", "rate": CLIENT_RATE_HZ}
        assert [session["audio"][side]["format"] for side in ("input", "output")] == [pcm, pcm]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.expect, "response.done")
            await caller.say(said)
            while nursery.child_tasks:
                await caller.say(np.zeros(2_400))
        assert similarity(caller.answer, said) >= 0.9
        check_transcripts(name, caller.events)
        await cancel(caller, "cancel" in LACKS.get(name, ()))


async def cancel(caller: Caller, is_refused: bool) -> None:
    await caller.ask(STORY)
    await caller.expect("response.output_audio.delta")
    await caller.send("response.cancel", event_id="mine")
    if is_refused:
        error = (await caller.expect("error"))["error"]
        assert (error["code"], error["event_id"]) == ("relay_unsupported", "mine")
    done = await caller.expect("response.done")
    assert done["response"]["status"] == ("completed" if is_refused else "cancelled")


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=IDS)
async def test_the_example_of_the_page_carries_conversations(name: str, text: str, tmp_path: Path) -> None:
    async with running(tmp_path, name, text) as relay:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(converse_by_voice, relay.port, name)
                nursery.start_soon(converse_by_json, relay.port, name)
                nursery.start_soon(be_refused, relay.port, name)


async def be_refused(port: int, name: str) -> None:
    """Ask for what the upstream has not, and for what it has, in items."""
    recording = base64.b64encode(bytes(4_800)).decode()
    content = [{"type": "input_audio", "audio": recording}]
    async with open_caller(port) as caller:
        await caller.expect("session.updated")
        await caller.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        if name == "speaches":
            error = (await caller.expect("error"))["error"]
            assert (error["code"], error["param"]) == ("relay_unsupported", "item.content[0].type")
            return
        item = (await caller.expect("conversation.item.added"))["item"]
        assert item["role"] == "user"


# What a wrong key comes to

WITH_KEYS = [(name, text) for name, text in EXAMPLES if name != "localai"]


async def end_of(relay: RelayProcess) -> tuple[str, int]:
    """Start a session; return the code of relay's last word, and the close code."""
    async with open_talker(relay.port) as talker:
        with trio.fail_after(20):
            with suppress(ConnectionClosed):
                await talker.start()
            with pytest.raises(ConnectionClosed) as closed:
                await talker.expect("nothing")
    assert closed.value.reason is not None
    return talker.events[-1]["error"]["code"], closed.value.reason.code


@pytest.mark.parametrize(("name", "text"), WITH_KEYS, ids=[one for one in IDS if one != "localai"])
async def test_a_wrong_key_is_the_operators_affair_wherever_the_upstream_says_so(
    name: str, text: str, tmp_path: Path
) -> None:
    async with running(tmp_path, name, text, key="wrong-key-4567") as relay:
        assert await end_of(relay) == ("relay_upstream_unauthorized", 4501)


async def test_a_pipeline_that_cannot_be_loaded_is_named_in_the_log(tmp_path: Path) -> None:
    text = dict(EXAMPLES)["localai"].replace("gpt-realtime", "no-such-pipeline")
    async with running(tmp_path, "localai", text) as relay:
        assert await end_of(relay) == ("relay_upstream_refused", 4502)
        relay.stop()  # the log has its line after the browser has its
        assert "model_load_error" in relay.stderr


async def test_a_token_command_that_fails_is_named_in_the_log_without_what_it_printed(tmp_path: Path) -> None:
    text = EXAMPLES[IDS.index("azure-token")][1]
    async with running(tmp_path, "azure", text) as relay:
        (tmp_path / "az").write_text("#!/bin/sh\necho secret-of-az; echo secret-of-az >&2; exit 3\n")
        assert await end_of(relay) == ("relay_upstream_no_token", 4501)
        relay.stop()
        assert "upstream_token_command (az) ended with exit code 3" in relay.stderr
        assert "secret-of-az" not in relay.stderr


# The simulator inside relay


@pytest.mark.parametrize("name", ["xai", "qwen", "azure"])
async def test_the_embedded_simulator_plays_the_profile(name: str) -> None:
    with relay_process("--upstream", "simulator", "--profile", name) as relay:
        async with open_talker(relay.port) as talker:
            with trio.fail_after(20):
                ready = await talker.start()
                assert ready["upstream"]["input_rate_hz"] == (16_000 if name == "qwen" else 24_000)
                await talker.write("good morning")
                await talker.expect("relay.audio.done")
