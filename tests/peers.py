"""The other end of a wire: a fake browser, a fake upstream, and the faults that lie between.

Nothing here knows `relay`. The fakes speak WebSocket by wsproto's own state machine over any Trio stream; `frame`
builds frames from the RFC's figure, wrong ones too. `FaultyStream` wraps the stream of either side and misbehaves for
as long as a `with` block lasts:

    near, far = trio.testing.memory_stream_pair()
    faulty = FaultyStream(near)
    browser = FakeBrowser(far)
    with faulty.stalled_sends():
        ...                         # what is sent through `faulty` gets stuck
"""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, Self

import trio
import trio.testing
import wsproto
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

Role = Literal["server", "client"]

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = None,
    length: int | None = None,
) -> bytes:
    """One frame, right or wrong. `length` announces another length than the payload has; `mask` is four bytes."""
    length = len(payload) if length is None else length
    size = length if length < 126 else 126 if length < 1 << 16 else 127
    head = bytes([fin << 7 | rsv << 4 | opcode, (mask is not None) << 7 | size])
    head += b"" if size < 126 else struct.pack("!H" if size == 126 else "!Q", length)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def close_payload(code: int, reason: bytes = b"") -> bytes:
    """What a Close frame carries."""
    return struct.pack("!H", code) + reason


def unframe(data: bytes, *, masked: bool) -> list[tuple[int, bytes]]:
    """The (opcode, payload) of each frame in `data`, which must be whole, final, plain frames, masked or not."""
    frames = []
    while data:
        size = data[1] & 0x7F
        skip = {126: 4, 127: 10}.get(size, 2)
        length = int.from_bytes(data[2:skip], "big") if skip > 2 else size
        assert data[0] & 0xF0 == 0x80, "fin, and no reserved bit"
        assert bool(data[1] & 0x80) == masked, "only clients mask"
        key = data[skip : skip + 4] if masked else bytes(4)
        start = skip + 4 * masked
        assert len(data) >= start + length, "a torn frame"
        payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(data[start : start + length]))
        frames.append((data[0] & 0x0F, payload))
        data = data[start + length :]
    return frames


class PeerEnded(Exception):
    """The side under test closed; `code` is 1006 if it hung up without a Close frame."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Peer:
    """The far end of a WebSocket whose handshake is over, or was never needed."""

    role: Role

    def __init__(self, stream: trio.abc.Stream, connection: Connection | wsproto.WSConnection | None = None) -> None:
        kind = ConnectionType.SERVER if self.role == "server" else ConnectionType.CLIENT
        self.stream = stream
        self.request: Request | None = None  # what the client asked for, if this is a server
        self.subprotocol: str | None = None
        self._connection = connection or Connection(kind)
        self._writing = trio.Lock()  # who talks in one task answers pings and Close in another

    async def send(self, message: str | bytes) -> None:
        event = TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message)
        await self._send_event(event)

    async def send_json(self, event: dict[str, Any]) -> None:
        await self.send(json.dumps(event))

    async def ping(self, payload: bytes = b"") -> None:
        await self._send_event(Ping(payload=payload))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a Close frame, or answer one; the stream stays open. Raises PeerEnded if both have said it already."""
        if self._connection.state is ConnectionState.CLOSED:
            raise PeerEnded(1006, "closed before")
        await self._send_event(CloseConnection(code=code, reason=reason))

    async def hang_up(self) -> None:
        """Close the stream, without a word."""
        await self.stream.aclose()

    async def receive(self) -> str | bytes:
        """The next whole message. Answers pings and Close; raises PeerEnded at the end."""
        parts: list[Any] = []
        while True:
            event = await self.next_event()
            if isinstance(event, CloseConnection):
                raise PeerEnded(event.code, event.reason or "")
            if isinstance(event, Message):
                parts.append(event.data)
                if event.message_finished:
                    whole: str | bytes = parts[0][:0].join(parts)
                    return whole

    async def receive_json(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(await self.receive())
        return event

    async def next_event(self) -> Event:
        """The next event of any kind. Pings and Close are answered before they are returned, not after our Close."""
        while True:
            for event in self._connection.events():
                if isinstance(event, Ping | CloseConnection):
                    await self._answer(event)
                return event
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                data = b""
            if not data and self._connection.state is ConnectionState.CONNECTING:
                raise PeerRefused(0)
            self._connection.receive_data(bytes(data) or None)

    async def _answer(self, event: Ping | CloseConnection) -> None:
        if self._has_said_goodbye():
            return
        async with self._writing:
            if not self._has_said_goodbye():  # in another task, which was writing
                await self.stream.send_all(self._connection.send(event.response()))

    def _has_said_goodbye(self) -> bool:
        return self._connection.state in (ConnectionState.LOCAL_CLOSING, ConnectionState.CLOSED)

    async def _send_event(self, event: Event) -> None:
        async with self._writing:
            await self.stream.send_all(self._connection.send(event))


class FakeBrowser(Peer):
    """A client. `FakeBrowser(stream)` begins after the handshake; `dial` performs it."""

    role = "client"

    @classmethod
    async def dial(
        cls,
        stream: trio.abc.Stream,
        *,
        host: str = "relay.test",
        target: str = "/v1/realtime",
        headers: Sequence[tuple[str, str]] = (("Origin", "http://relay.test"),),
        subprotocols: Sequence[str] = ("relay.v1",),
    ) -> Self:
        """Open a WebSocket as a browser does. Raises PeerRefused for an answer that is not 101."""
        connection = wsproto.WSConnection(ConnectionType.CLIENT)
        browser = cls(stream, connection)
        extra = [(name.encode(), value.encode()) for name, value in headers]
        await browser._send_event(
            Request(host=host, target=target, extra_headers=extra, subprotocols=list(subprotocols))
        )
        answer = await browser.next_event()
        if not isinstance(answer, AcceptConnection):
            raise PeerRefused(answer.status_code if isinstance(answer, RejectConnection) else 0)
        browser.subprotocol = answer.subprotocol
        return browser


class PeerRefused(Exception):
    """The handshake was refused; `status` is 0 if there was no answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class FakeUpstream(Peer):
    """A server. `FakeUpstream(stream)` begins after the handshake; `accept` and `refuse` perform it."""

    role = "server"

    @classmethod
    async def accept(cls, stream: trio.abc.Stream, *, subprotocol: str | None = None) -> Self:
        """Read the request, kept in `.request`, and answer 101. Raises PeerRefused if the asker is gone by then."""
        upstream = await cls._asked(stream)
        try:
            await upstream._send_event(AcceptConnection(subprotocol=subprotocol))
        except trio.BrokenResourceError:
            raise PeerRefused(0) from None
        return upstream

    @classmethod
    async def refuse(
        cls, stream: trio.abc.Stream, status: int, *, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> Self:
        """Read the request and answer with `status`; the stream stays open."""
        upstream = await cls._asked(stream)
        lines = [(name.encode(), value.encode()) for name, value in headers]
        lines.append((b"content-length", str(len(body)).encode()))
        await upstream._send_event(RejectConnection(status_code=status, headers=lines, has_body=True))
        await upstream._send_event(RejectData(data=body))
        return upstream

    @classmethod
    async def _asked(cls, stream: trio.abc.Stream) -> Self:
        upstream = cls(stream, wsproto.WSConnection(ConnectionType.SERVER))
        request = await upstream.next_event()
        assert isinstance(request, Request), request
        upstream.request = request
        return upstream

    def header(self, name: str) -> str | None:
        """A header of the request, None if absent."""
        assert self.request is not None
        lines = {key.lower(): value.decode() for key, value in self.request.extra_headers}
        return lines.get(name.lower().encode())


class FaultyStream(trio.abc.Stream):
    """A stream that works until told otherwise. Like a real one, closing it wakes whoever is stuck in it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._changed = trio.Event()
        self._room_bytes: int | None = None  # None: no limit
        self._deaf = False
        self._dripping = False
        self._broken = False
        self._hangs = False
        self._held: bytes | bytearray = b""  # received while deaf
        self.closed = False
        self.sent = bytearray()  # all that got through
        self.received_bytes = 0

    @contextmanager
    def stalled_sends(self, after_bytes: int = 0) -> Iterator[None]:
        """The peer reads `after_bytes` more, then nothing: a send gets stuck in the middle."""
        self._room_bytes = after_bytes
        yield
        self._room_bytes = None
        self._wake()

    @contextmanager
    def half_open(self) -> Iterator[None]:
        """Nothing arrives any more, and nobody says so."""
        self._deaf = True
        yield
        self._deaf = False
        self._wake()

    @contextmanager
    def dripping(self) -> Iterator[None]:
        """What arrives arrives byte by byte."""
        self._dripping = True
        yield
        self._dripping = False

    @contextmanager
    def hanging_close(self) -> Iterator[None]:
        """A polite close never returns, as TLS's may not; a forced one works."""
        self._hangs = True
        yield
        self._hangs = False

    @contextmanager
    def torn_pipe(self) -> Iterator[None]:
        """Sending fails as if the peer had gone, while what it sent before can still be read."""
        self._broken = True
        yield
        self._broken = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        rest = bytes(data)
        await trio.lowlevel.checkpoint()
        while rest:
            await self._wait_while(lambda: self._room_bytes == 0)
            if self._broken:
                raise trio.BrokenResourceError
            room = len(rest) if self._room_bytes is None else self._room_bytes
            now, rest = rest[:room], rest[room:]
            await self._stream.send_all(now)
            self.sent += now
            if self._room_bytes is not None:
                self._room_bytes -= len(now)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self._held:
            self._held = await self._stream.receive_some(1 if self._dripping else max_bytes)
        await self._wait_while(lambda: self._deaf)
        data, self._held = self._held, b""
        self.received_bytes += len(data)
        return data

    async def wait_send_all_might_not_block(self) -> None:
        await self._wait_while(lambda: self._room_bytes == 0)

    async def aclose(self) -> None:
        try:
            if self._hangs:
                await trio.sleep_forever()
        finally:
            self.closed = True
            self._wake()
            await trio.aclose_forcefully(self._stream)
        await trio.lowlevel.checkpoint()

    async def _wait_while(self, condition: Callable[[], bool]) -> None:
        while condition() and not self.closed:
            await self._changed.wait()
        if self.closed:
            raise trio.ClosedResourceError

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@asynccontextmanager
async def loopback_pair() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """Two ends of a real TCP connection, the second one the listener's; both closed at the end."""
    async with (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] as listener:
        dialled = await trio.testing.open_stream_to_socket_listener(listener)
        accepted = await listener.accept()
    async with dialled, accepted:
        yield dialled, accepted
