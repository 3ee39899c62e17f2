"""A WebSocket over any Trio stream: both roles, bounded in every direction, with a deadline on every way out.

    WireError
      Closed                the peer closed, or the stream ended (1006)
      ProtocolViolation     the peer broke RFC 6455
      MessageTooBig         more bytes or fragments than we take
      SendTimeout           the peer does not read
      PeerSilent            no byte came for too long
      HandshakeFailed       `connect`: what answered is not a WebSocket server, or it did not answer in time
        HandshakeRefused    `connect`: an HTTP answer other than 101

Theory of operation
===================

One layer below, `relay._frames` turns bytes into events and back and never waits. This module does the waiting, with
no task of its own and no queue: whoever calls `receive` reads the socket, whoever calls `send` writes it. Bytes that
are not asked for stay in the kernel, where they slow the peer down. Four rules hold it together:

One writer. Frames go out under `_send_lock`, each with a deadline. A frame that stops half-way (timeout, cancellation)
has torn the stream for ever, Trio cannot say how much of it went out, and so the socket is closed on the spot. A send
that still waits for the lock has written nothing and may be cancelled freely.

`receive` never waits for a writer. It has to answer pings, but if a send is stuck because the peer waits for us to
read, waiting for the lock would be the deadlock. So pongs and pings that are due lie in `_due`, one of each kind, and
go out with whoever holds the lock. A peer may be owed several pongs; RFC 6455, 5.5.3 lets the last one stand for all.

The first error is the reason. `_fail` keeps it, `receive` raises it from then on. After a violation of the peer's our
own half still works, so that it can be told what was wrong before the Close frame. If a send finds the pipe broken, the
reason may still lie unread on our side (a Close frame with a code, then a hang-up: that is how a wrong key is
reported), so the send leaves the reading side alone and waits a moment for `receive` to find it.

The end is bounded. `aclose` is shielded, so it can say goodbye from a cancelled scope, and the shield is
`close_deadline_s` long: our Close frame, the peer's, and then the socket is gone, also if the peer goes on sending
(that is read and dropped) or reads nothing. Whoever makes a WebSocket calls `aclose` or `abort`, whatever happened.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

import trio

from relay._frames import (
    Event,
    Frames,
    MessageTooBig,
    PeerClose,
    Ping,
    ProtocolViolation,
    Role,
    WireError,
)
from relay._handshake import HandshakeFailed, HandshakeRefused, Offer, open_handshake
from relay.errors import let_go

__all__ = [
    "Closed",
    "HandshakeFailed",
    "HandshakeRefused",
    "MessageTooBig",
    "PeerSilent",
    "ProtocolViolation",
    "SendTimeout",
    "WebSocket",
    "WireError",
    "WireLimits",
    "connect",
]

ABNORMAL: Final = 1006  # RFC 6455, 7.1.5: the connection ended without a Close frame
DRAIN_BYTES: Final = 1024 * 1024  # read and dropped after our Close; a peer that sends more is not waited for
FRAMES_PER_CHECKPOINT: Final = 64  # a chunk holds 32,000 empty frames: let others run in between
FORCED_CLOSE_S: Final = 1.0  # a forced close does not wait; this bounds a stream that does
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


class Closed(WireError):
    """The connection is over. `code` and `reason` are the peer's; 1005 if it gave no code, 1006 if the stream ended."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed with {code}: {reason}" if reason else f"closed with {code}")
        self.code = code
        self.reason = reason


class SendTimeout(WireError):
    """The peer did not read within `send_deadline_s`. The stream is gone."""


class PeerSilent(WireError):
    """Nothing arrived for `silence_deadline_s`, not even a pong."""


@dataclass(frozen=True, slots=True)
class WireLimits:
    """What one connection may cost. `message_bytes` counts the payload of all fragments, before UTF-8 decoding."""

    message_bytes: int
    fragments: int = 64
    send_deadline_s: float = 5.0
    close_deadline_s: float = 1.0
    ping_interval_s: float = 10.0
    silence_deadline_s: float = 25.0


class WebSocket:
    """One connection after its handshake. One task receives, any number send; all methods are checkpoints."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        role: Role,
        limits: WireLimits,
        subprotocol: str | None = None,
        received: bytes = b"",
    ) -> None:
        """Take over `stream`, and close it in the end. `received` are bytes that came with the handshake."""
        self.subprotocol = subprotocol
        self._stream = stream
        self._role = role
        self._limits = limits
        self._frames = Frames(role=role, message_bytes=limits.message_bytes, fragments=limits.fragments)
        self._frames.feed(received)
        self._read_lock = trio.StrictFIFOLock()
        self._send_lock = trio.StrictFIFOLock()
        self._due: dict[str, bytes] = {}
        self._error: WireError | None = None
        self._failed = trio.Event()
        self._close_sent = False
        self._peer_closed = False
        self._pipe_broken = False
        self._silence = _Silence()
        self._frames_taken = 0

    @property
    def stream(self) -> trio.abc.Stream:
        """What it runs on."""
        return self._stream

    @property
    def message_bytes(self) -> int:
        """Length of the longest message that is taken."""
        return self._limits.message_bytes

    @property
    def is_between_messages(self) -> bool:
        """Whether all that was read has been given out, and no message is half here."""
        return self._error is None and self._frames.is_between_messages

    @property
    def is_open(self) -> bool:
        """Whether neither side has said goodbye, and nothing has failed."""
        return self._error is None and not self._close_sent and not self._pipe_broken

    def heard(self) -> None:
        """Something came from the peer another way: it is not silent."""
        self._silence.heard()

    async def receive(self) -> str | bytes:
        """The next whole message: str if text, bytes if binary. Answers pings meanwhile.

        Cancelling it loses nothing. Raises Closed, ProtocolViolation, MessageTooBig or SendTimeout, and once it has
        raised one of them, the same again on every call.
        """
        if self._error is not None or self._frames.buffered:
            await trio.lowlevel.checkpoint()
        try:
            self._read_lock.acquire_nowait()
        except trio.WouldBlock:
            await self._read_lock.acquire()
        try:
            return await self._next_message()
        finally:
            self._read_lock.release()

    async def send(self, message: str | bytes) -> None:
        """Send one message as one frame.

        Raises SendTimeout if the peer does not take it in time; the stream is then gone, as it is if this is
        cancelled while writing. Raises Closed if there is nobody to send to.
        """
        frame = self._frames.encode(message)
        await self._lock_writer()
        try:
            self._check_sendable()
            await trio.lowlevel.checkpoint_if_cancelled()  # nothing is torn yet
            await self._write(frame)
            await self._write_due()
            return
        except Closed:
            if not self._pipe_broken:
                raise
        finally:
            self._send_lock.release()
        await self._raise_reason()

    async def flush(self) -> None:
        """Write what the stream holds of an earlier frame, as one with a short way may. Raises as `send` does."""
        await self._lock_writer()
        try:
            self._check_sendable()
            await self._write(b"")
        finally:
            self._send_lock.release()

    async def keep_alive(self) -> NoReturn:
        """Ping every `ping_interval_s`, for as long as the connection lives; run it as a task.

        Raises PeerSilent when nothing has arrived for `silence_deadline_s`. Time in which nobody receives does not
        count: what arrives then lies in the kernel, unseen. Raises whatever `receive` does when the connection ends.
        """
        next_ping_s = trio.current_time() + self._limits.ping_interval_s
        while self._error is None:
            silent_at_s = trio.current_time() + self._limits.silence_deadline_s - self._silence.seconds()
            if trio.current_time() >= silent_at_s:
                await trio.lowlevel.checkpoint()
                raise PeerSilent(f"no byte for {self._limits.silence_deadline_s:g} s")
            if trio.current_time() >= next_ping_s:
                next_ping_s = trio.current_time() + self._limits.ping_interval_s
                with trio.move_on_at(silent_at_s):
                    await self._send_control("ping", self._frames.ping())
            with trio.move_on_at(min(silent_at_s, next_ping_s)):
                await self._failed.wait()
        await trio.lowlevel.checkpoint()
        raise self._error.with_traceback(None)

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Send a Close frame, wait for the peer's, close the stream: all within `close_deadline_s`.

        `reason` is cut to 123 bytes. A `code` that may not be sent becomes 1011. Call it as often as you like, from a
        cancelled scope too; it raises nothing but Cancelled.
        """
        with trio.move_on_after(self._limits.close_deadline_s, shield=True):
            with contextlib.suppress(WireError, *_GONE, OSError):
                await self._say_goodbye(code, reason)
        await self.abort()

    async def abort(self) -> None:
        """Close the stream now, without a Close frame."""
        error = self._fail(Closed(ABNORMAL, "closed on this side"))
        await self._kill(error)
        let_go(error)  # it would hold what it came through, and that this: a circle
        await trio.lowlevel.checkpoint()

    # Receiving. Everything here runs under _read_lock.

    async def _next_message(self) -> str | bytes:
        while True:
            event = self._next_event()
            if isinstance(event, str | bytes):
                return event
            if event is None:
                await self._read()
            elif isinstance(event, Ping):
                await self._send_control("pong", self._frames.pong(event.payload))
            elif isinstance(event, PeerClose):
                await self._answer_close(event)
            await self._let_others_run()

    def _next_event(self) -> Event | None:
        if self._error is not None:
            raise self._error.with_traceback(None)  # it is raised many times: do not let it grow
        try:
            return self._frames.next_event()
        except WireError as exc:
            raise self._fail(exc) from None

    async def _let_others_run(self) -> None:
        self._frames_taken += 1
        if self._frames_taken % FRAMES_PER_CHECKPOINT == 0:
            await trio.lowlevel.checkpoint()

    async def _read(self) -> None:
        """Wait for bytes and feed them. Raises Closed at the end of the stream."""
        try:
            with self._silence:
                data = await self._stream.receive_some()
        except _GONE as exc:
            raise self._fail(Closed(ABNORMAL, f"the connection broke: {exc.__cause__ or exc}")) from exc
        if not data:
            raise self._fail(Closed(ABNORMAL, "the stream ended without a Close frame"))
        self._silence.heard()
        self._frames.feed(data)

    async def _answer_close(self, close: PeerClose) -> None:
        self._peer_closed = True
        self._fail(Closed(close.code, close.reason))
        with trio.move_on_after(self._limits.close_deadline_s), contextlib.suppress(WireError):
            await self._send_close(close.code, "", shield=True)

    # Sending. The first three take _send_lock; what follows _raise_reason runs under it.

    async def _lock_writer(self) -> None:
        try:
            self._send_lock.acquire_nowait()
            return
        except trio.WouldBlock:
            pass
        with trio.move_on_after(self._limits.send_deadline_s):
            await self._send_lock.acquire()
            return
        raise await self._timed_out()

    async def _send_control(self, kind: str, frame: bytes) -> None:
        """Send a ping or pong now, or leave it to the task that is writing."""
        self._due[kind] = frame
        try:
            self._send_lock.acquire_nowait()
        except trio.WouldBlock:
            return
        try:
            with contextlib.suppress(WireError):  # whoever called finds the reason in self._error, or by reading on
                await self._write_due()
        finally:
            self._send_lock.release()

    async def _send_close(self, code: int, reason: str, *, shield: bool) -> None:
        await self._send_lock.acquire()
        try:
            if not self._close_sent and not self._pipe_broken:
                await self._wait_for_room()
                self._close_sent = True
                await self._write(self._frames.close(code, reason), shield=shield)
        finally:
            self._send_lock.release()

    async def _raise_reason(self) -> NoReturn:
        """After a broken pipe: raise what `receive` finds, if it finds it soon."""
        with trio.move_on_after(self._limits.close_deadline_s):
            await self._failed.wait()
        self._check_sendable()
        raise Closed(ABNORMAL, "the connection broke")

    async def _write_due(self) -> None:
        """Send the pings and pongs that fell due. A peer that pings without end is answered for one deadline long."""
        until_s = math.inf
        while self._due and not self._close_sent and not self._pipe_broken and trio.current_time() < until_s:
            until_s = min(until_s, trio.current_time() + self._limits.send_deadline_s)
            await self._wait_for_room()
            _, frame = self._due.popitem()
            await self._write(frame, shield=True)

    def _check_sendable(self) -> None:
        if isinstance(self._error, Closed):
            raise self._error.with_traceback(None)
        if self._error is not None and not isinstance(self._error, ProtocolViolation | MessageTooBig):
            raise Closed(ABNORMAL, "the connection failed") from self._error
        if self._close_sent or self._pipe_broken:
            raise Closed(ABNORMAL, "the connection is closing")

    async def _wait_for_room(self) -> None:
        """Wait until a control frame fits into the socket: this may be cancelled, and the shielded write is brief."""
        try:
            with trio.move_on_after(self._limits.send_deadline_s):
                await self._stream.wait_send_all_might_not_block()
                return
        except _GONE as exc:
            raise self._broken_pipe() from exc
        raise await self._timed_out()

    async def _write(self, frame: bytes, *, shield: bool = False) -> None:
        """Write a frame whole, or close the stream."""
        try:
            with trio.move_on_after(self._limits.send_deadline_s, shield=shield):
                await self._stream.send_all(frame)
                return
        except _GONE as exc:
            raise self._broken_pipe() from exc
        except BaseException:
            await self._kill(Closed(ABNORMAL, "a send was cancelled half-way"))
            raise
        raise await self._timed_out()

    def _broken_pipe(self) -> Closed:
        self._pipe_broken = True
        return Closed(ABNORMAL, "the connection broke")

    async def _timed_out(self) -> SendTimeout:
        error = SendTimeout(f"the peer did not read for {self._limits.send_deadline_s:g} s")
        await self._kill(error)
        return error

    # Ending.

    def _fail(self, error: WireError) -> WireError:
        """Keep the first error, and return it."""
        if self._error is None:
            self._error = error
            self._failed.set()
        return self._error

    async def _kill(self, error: WireError) -> None:
        """Close the stream whatever state it is in. The shield keeps a cancelled caller's own exception."""
        self._fail(error)
        self._pipe_broken = True
        with trio.move_on_after(FORCED_CLOSE_S, shield=True), contextlib.suppress(*_GONE, OSError):
            await trio.aclose_forcefully(self._stream)

    async def _say_goodbye(self, code: int, reason: str) -> None:
        if self._pipe_broken:
            return
        await self._send_close(code, reason, shield=False)
        await self._read_lock.acquire()
        try:
            await self._drain()
        finally:
            self._read_lock.release()
        await self._stream.aclose()

    async def _drain(self) -> None:
        """Drop what arrives until the peer's Close. A client then waits for the end: the server hangs up first."""
        readable = self._frames.skip_messages() or self._peer_closed
        if not readable and isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()  # nothing it says can be understood: let it see at once that this is the end
        drained_bytes = 0
        while drained_bytes < DRAIN_BYTES:
            event = self._frames.next_event()
            if isinstance(event, PeerClose):
                self._peer_closed = True
                self._fail(Closed(event.code, event.reason))
            if self._peer_closed and self._role == "server":
                return
            if event is None:
                data = await self._stream.receive_some()
                if not data:
                    return
                self._frames.feed(data)
                drained_bytes += len(data)
            await self._let_others_run()


async def connect(
    stream: trio.abc.Stream,
    *,
    host: str,
    target: str,
    headers: Sequence[tuple[str, str]],
    subprotocols: Sequence[str] = (),
    limits: WireLimits,
    deadline_s: float,
) -> WebSocket:
    """Open a WebSocket as the client, on a connected stream. `host` goes into the Host header, `target` is the path.

    Raises HandshakeRefused or HandshakeFailed, ValueError if the request must not be sent as it is. Whenever this does
    not return, the stream has been closed.
    """
    try:
        offer = Offer(host, target, headers, subprotocols)
        opened = await open_handshake(stream, offer, deadline_s)
    except BaseException:
        with trio.move_on_after(FORCED_CLOSE_S, shield=True):
            await trio.aclose_forcefully(stream)
        raise
    return WebSocket(stream, role="client", limits=limits, subprotocol=opened.subprotocol, received=opened.received)


class _Silence:
    """How long the peer has been silent, not counting the time in which nobody listened."""

    def __init__(self) -> None:
        self._before_s = 0.0
        self._listening_since_s: float | None = None

    def __enter__(self) -> None:
        self._listening_since_s = trio.current_time()

    def __exit__(self, *exc: object) -> None:
        self._before_s = self.seconds()
        self._listening_since_s = None

    def heard(self) -> None:
        self._before_s = 0.0
        if self._listening_since_s is not None:
            self._listening_since_s = trio.current_time()

    def seconds(self) -> float:
        if self._listening_since_s is None:
            return self._before_s
        return self._before_s + trio.current_time() - self._listening_since_s
