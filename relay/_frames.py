"""WebSocket frames without a socket: bytes in, events out; messages in, bytes out (RFC 6455, either role).

Heads, masks, limits and UTF-8 are C's affair (native/ws_parse.c, native/ws_build.c; the rules stand in
native/relay_native.h). Here is what Python adds: the pieces of a message are put together, a Close is read, a refusal
gets its words, and each frame that we mask gets its key. What keeps a server alive:

* a size is refused when the head that declares it has been read, so nothing above the limit is ever held;
* fragments are counted: a million empty ones are a million list entries elsewhere;
* bytes of an unfinished message live in one bytearray, however finely they are dripped in.

After an error every further call raises it again, until `skip_messages()`: from then on payloads are dropped unread,
limits and UTF-8 no longer matter, and only the peer's Close is of interest. No extension exists here, so every RSV bit
is a violation.

Who chooses what a client sends must not be able to foretell its masks (RFC 6455, 10.3). So keys come from the operating
system; 64 at a time, because asking for one costs as much as building a frame. Each is used once, and what a connection
has in stock no other connection sees.
"""

from __future__ import annotations

import enum
import os
import struct
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from relay._buffer import Buffer, shared_buffer
from relay._native import ffi, lib

Role: TypeAlias = Literal["server", "client"]

NO_CODE: Final = 1005  # what an empty Close frame counts as; never sent as a number
INTERNAL_ERROR: Final = 1011
MAX_REASON_BYTES: Final = 123  # a control frame holds 125 bytes, two of them the code

_HEAD_BYTES: Final[int] = lib.RELAY_WS_HEAD_BYTES
_KEY_BYTES: Final = 4
_KEYS_AHEAD: Final = 64

_MORE: Final[int] = lib.RELAY_WS_MORE
_TEXT: Final[int] = lib.RELAY_WS_TEXT
_BINARY: Final[int] = lib.RELAY_WS_BINARY
_PIECE: Final[int] = lib.RELAY_WS_PIECE
_PING: Final[int] = lib.RELAY_WS_PING
_CLOSE: Final[int] = lib.RELAY_WS_CLOSE

_VIOLATIONS: Final = {
    lib.RELAY_WS_E_OPCODE: "a reserved opcode",
    lib.RELAY_WS_E_RESERVED: "a reserved bit; no extension was agreed on",
    lib.RELAY_WS_E_CONTROL: "a control frame in fragments, or over 125 bytes",
    lib.RELAY_WS_E_MASK: "a server that masks its frames, or a client that does not",
    lib.RELAY_WS_E_LENGTH: "a length that is not in its shortest form, or beyond all bounds",
    lib.RELAY_WS_E_ORDER: "a continuation of nothing, or a message inside a message",
}


class WireError(Exception):
    """Base of all that can go wrong on a WebSocket. `relay.wire` draws the whole tree."""


class ProtocolViolation(WireError):
    """The peer broke RFC 6455; `close_code` is what it should be told: 1002, or 1007 for bad UTF-8."""

    def __init__(self, detail: str, close_code: int = 1002) -> None:
        super().__init__(detail)
        self.close_code = close_code


class MessageTooBig(WireError):
    """The peer sent, or announced, a message over the limit in bytes or in fragments."""

    close_code = 1009


@dataclass(frozen=True, slots=True)
class Ping:
    """The peer asks for a pong with the same payload (125 bytes at most)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class PeerClose:
    """The peer's Close frame: nothing follows it. `code` is 1005 if it gave none."""

    code: int
    reason: str


class Quiet(enum.Enum):
    """A frame was taken that needs no answer: a pong, or a piece of a message."""

    QUIET = enum.auto()


Event: TypeAlias = str | bytes | Ping | PeerClose | Quiet


def may_be_sent(code: int) -> bool:
    """True for close codes that may stand in a Close frame: registered ones, and 3000 to 4999."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


class Frames:
    """The protocol state of one connection, for the side that plays `role`. Not thread safe.

    Feed it one chunk of received bytes, then take events until there are none before feeding the next: what it holds is
    then at most that chunk, once more its size, and one message of `message_bytes`.
    """

    def __init__(self, *, role: Role, message_bytes: int, fragments: int) -> None:
        self._ws = ffi.new("relay_ws *")
        is_client = role == "client"
        lib.relay_ws_init(self._ws, lib.RELAY_WS_CLIENT if is_client else lib.RELAY_WS_SERVER, message_bytes, fragments)
        self._limits = {
            lib.RELAY_WS_E_TOO_LONG: f"{message_bytes} bytes",
            lib.RELAY_WS_E_FRAGMENTS: f"{fragments} fragments",
        }
        self._keys = _Keys() if is_client else None
        self._kept = shared_buffer()
        self._out = self._kept
        self._chunk = b""
        self._parts = bytearray()
        self._error: WireError | None = None
        self._closed = False

    @property
    def is_between_messages(self) -> bool:
        """Whether the next byte begins a message, or a frame on its own."""
        return not self._chunk and self._error is None and bool(lib.relay_ws_between_messages(self._ws))

    @property
    def buffered(self) -> bool:
        """True if there are bytes that no event has accounted for."""
        return bool(self._chunk)

    def feed(self, data: bytes | bytearray) -> None:
        """Take received bytes. After an error or the peer's Close they mean nothing, and are dropped."""
        if self._closed or isinstance(self._error, ProtocolViolation):
            return
        self._chunk += data
        if len(self._chunk) > self._out.room:
            self._out = Buffer(len(self._chunk))  # what a chunk holds of a message comes out in one piece

    def next_event(self, *, _next: Any = lib.relay_ws_next) -> Event | None:
        """The next event, or None if more bytes are needed.

        Raises ProtocolViolation or MessageTooBig, and the same again on every later call.
        """
        if self._error is not None:
            raise self._error
        if not self._chunk:
            return None
        ws, out = self._ws, self._out
        kind = _next(ws, self._chunk, len(self._chunk), out.chars, out.room)
        if not ws.at:
            self._drop_chunk()
        if kind == _MORE:
            return None
        try:
            return self._event(kind, out.bytes[: ws.length])
        except WireError as exc:
            self._error = exc
            raise

    def skip_messages(self) -> bool:
        """From now on drop messages unread. False if, after a violation, not even a Close can be found any more."""
        lib.relay_ws_skip(self._ws)
        if isinstance(self._error, ProtocolViolation):
            self._closed = True
            self._drop_chunk()
        self._error = None
        return not self._closed

    def encode(self, message: str | bytes) -> bytes:
        """A whole message as one frame, masked if we are the client."""
        if isinstance(message, str):
            return self._build(lib.RELAY_WS_OP_TEXT, message.encode())
        return self._build(lib.RELAY_WS_OP_BINARY, message)

    def ping(self) -> bytes:
        """A ping without payload: any byte of an answer will do."""
        return self._build(lib.RELAY_WS_OP_PING, b"")

    def pong(self, payload: bytes) -> bytes:
        """The answer to a ping."""
        return self._build(lib.RELAY_WS_OP_PONG, payload)

    def close(self, code: int, reason: str = "") -> bytes:
        """A Close frame. 1005 means one without a code; another code that must not be sent becomes 1011."""
        if code == NO_CODE:
            return self._build(lib.RELAY_WS_OP_CLOSE, b"")
        text = reason.encode("utf-8", "replace")[:MAX_REASON_BYTES].decode("utf-8", "ignore").encode()
        number = struct.pack("!H", code if may_be_sent(code) else INTERNAL_ERROR)
        return self._build(lib.RELAY_WS_OP_CLOSE, number + text)

    def _event(self, kind: int, payload: bytes) -> Event:
        if kind == _TEXT:
            return self._whole(payload).decode()
        if kind == _BINARY:
            return self._whole(payload)
        if kind == _PING:
            return Ping(payload)
        if kind == _CLOSE:
            self._closed = True
            self._drop_chunk()
            return _parse_close(payload)
        if kind < 0:
            raise self._refusal(kind)
        if kind == _PIECE:
            self._parts += payload
        return Quiet.QUIET

    def _whole(self, last: bytes) -> bytes:
        if not self._parts:
            return last
        whole = bytes(self._parts) + last
        self._parts = bytearray()
        return whole

    def _refusal(self, code: int) -> WireError:
        if code in self._limits:
            return MessageTooBig(f"a message of more than {self._limits[code]}")
        if code == lib.RELAY_WS_E_UTF8:
            return ProtocolViolation("text that is not UTF-8", 1007)
        return ProtocolViolation(_VIOLATIONS[code])

    def _drop_chunk(self) -> None:
        self._chunk = b""
        self._out = self._kept

    def _build(self, opcode: int, payload: bytes, *, _build: Any = lib.relay_ws_build) -> bytes:
        n = len(payload)
        out = self._kept if n <= self._kept.room - _HEAD_BYTES else Buffer(n + _HEAD_BYTES)
        key = self._keys.take() if self._keys else ffi.NULL
        return out.bytes[: _build(opcode, payload, n, key, out.chars, out.room)]  # type: ignore[no-any-return]  # cffi is untyped


class _Keys:
    """Masks that nobody can foretell, each handed out once."""

    __slots__ = ("_stock",)

    def __init__(self) -> None:
        self._stock = b""

    def take(self) -> bytes:
        stock = self._stock or os.urandom(_KEYS_AHEAD * _KEY_BYTES)
        self._stock = stock[_KEY_BYTES:]
        return stock[:_KEY_BYTES]


def _parse_close(payload: bytes) -> PeerClose:
    if not payload:
        return PeerClose(NO_CODE, "")
    if len(payload) == 1:
        raise ProtocolViolation("a Close frame with half a code")
    (code,) = struct.unpack("!H", payload[:2])
    if not may_be_sent(code):
        raise ProtocolViolation(f"close code {code}, which must not be sent")
    try:
        return PeerClose(code, payload[2:].decode())
    except UnicodeDecodeError as exc:
        raise ProtocolViolation("a close reason that is not UTF-8", 1007) from exc
