"""A person with a microphone, as a program: speaks relay.v1 to a real relay, over trio-websocket.

It shares no code with relay; docs/wire.md is what it was written from.
"""

from __future__ import annotations

import json
import re
import ssl
import struct
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import trio
from trio_websocket import WebSocketConnection, wrap_client_stream

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
HEADER = struct.Struct("<BBHIQ")


def speech() -> tuple[np.ndarray, int]:
    """Return a spoken sentence as float32 samples, and its rate."""
    with wave.open(str(FIXTURES / "speech_16k.wav")) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return (pcm / 32768).astype("<f4"), file.getframerate()


class Talker:
    """One voice session. Texts that came are in `events`, the audio that came in `heard`, in order."""

    def __init__(self, socket: WebSocketConnection, rate_hz: int) -> None:
        self.socket = socket
        self.rate_hz = rate_hz
        self.events: list[dict[str, Any]] = []
        self.heard: list[np.ndarray] = []
        self._positions: dict[int, int] = {}

    async def send(self, event: dict[str, Any]) -> None:
        await self.socket.send_message(json.dumps(event))

    async def start(self) -> dict[str, Any]:
        """Send relay.start; return relay.ready."""
        one = {"encoding": "f32le", "rate_hz": self.rate_hz}
        await self.send({"type": "relay.start", "audio": {"input": one, "output": one}})
        return await self.expect("relay.ready")

    async def write(self, text: str) -> None:
        """Type something, and ask for an answer."""
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self.send({"type": "conversation.item.create", "item": item})
        await self.send({"type": "response.create"})

    async def say(self, samples: np.ndarray) -> None:
        """Speak at the pace of a microphone, 20 ms a frame."""
        began_s, step = trio.current_time(), self.rate_hz // 50
        for start in range(0, len(samples), step):
            await trio.sleep_until(began_s + start / self.rate_hz)
            await self.socket.send_message(samples[start : start + step].tobytes())

    async def be_silent(self, seconds: float) -> None:
        """Send silence, as an open microphone does."""
        await self.say(np.zeros(int(seconds * self.rate_hz), "<f4"))

    async def expect(self, kind: str) -> dict[str, Any]:
        """Listen until an event of this type comes."""
        while True:
            message = await self.socket.get_message()
            if isinstance(message, bytes):
                self._hear(message)
                continue
            event: dict[str, Any] = json.loads(message)
            self.events.append(event)
            if event["type"] == kind:
                return event

    @property
    def answer(self) -> np.ndarray:
        """All audio that was heard."""
        return np.concatenate(self.heard) if self.heard else np.zeros(0, "<f4")

    def _hear(self, message: bytes) -> None:
        kind, _, _, item, first_sample = HEADER.unpack_from(message)
        assert kind == 1
        assert first_sample == self._positions.get(item, 0), "frames of an item are consecutive"
        samples = np.frombuffer(message, "<f4", offset=HEADER.size)
        self._positions[item] = first_sample + len(samples)
        self.heard.append(samples)


async def connection(
    port: int, trust: ssl.SSLContext | None, local_address: str | None = None
) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
    """Connect, over TLS if there is something to trust; `local_address` is where from."""
    stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=local_address)
    return trio.SSLStream(stream, trust, server_hostname="127.0.0.1") if trust else stream


def origin(port: int, trust: ssl.SSLContext | None) -> str:
    return f"{'https' if trust else 'http'}://127.0.0.1:{port}"


@asynccontextmanager
async def open_talker(
    port: int,
    rate_hz: int = 16_000,
    *,
    trust: ssl.SSLContext | None = None,
    page: str = "",
    local_address: str | None = None,
) -> AsyncIterator[Talker]:
    """Connect as a page does, relay's own or one of the origin `page`.

    The stream is ours: trio-websocket leaves it to the garbage collector at times.
    """
    headers = [(b"Origin", (page or origin(port, trust)).encode())]
    stream = await connection(port, trust, local_address)
    try:
        async with trio.open_nursery() as nursery:
            host = f"127.0.0.1:{port}"
            socket = await wrap_client_stream(
                nursery, stream, host, "/v1/realtime", subprotocols=["relay.v1"], extra_headers=headers
            )
            yield Talker(socket, rate_hz)
            await socket.aclose()
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


async def handshake(port: int, *, trust: ssl.SSLContext | None = None) -> str:
    """Ask for a session; return the head of the answer and what came with it."""
    async with await connection(port, trust) as stream:
        lines = [
            "GET /v1/realtime HTTP/1.1", "Host: relay", "Connection: Upgrade", "Upgrade: websocket",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Protocol: relay.v1", f"Origin: {origin(port, trust)}", "", "",
        ]  # fmt: skip
        await stream.send_all("\r\n".join(lines).encode())
        answer = ""
        while not re.search(r"\r\n\r\n.", answer) and not answer.startswith("HTTP/1.1 101"):
            answer += (await stream.receive_some(4096)).decode("latin-1")  # frames may follow the 101 at once
        return answer


def similarity(heard: np.ndarray, said: np.ndarray) -> float:
    """Return the normalised correlation of two recordings at their best alignment, 1.0 for the same sound."""
    length = 1 << (len(heard) + len(said)).bit_length()
    product = np.fft.irfft(np.fft.rfft(heard, length) * np.conj(np.fft.rfft(said, length)), length)
    return float(np.max(product) / (np.linalg.norm(heard) * np.linalg.norm(said)))
