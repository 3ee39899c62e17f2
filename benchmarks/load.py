"""The load for relay_path: browsers and upstream of many sessions, with the relay that is measured between them.

    with Load.listen(tls=None) as load:                 # the upstream's port
        ...                                             # start a relay that connects to load.url
        sessions = load.open(75, relay_port, "relay.v1")
        result = load.run(sessions, seconds=5.0)

load.c does what happens fifty times a second; here are its build, the handshakes (with blocking sockets, one session
after the other) and the messages. Nothing is shared with relay's own code.
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import json
import os
import random
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

HERE = Path(__file__).parent
FRAME_S = 0.02
DEADLINE_S = 10.0
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Language = Literal["relay.v1", "json"]

_CLIENT, _UPSTREAM = 0, 1


class _Work(ctypes.Structure):
    _fields_ = (
        ("up", ctypes.c_char_p),
        ("up_bytes", ctypes.c_size_t),
        ("down", ctypes.c_char_p),
        ("down_bytes", ctypes.c_size_t),
        ("samples", ctypes.c_size_t),
        ("append", ctypes.c_char_p),
        ("append_bytes", ctypes.c_size_t),
        ("delay_ns", ctypes.POINTER(ctypes.c_uint64)),
        ("delay_room", ctypes.c_size_t),
    )


class _Result(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("sent", "back", "unsent", "strange", "broken", "delays", "wall_ns", "cpu_ns")
    )


@dataclass(frozen=True)
class Result:
    """What one run gave. Delays in ms from the moment a frame was due until its answer was there, sorted."""

    sent: int
    back: int
    unsent: int
    broken: int
    strange: int
    busy: float
    delays_ms: np.ndarray[Any, np.dtype[np.float64]] = field(repr=False)

    @property
    def lost(self) -> int:
        """Frames that never came back, or could not even be sent."""
        return self.sent - self.back + self.unsent

    def quantile_ms(self, part: float) -> float:
        """The delay that `part` of all frames did not exceed; infinite if more than that were lost."""
        wanted = int(part * (self.sent + self.unsent))
        return float(self.delays_ms[wanted]) if wanted < len(self.delays_ms) else float("inf")


def build(folder: Path, *, tls: bool) -> ctypes.CDLL:
    """Compile load.c. TLS needs OpenSSL's headers (Debian: libssl-dev)."""
    library = folder / "load.so"
    command = ["cc", "-O2", "-shared", "-fPIC", str(HERE / "load.c"), "-o", str(library)]
    subprocess.run([*command, *(["-DLOAD_TLS", "-lssl", "-lcrypto"] if tls else [])], check=True)
    native = ctypes.CDLL(str(library))
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    native.load_conn_new.argtypes, native.load_conn_new.restype = [ctypes.c_int, ctypes.c_int, pointer], pointer
    native.load_session_new.argtypes, native.load_session_new.restype = [pointer, pointer], pointer
    native.load_session_free.argtypes, native.load_session_free.restype = [pointer], None
    for function in (native.load_read, native.load_write):
        function.argtypes, function.restype = [pointer, ctypes.c_char_p, size], ctypes.c_ssize_t
    sessions, work, result = ctypes.POINTER(pointer), ctypes.POINTER(_Work), ctypes.POINTER(_Result)
    native.load_run.argtypes, native.load_run.restype = [sessions, size, ctypes.c_uint64, work, result], None
    if tls:
        native.load_tls_context.argtypes, native.load_tls_context.restype = [ctypes.c_char_p] * 2, pointer
        native.load_tls_accept.argtypes, native.load_tls_accept.restype = [pointer, ctypes.c_int], pointer
    return native


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
        self.write(frame(1, json.dumps(event).encode(), masked=self._side == _CLIENT))

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


class Load:
    """The upstream that listens, and the sessions through a relay to it."""

    def __init__(self, native: ctypes.CDLL, listener: socket.socket, context: int | None) -> None:
        self._native = native
        self._listener = listener
        self._context = context
        self.port: int = listener.getsockname()[1]
        self.url = f"{'wss' if context else 'ws'}://localhost:{self.port}/v1/realtime"

    @classmethod
    @contextmanager
    def listen(cls, *, certificate: Path | None = None, key: Path | None = None) -> Iterator[Load]:
        """Listen on loopback, with TLS 1.3 if there is a certificate."""
        with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            native = build(Path(folder), tls=certificate is not None)
            context = None
            if certificate is not None:
                context = native.load_tls_context(os.fsencode(certificate), os.fsencode(key or certificate))
            listener.settimeout(DEADLINE_S)
            yield cls(native, listener, context)

    @contextmanager
    def open(self, count: int, relay_port: int | None, language: Language) -> Iterator[Sessions]:
        """Open sessions through the relay at `relay_port`; None: straight to the upstream."""
        pairs: list[tuple[Peer, Peer]] = []
        try:
            pairs.extend(self._pair(relay_port or self.port, language) for _ in range(count))
            sessions = Sessions(self._native, [(client.conn, upstream.conn) for client, upstream in pairs], language)
            try:
                yield sessions
            finally:
                sessions.close()
        finally:
            for client, upstream in pairs:
                client.close()
                upstream.close()

    def _pair(self, port: int, language: Language) -> tuple[Peer, Peer]:
        client = Peer(self._native, socket.create_connection(("127.0.0.1", port), DEADLINE_S), _CLIENT)
        offer = "relay.v1" if language == "relay.v1" else "realtime"
        client.write(
            f"GET /v1/realtime?model=m HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n"
            f"Sec-WebSocket-Protocol: {offer}\r\n\r\n".encode()
        )
        upstream = self._accept()
        status = client.head().split("\r\n")[0]
        if " 101 " not in status:
            raise ConnectionError(f"the relay answered {status}")
        self._begin(client, upstream, language)
        return client, upstream

    def _accept(self) -> Peer:
        sock, _ = self._listener.accept()
        tls = None
        if self._context is not None:
            tls = self._native.load_tls_accept(self._context, sock.fileno())
            if tls is None:
                raise ConnectionError("the relay does not finish its TLS handshake")
        upstream = Peer(self._native, sock, _UPSTREAM, tls)
        lines = (line.split(": ", 1) for line in upstream.head().split("\r\n")[1:])
        headers = {name.lower(): value for name, value in lines}
        upstream.write(_switch(headers["sec-websocket-key"], headers.get("sec-websocket-protocol")))
        return upstream

    def _begin(self, client: Peer, upstream: Peer, language: Language) -> None:
        session = {"id": "sess_1", "object": "realtime.session", "type": "realtime", "model": "m"}
        upstream.send({"type": "session.created", "event_id": "event_1", "session": session})
        if language == "relay.v1":
            sound = {"encoding": "f32le", "rate_hz": 48_000}
            client.send({"type": "relay.start", "audio": {"input": sound, "output": sound}})
        else:
            client.send({"type": "session.update", "session": {"type": "realtime"}})
        upstream.expect("session.update")
        upstream.send({"type": "session.updated", "event_id": "event_2", "session": session})
        client.expect("relay.ready" if language == "relay.v1" else "session.updated")
        upstream.send({"type": "response.created", "event_id": "event_3", "response": {"id": "resp_1"}})
        client.expect("response.created")


class Sessions:
    """Sessions that stand, ready to talk."""

    def __init__(self, native: ctypes.CDLL, conns: Sequence[tuple[int, int]], language: Language) -> None:
        self._native = native
        self._sessions = (ctypes.c_void_p * len(conns))(*(native.load_session_new(*pair) for pair in conns))
        self._language = language

    def close(self) -> None:
        """Give the C side's memory back; the sockets are the peers'."""
        for session in self._sessions:
            self._native.load_session_free(session)

    def run(self, seconds: float) -> Result:
        """Let all of them talk, and wait for the last answers."""
        room = int(len(self._sessions) * (seconds / FRAME_S + 2))
        delays = np.empty(room, np.uint64)
        up, down = frame_up(self._language), frame_down()
        append = b'{"type":"input_audio_buffer.append"'
        samples = 960 if self._language == "relay.v1" else 0
        pointer = delays.ctypes.data_as(ctypes.POINTER(ctypes.c_uint64))
        work = _Work(up, len(up), down, len(down), samples, append, len(append), pointer, room)
        raw = _Result()
        self._native.load_run(self._sessions, len(self._sessions), int(seconds * 1e9), work, raw)
        delays_ms = np.sort(delays[: raw.delays].astype(np.float64) / 1e6)
        busy = raw.cpu_ns / raw.wall_ns
        return Result(raw.sent, raw.back, raw.unsent, raw.broken, raw.strange, busy, delays_ms)


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


def _switch(key: str, offered: str | None) -> bytes:
    accept = base64.b64encode(hashlib.sha1((key + GUID).encode(), usedforsecurity=False).digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    lines.append(f"Sec-WebSocket-Accept: {accept}")
    lines += [f"Sec-WebSocket-Protocol: {offered.split(',')[0].strip()}"] if offered else []
    return "\r\n".join([*lines, "", ""]).encode()
