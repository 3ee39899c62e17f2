"""The receiving half of `relay._frames` once more, on wsproto's decoder of single frames: the yardstick for the C one.

It shares with ours the types of its events and errors, and nothing else.
"""

from __future__ import annotations

import codecs
import struct

from wsproto.frame_protocol import FrameDecoder, Header, Opcode, ParseFailed

from relay._frames import Event, MessageTooBig, PeerClose, Ping, ProtocolViolation, Quiet, WireError, may_be_sent
from tests.peers import Role


class WsprotoFrames:
    """Feed it, then take events until there are none, as from `Frames`."""

    def __init__(self, *, role: Role, message_bytes: int, fragments: int) -> None:
        self._decoder = FrameDecoder(client=role == "client")
        self._message = _Message(message_bytes, fragments)
        self._error: WireError | None = None
        self._skipping = False
        self._closed = False

    def feed(self, data: bytes) -> None:
        if not self._closed and not isinstance(self._error, ProtocolViolation):
            self._decoder.receive_bytes(data)

    def next_event(self) -> Event | None:
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
        self._skipping = True
        if isinstance(self._error, ProtocolViolation):
            self._closed = True
        self._error = None
        return not self._closed

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
        self._parts = b""
        self._fragments = 0
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    def begin_frame(self, opcode: Opcode, length: int) -> None:
        if (self._opcode is None) == (opcode is Opcode.CONTINUATION):
            raise ProtocolViolation("order")
        if self._opcode is None:
            self._opcode = opcode
        self._fragments += 1
        if self._fragments > self._max_fragments or len(self._parts) + length > self._max_bytes:
            raise MessageTooBig("limit")

    def add(self, payload: bytes, *, finished: bool) -> str | bytes | Quiet:
        if self._opcode is Opcode.TEXT:
            self._check_utf8(payload, finished)
        self._parts += payload
        if not finished:
            return Quiet.QUIET
        message = self._parts.decode() if self._opcode is Opcode.TEXT else self._parts
        self._reset()
        return message

    def _check_utf8(self, payload: bytes, finished: bool) -> None:
        """Python's decoder waits for the third byte of ED A0, of which nothing can become: so ask what could."""
        try:
            self._utf8.decode(payload, finished)
        except UnicodeDecodeError:
            raise ProtocolViolation("UTF-8", 1007) from None
        begun, _ = self._utf8.getstate()
        if begun and not any(_is_utf8(begun + end) for end in ENDS_OF_CHARACTERS):
            raise ProtocolViolation("UTF-8", 1007)


ENDS_OF_CHARACTERS = [byte * count for byte in (b"\x80", b"\xbf") for count in (1, 2, 3)]
"""Whatever bytes begin a character, one of these ends it: the least or the greatest of what may follow."""


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _parse_close(payload: bytes) -> PeerClose:
    if not payload:
        return PeerClose(1005, "")
    code = struct.unpack("!H", payload[:2])[0] if len(payload) > 1 else 0
    if not may_be_sent(code):
        raise ProtocolViolation("close code")
    try:
        return PeerClose(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise ProtocolViolation("close reason", 1007) from None
