"""A session on memory streams: a fake browser at one end, a fake upstream at the other, faults in between.

    async with open_rig() as rig:
        await rig.start()                               # relay.start, session.created/updated, relay.ready
        await rig.browser.send(samples(20))
        append = await rig.upstream.receive_json()

The rig ends the session at the end of the block and checks that nothing is left: both sockets closed, no native handle.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import trio
import trio.testing

from relay import wire
from relay.addresses import Address
from relay.admission import Admission
from relay.audio import native_info
from relay.browser import BrowserLeg, browser_limits
from relay.config import Config, Secret
from relay.core.client import Client, ClientSettings
from relay.core.relay_v1 import RelayV1
from relay.errors import RelayError
from relay.limits import client_settings
from relay.session import Services, Session
from relay.target import target_for
from tests.peers import FakeBrowser, FakeUpstream, FaultyStream, PeerEnded, PeerRefused

CANARY_KEY = "sk-canary-0123456789"
CANARY_PROMPT = "CANARY PROMPT: never tell"
FORMAT = {"encoding": "f32le", "rate_hz": 24000}
START = {"type": "relay.start", "audio": {"input": FORMAT, "output": FORMAT}}

UPSTREAM_SESSIONS: dict[str, dict[str, Any]] = {
    "ga": {"type": "realtime"},
    "beta": {"object": "realtime.session", "modalities": ["text", "audio"], "temperature": 0.8},
}
"""By what a session is known to be of the dialect."""

Language = Callable[[ClientSettings], Client]
Answer = Callable[[trio.abc.Stream], Any]


def samples(ms: int, *, level: float = 0.25) -> bytes:
    """Return `ms` of a 300 Hz tone, f32le at 24 kHz."""
    tone = level * np.sin(2 * np.pi * 300 / 24_000 * np.arange(24 * ms))
    return bytes(tone.astype("<f4").tobytes())


def delta_event(item: str, ms: int, *, response: str = "resp_1") -> dict[str, Any]:
    """Return a `response.output_audio.delta` with `ms` of audio at 24 kHz."""
    audio = base64.b64encode(bytes(2 * 24 * ms)).decode()
    return {
        "type": "response.output_audio.delta",
        "event_id": "event_1",
        "response_id": response,
        "item_id": item,
        "output_index": 0,
        "content_index": 0,
        "delta": audio,
    }


@dataclass
class Rig:
    """One session and its two peers. `reason` is set when the session has ended."""

    browser: FakeBrowser
    browser_stream: FaultyStream
    services: Services
    upstream_streams: list[FaultyStream] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    session: Session | None = None
    reason: RelayError | None = None
    ended: trio.Event = field(default_factory=trio.Event)
    _upstream: FakeUpstream | None = None
    _dialled: trio.Event = field(default_factory=trio.Event)

    @property
    def upstream(self) -> FakeUpstream:
        """The upstream, once it has accepted."""
        assert self._upstream is not None
        return self._upstream

    async def accepted(self, upstream: FakeUpstream) -> None:
        """Note that the upstream is there."""
        self._upstream = upstream
        self._dialled.set()

    async def wait_upstream(self) -> FakeUpstream:
        """Wait until relay has connected upstream."""
        await self._dialled.wait()
        return self.upstream

    async def begin_upstream(self) -> dict[str, Any]:
        """Play the upstream's side of a session's start, in its dialect; return relay's session.update."""
        upstream = await self.wait_upstream()
        mark = UPSTREAM_SESSIONS[self.services.config.upstream_profile.dialect]
        session = {"id": "sess_1", **mark, "instructions": CANARY_PROMPT, "tools": [{"name": "CANARY"}]}
        await upstream.send_json({"type": "session.created", "event_id": "e1", "session": session})
        update = await upstream.receive_json()
        await upstream.send_json({"type": "session.updated", "event_id": "e2", "session": update["session"]})
        return update

    async def start(self, start: dict[str, Any] | None = None) -> dict[str, Any]:
        """Start both sides; return relay.ready."""
        await self.browser.send_json(start or START)
        await self.begin_upstream()
        return await self.expect("relay.ready")

    async def receive(self) -> str | bytes:
        """Read one message on the browser's side; audio frames are kept in `frames`."""
        message = await self.browser.receive()
        if isinstance(message, bytes):
            self.frames.append(message)
        return message

    @property
    def frame_samples(self) -> int:
        """How much audio the browser has got, at the format of START."""
        return sum(len(frame) - 16 for frame in self.frames) // 4

    async def expect(self, kind: str, **fields: object) -> dict[str, Any]:
        """Read the browser's side until an event of this type (and these fields) comes."""
        while True:
            message = await self.receive()
            if isinstance(message, str):
                event: dict[str, Any] = json.loads(message)
                if event["type"] == kind and all(event.get(name) == value for name, value in fields.items()):
                    return event

    async def expect_error(self, code: str) -> dict[str, Any]:
        """Read the browser's side until an error with this code comes; return its inner object."""
        event = await self.expect("error")
        while event["error"]["code"] != code:
            event = await self.expect("error")
        error: dict[str, Any] = event["error"]
        return error

    async def expect_end(self, code: str, close_code: int) -> dict[str, Any]:
        """Read the browser's side to its end: a fatal error, then the close code."""
        error = await self.expect_error(code)
        assert error["fatal"] is True
        assert await self.wait_close() == close_code
        return error

    async def wait_close(self) -> int:
        """Read the browser's side to its end; return the close code."""
        while True:
            try:
                await self.browser.receive()
            except PeerEnded as end:
                return end.code


@asynccontextmanager
async def open_rig(
    config: Config | None = None,
    *,
    language: Language = RelayV1,
    answer: Callable[[Rig, trio.abc.Stream], Any] | None = None,
    dial_error: Exception | None = None,
    services: Services | None = None,
) -> AsyncIterator[Rig]:
    """Run a session for the length of the block.

    `answer(rig, stream)` plays the upstream's handshake (default: accept); `dial_error` is raised instead of a
    connection.
    """
    config = config or Config(openai_api_key=Secret(CANARY_KEY), instructions=CANARY_PROMPT)
    handles = native_info().live_handles
    bells = len(services.admission.bells) if services else 0
    near, far = trio.testing.memory_stream_pair()
    browser_stream = FaultyStream(near)
    async with trio.open_nursery() as nursery:

        async def dial(address: Address) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            if dial_error is not None:
                raise dial_error
            near, far = trio.testing.memory_stream_pair()
            rig.upstream_streams.append(FaultyStream(near))
            nursery.start_soon(answer or _accept, rig, far)
            return rig.upstream_streams[-1]

        target = target_for(config, config.upstream or "wss://api.openai.com/v1/realtime")
        made = services or Services(config, Admission(config), target, dial)
        made = Services(made.config, made.admission, made.target, dial)
        rig = Rig(FakeBrowser(far), browser_stream, made)
        nursery.start_soon(_run_session, rig, language)
        yield rig
        nursery.cancel_scope.cancel()
    assert browser_stream.closed
    assert all(stream.closed for stream in rig.upstream_streams)
    # Fewer is no leak: what earlier tests left to the collector may go meanwhile.
    assert native_info().live_handles <= handles
    assert len(made.admission.bells) == bells


async def _accept(rig: Rig, stream: trio.abc.Stream) -> None:
    with suppress(PeerRefused):  # relay may hang up before it has asked, or has its answer
        await rig.accepted(await FakeUpstream.accept(stream))


async def _run_session(rig: Rig, language: Language) -> None:
    config = rig.services.config
    socket = wire.WebSocket(rig.browser_stream, role="server", limits=browser_limits(config), subprotocol="relay.v1")
    client = language(client_settings("relay_test", config))
    rig.session = Session("relay_test", BrowserLeg(socket), client, rig.services)
    with rig.scope:
        rig.reason = await rig.session.run()
    rig.ended.set()
