"""One end of a session of the load: its handshake and first messages, on a blocking socket, and the frames of audio.

A WebSocket in a few lines that shares nothing with relay's own. Once the session stands, load.c takes its socket.
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import json
import random
import socket
import struct
from typing import Any, Literal

import numpy as np

DEADLINE_S = 10.0
CLIENT, UPSTREAM = 0, 1
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Language = Literal["relay.v1", "json"]


class Peer:
    """One end of a session while it shakes hands: a WebSocket over a blocking socket, in a few lines."""

    def __init__(self, native: ctypes.CDLL, sock: socket.socket, side: int, tls: int | None = None) -> None:
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(DEADLINE_S), 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._native = native
        self._socket = sock
        self._side = side
        self._received = b""
        self.conn = native.load_conn_new(sock.fileno(), side, tls)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def write(self, data: bytes) -> None:
        """Write all of it."""
        while data:
            moved = self._native.load_write(self.conn, data, len(data))
            if moved <= 0:
                raise ConnectionError("the relay does not read")
            data = data[moved:]

    def _more(self) -> None:
        room = ctypes.create_string_buffer(65_536)
        moved = self._native.load_read(self.conn, room, len(room))
        if moved <= 0:
            raise ConnectionError(f"the relay said no more after {self._received[:300]!r}")
        self._received += room.raw[:moved]

    def head(self) -> str:
        """The head of an HTTP message."""
        while b"\r\n\r\n" not in self._received:
            self._more()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        return head.decode("latin-1")

    def send(self, event: dict[str, Any]) -> None:
        """Write a text message."""
        self.write(frame(1, json.dumps(event).encode(), masked=self._side == CLIENT))

    def receive(self) -> dict[str, Any]:
        """The next text message; others are skipped."""
        while True:
            opcode, payload = self._frame()
            if opcode == 1:
                event: dict[str, Any] = json.loads(payload)
                return event

    def expect(self, kind: str) -> dict[str, Any]:
        """Read until an event of that type comes."""
        while (event := self.receive())["type"] != kind:
            if event["type"] == "error":
                raise ConnectionError(f"expected {kind}, got {event}")
        return event

    def _need(self, count: int) -> bytes:
        while len(self._received) < count:
            self._more()
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    def _frame(self) -> tuple[int, bytes]:
        first, second = self._need(2)
        length = second & 127
        if length > 125:
            length = int.from_bytes(self._need(2 if length == 126 else 8), "big")
        mask = self._need(4) if second & 128 else b"\0\0\0\0"
        payload = self._need(length)
        return first & 15, bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))


def frame(opcode: int, payload: bytes, *, masked: bool) -> bytes:
    """One finished WebSocket frame."""
    length, mask = len(payload), random.Random(1).randbytes(4) if masked else b""
    bit = 128 if masked else 0
    head = bytes([128 | opcode, bit | length]) if length < 126 else struct.pack(">BBH", 128 | opcode, bit | 126, length)
    if masked:
        payload = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
    return head + mask + payload


def frame_up(language: Language) -> bytes:
    """20 ms from the browser: 960 samples of float32 at 48 kHz, or an append event with 480 samples of PCM16."""
    if language == "relay.v1":
        return frame(2, (0.2 * _noise(960)).astype("<f4").tobytes(), masked=True)
    return frame(1, f'{{"type":"input_audio_buffer.append","audio":"{_pcm16()}"}}'.encode(), masked=True)


def frame_down() -> bytes:
    """20 ms from the upstream, written as OpenAI writes it."""
    names = '"event_id":"event_CdQq3gqIyLqrYhXdSmRGA","response_id":"resp_1","item_id":"item_CdQq3LgPyVkZnHWmYcD5o"'
    places = '"output_index":0,"content_index":0'
    event = f'{{"type":"response.output_audio.delta",{names},{places},"delta":"{_pcm16()}"}}'
    return frame(1, event.encode(), masked=False)


def _noise(count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(1).uniform(-1, 1, count)


def _pcm16() -> str:
    return base64.b64encode((6000 * _noise(480)).astype("<i2").tobytes()).decode()


def switch_head(key: str, offered: str | None) -> bytes:
    """The upstream's answer to a handshake."""
    accept = base64.b64encode(hashlib.sha1((key + GUID).encode(), usedforsecurity=False).digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    lines.append(f"Sec-WebSocket-Accept: {accept}")
    lines += [f"Sec-WebSocket-Protocol: {offered.split(',')[0].strip()}"] if offered else []
    return "\r\n".join([*lines, "", ""]).encode()
