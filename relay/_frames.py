"""WebSocket frames without a socket: bytes in, events out; messages in, bytes out (RFC 6455, either role).

This is the one file that knows wsproto, and it uses the two smallest parts of it: the decoder of single frames, and the
encoder. Messages are put together here, because what wsproto has no opinion on is what keeps a server alive:

* a size is refused when the header that declares it has been read, so nothing above the limit is ever held;
* fragments are counted: a million empty ones are a million list entries elsewhere;
* bytes of an unfinished message live in one bytearray, however finely they are dripped in.

After an error every further call raises it again, until `skip_messages()`: from then on payloads are dropped unread,
limits and UTF-8 no longer matter, and only the peer's Close is of interest. No extension exists here, so every RSV bit
is a violation.
"""

from __future__ import annotations

import codecs
import enum
import struct
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from wsproto.frame_protocol import FrameDecoder, FrameProtocol, Header, Opcode, ParseFailed

Role: TypeAlias = Literal["server", "client"]

NO_CODE: Final = 1005  # what an empty Close frame counts as; never sent as a number
INTERNAL_ERROR: Final = 1011
MAX_REASON_BYTES: Final = 123  # a control frame holds 125 bytes, two of them the code


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
    """The protocol state of one connection, for the side that plays `role`.

    Feed it one chunk of received bytes, then take events until there are none before feeding the next: what it holds is
    then at most that chunk and one message of `message_bytes`.
    """

    def __init__(self, *, role: Role, message_bytes: int, fragments: int) -> None:
        self._decoder = FrameDecoder(client=role == "client")
        self._encoder = FrameProtocol(client=role == "client", extensions=[])
        self._message = _Message(message_bytes, fragments)
        self._error: WireError | None = None
        self._skipping = False
        self._closed = False

    @property
    def buffered(self) -> bool:
        """True if there are bytes that no event has accounted for."""
        return len(self._decoder.buffer) > 0

    def feed(self, data: bytes | bytearray) -> None:
        """Take received bytes. After an error or the peer's Close they mean nothing, and are dropped."""
        if not self._closed and not isinstance(self._error, ProtocolViolation):
            self._decoder.receive_bytes(bytes(data))

    def next_event(self) -> Event | None:
        """The next event, or None if more bytes are needed.

        Raises ProtocolViolation or MessageTooBig, and the same again on every later call.
        """
        if self._error is not None:
            raise self._error
        if self._closed:
            return None
        try:
            return self._next_event()
        except ParseFailed as exc:
            self._error = ProtocolViolation(str(exc), int(exc.code))
        except WireError as exc:
            self._error = exc
        raise self._error

    def skip_messages(self) -> bool:
        """From now on drop messages unread. False if, after a violation, not even a Close can be found any more."""
        self._skipping = True
        if isinstance(self._error, ProtocolViolation):
            self._closed = True
            self._decoder.buffer.buffer.clear()
        self._error = None
        return not self._closed

    def encode(self, message: str | bytes) -> bytes:
        """A whole message as one frame, masked if we are the client."""
        return bytes(self._encoder.send_data(message))

    def ping(self) -> bytes:
        """A ping without payload: any byte of an answer will do."""
        return bytes(self._encoder.ping())

    def pong(self, payload: bytes) -> bytes:
        """The answer to a ping."""
        return bytes(self._encoder.pong(payload))

    def close(self, code: int, reason: str = "") -> bytes:
        """A Close frame. 1005 means one without a code; another code that must not be sent becomes 1011."""
        if code == NO_CODE:
            return bytes(self._encoder.close())
        text = reason.encode("utf-8", "replace")[:MAX_REASON_BYTES].decode("utf-8", "ignore")
        return bytes(self._encoder.close(code if may_be_sent(code) else INTERNAL_ERROR, text))

    def _next_event(self) -> Event | None:
        if self._decoder.header is None:
            if not self._decoder.parse_header():
                return None
            self._check_header(self._decoder.header)
        piece = self._decoder.process_buffer()
        if piece is None:
            return None
        payload = bytes(piece.payload)  # type: ignore[arg-type]  # wsproto's decoder of frames yields bytes only
        if piece.opcode is Opcode.PING:
            return Ping(payload)
        if piece.opcode is Opcode.CLOSE:
            self._closed = True
            return _parse_close(payload)
        if piece.opcode is Opcode.PONG or self._skipping:
            return Quiet.QUIET
        return self._message.add(payload, finished=piece.frame_finished and piece.message_finished)

    def _check_header(self, header: Header | None) -> None:
        if header is not None and not header.opcode.iscontrol() and not self._skipping:
            self._message.begin_frame(header.opcode, header.payload_len)


class _Message:
    """The message that is arriving: first each frame's header, then its payload in as many pieces as chunks held it."""

    def __init__(self, max_bytes: int, max_fragments: int) -> None:
        self._max_bytes = max_bytes
        self._max_fragments = max_fragments
        self._reset()

    def _reset(self) -> None:
        self._opcode: Opcode | None = None
        self._parts = bytearray()
        self._fragments = 0
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    def begin_frame(self, opcode: Opcode, length: int) -> None:
        """Judge a frame by its header: may it come now, and is there room for all of it?"""
        if (self._opcode is None) == (opcode is Opcode.CONTINUATION):
            fault = "a continuation of nothing" if self._opcode is None else "a message inside a message"
            raise ProtocolViolation(fault)
        if self._opcode is None:
            self._opcode = opcode
        self._fragments += 1
        if self._fragments > self._max_fragments:
            raise MessageTooBig(f"a message of more than {self._max_fragments} fragments")
        if len(self._parts) + length > self._max_bytes:
            raise MessageTooBig(f"a message of more than {self._max_bytes} bytes")

    def add(self, payload: bytes, *, finished: bool) -> str | bytes | Quiet:
        """Add a piece; returns the message if it is the last one."""
        if self._opcode is Opcode.TEXT:
            self._check_utf8(payload, finished)
        if not finished:
            self._parts += payload
            return Quiet.QUIET
        whole = bytes(self._parts) + payload if self._parts else payload
        message = whole.decode() if self._opcode is Opcode.TEXT else whole
        self._reset()
        return message

    def _check_utf8(self, payload: bytes, finished: bool) -> None:
        """Fail at the first wrong byte, not at the end of the message. Between fragments a character may be split."""
        try:
            self._utf8.decode(payload, finished)
        except UnicodeDecodeError as exc:
            raise ProtocolViolation("text that is not UTF-8", 1007) from exc


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
