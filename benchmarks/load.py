"""The load for relay_path: browsers and upstream of many sessions, with the relay that is measured between them.

    with Load.listen() as load:                             # the upstream, at load.port
        ...                                                 # start a relay that connects to it
        with load.open(75, relay_port, "relay.v1") as sessions:
            result = sessions.run(5.0)

load.c does what happens fifty times a second; here are its build, the sockets and the handshakes, one session after the
other (load_peer.py).
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from benchmarks.load_peer import CLIENT, DEADLINE_S, UPSTREAM, Language, Peer, frame_down, frame_up, switch_head

HERE = Path(__file__).parent
SOURCES = ("load.c", "load_messages.c", "load_socket.c")
FRAME_S = 0.02


class _Work(ctypes.Structure):
    _fields_ = (
        ("up", ctypes.c_char_p),
        ("up_bytes", ctypes.c_size_t),
        ("down", ctypes.c_char_p),
        ("down_bytes", ctypes.c_size_t),
        ("samples", ctypes.c_size_t),
        ("append", ctypes.c_char_p),
        ("append_bytes", ctypes.c_size_t),
        ("sleeps", ctypes.c_size_t),
    )


class _Result(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("sent", "back", "unsent", "strange", "broken", "delays")),
        ("delay_ns", ctypes.POINTER(ctypes.c_uint64)),
        *((name, ctypes.c_uint64) for name in ("delay_room", "wall_ns", "idle_ns")),
    )


@dataclass(frozen=True)
class Result:
    """What one run gave. Delays in ms from the moment a frame was due until its answer was there, sorted.

    `busy` is the share of the time in which the load had something to do.
    """

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


class Detour(Protocol):
    """Something that stands between a socket and its session; both return the socket to be used instead."""

    def browser(self, sock: socket.socket) -> socket.socket:
        """Stand between a browser and the relay."""

    def upstream(self, sock: socket.socket) -> socket.socket:
        """Stand between the relay and the upstream."""


@cache
def build(*, tls: bool) -> ctypes.CDLL:
    """Compile the load, once. TLS needs OpenSSL's headers (Debian: libssl-dev)."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "load.so"
        command = ["cc", "-O2", "-shared", "-fPIC", *(str(HERE / name) for name in SOURCES), "-o", str(library)]
        subprocess.run([*command, *(["-DLOAD_TLS", "-lssl", "-lcrypto"] if tls else [])], check=True)
        native = ctypes.CDLL(str(library))
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    native.load_conn_new.argtypes, native.load_conn_new.restype = [ctypes.c_int, ctypes.c_int, pointer], pointer
    native.load_session_new.argtypes, native.load_session_new.restype = [pointer, pointer, size], pointer
    native.load_session_free.argtypes, native.load_session_free.restype = [pointer], None
    for function in (native.load_read, native.load_write):
        function.argtypes, function.restype = [pointer, ctypes.c_char_p, size], ctypes.c_ssize_t
    sessions, work, result = ctypes.POINTER(pointer), ctypes.POINTER(_Work), ctypes.POINTER(_Result)
    native.load_run.argtypes, native.load_run.restype = [sessions, size, ctypes.c_uint64, work, result], None
    if tls:
        native.load_tls_context.argtypes, native.load_tls_context.restype = [ctypes.c_char_p] * 2, pointer
        native.load_tls_browser.argtypes, native.load_tls_browser.restype = [], pointer
        for function in (native.load_tls_accept, native.load_tls_connect):
            function.argtypes, function.restype = [pointer, ctypes.c_int], pointer
    return native


class Load:
    """The upstream that listens, and the sessions through a relay to it."""

    def __init__(self, native: ctypes.CDLL, listener: socket.socket, context: int | None, browsers: int | None) -> None:
        self._native = native
        self._listener = listener
        self._context = context
        self._browsers = browsers
        self.port: int = listener.getsockname()[1]

    @classmethod
    @contextmanager
    def listen(cls, *, certificate: Path | None = None, key: Path | None = None, https: bool = False) -> Iterator[Load]:
        """Listen on loopback, with TLS 1.3 if there is a certificate. With `https` the browsers speak it too."""
        native = build(tls=https or certificate is not None)
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            context = None
            if certificate is not None:
                context = native.load_tls_context(os.fsencode(certificate), os.fsencode(key or certificate))
            listener.settimeout(DEADLINE_S)
            yield cls(native, listener, context, native.load_tls_browser() if https else None)

    @contextmanager
    def open(
        self, count: int, relay_port: int | None, language: Language, detours: Sequence[Detour] = ()
    ) -> Iterator[Sessions]:
        """Open sessions through the relay at `relay_port`; None: straight to the upstream. The first take detours."""
        pairs: list[tuple[Peer, Peer]] = []
        ways: list[Detour | None] = [*detours, *[None] * (count - len(detours))]
        try:
            pairs.extend(self._pair(relay_port or self.port, language, way) for way in ways)
            conns = [(client.conn, upstream.conn) for client, upstream in pairs]
            sessions = Sessions(self._native, conns, language, aside=len(detours))
            try:
                yield sessions
            finally:
                sessions.close()
        finally:
            for client, upstream in pairs:
                client.close()
                upstream.close()

    def _pair(self, port: int, language: Language, detour: Detour | None) -> tuple[Peer, Peer]:
        sock = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        sock = detour.browser(sock) if detour else sock
        client = Peer(self._native, sock, CLIENT, self._secured(sock, "connect", self._browsers))
        offer = "relay.v1" if language == "relay.v1" else "realtime"
        client.write(
            f"GET /v1/realtime?model=m HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n"
            f"Sec-WebSocket-Protocol: {offer}\r\n\r\n".encode()
        )
        upstream = self._accept(detour)
        status = client.head().split("\r\n")[0]
        if " 101 " not in status:
            raise ConnectionError(f"the relay answered {status}")
        self._begin(client, upstream, language)
        return client, upstream

    def _accept(self, detour: Detour | None) -> Peer:
        sock, _ = self._listener.accept()
        if detour:
            sock = detour.upstream(sock)
        upstream = Peer(self._native, sock, UPSTREAM, self._secured(sock, "accept", self._context))
        lines = (line.split(": ", 1) for line in upstream.head().split("\r\n")[1:])
        headers = {name.lower(): value for name, value in lines}
        upstream.write(switch_head(headers["sec-websocket-key"], headers.get("sec-websocket-protocol")))
        return upstream

    def _secured(self, sock: socket.socket, how: Literal["accept", "connect"], context: int | None) -> int | None:
        """TLS on a socket, if there is to be any."""
        if context is None:
            return None
        sock.settimeout(None)
        tls: int | None = getattr(self._native, f"load_tls_{how}")(context, sock.fileno())
        if tls is None:
            raise ConnectionError("the relay does not finish its TLS handshake")
        return tls

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
    """Sessions that stand, ready to talk.

    Those that go `aside`, the first ones, are counted apart, and with them the load sleeps when it has nothing to do:
    their detours need the core too.
    """

    def __init__(
        self, native: ctypes.CDLL, conns: Sequence[tuple[int, int]], language: Language, *, aside: int = 0
    ) -> None:
        self._native = native
        new = native.load_session_new
        self._sessions = (ctypes.c_void_p * len(conns))(*(new(*pair, int(i < aside)) for i, pair in enumerate(conns)))
        self._language = language
        self._aside = aside

    def close(self) -> None:
        """Give the C side's memory back; the sockets are the peers'."""
        for session in self._sessions:
            self._native.load_session_free(session)

    def run(self, seconds: float) -> Result:
        """Let all of them talk, and wait for the last answers."""
        return self.run_both(seconds)[0]

    def run_both(self, seconds: float) -> tuple[Result, Result]:
        """The same; also what those gave that go aside, whose last answers are not waited for."""
        room = int(len(self._sessions) * (seconds / FRAME_S + 2))
        delays = np.empty((2, room), np.uint64)
        up, down = frame_up(self._language), frame_down()
        append = b'{"type":"input_audio_buffer.append"'
        samples = 960 if self._language == "relay.v1" else 0
        work = _Work(up, len(up), down, len(down), samples, append, len(append), bool(self._aside))
        raw = (_Result * 2)()
        for one, row in zip(raw, delays, strict=True):
            one.delay_ns, one.delay_room = row.ctypes.data_as(ctypes.POINTER(ctypes.c_uint64)), room
        self._native.load_run(self._sessions, len(self._sessions), int(seconds * 1e9), work, raw)
        busy = 1 - raw[0].idle_ns / raw[0].wall_ns
        main, aside = (_result(one, row, busy) for one, row in zip(raw, delays, strict=True))
        return main, aside


def _result(raw: _Result, delays_ns: np.ndarray[Any, np.dtype[np.uint64]], busy: float) -> Result:
    delays_ms = np.sort(delays_ns[: raw.delays].astype(np.float64) / 1e6)
    return Result(raw.sent, raw.back, raw.unsent, raw.broken, raw.strange, busy, delays_ms)
