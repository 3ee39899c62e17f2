"""The browser leg: one WebSocket, what waits to be written to it, and the goodbye.

Rules: texts wait in an outbox that is bounded in bytes; a browser that lets it fill up has stopped reading, and its
session ends. One task writes (`Session`), in this order: texts first, then audio that is due. Failures of the socket
come out as BrowserError, so that whoever reads the reason of an end knows whose fault it was.
"""

from __future__ import annotations

from collections import deque
from typing import NoReturn

import trio

from relay import wire
from relay.config import Config
from relay.core.events import error_event
from relay.errors import (
    BrowserBadText,
    BrowserError,
    BrowserGone,
    BrowserProtocolError,
    BrowserSilent,
    BrowserTooBig,
    RelayError,
)
from relay.wakeup import Wakeup

OUTBOX_BYTES = 1_048_576
"""What may wait for a browser that reads slowly. A session's texts are a few KiB a second; a client that speaks
OpenAI's JSON gets its audio here too, and the upstream is read no further while half of this is full. One event of the
upstream may come on top, of `upstream_message_bytes` at most: whoever retrieves an item gets its audio in one piece."""

CLOSE_BAD_TEXT = 1007


class BrowserLeg:
    """One browser's socket for one session."""

    def __init__(self, socket: wire.WebSocket) -> None:
        self._socket = socket
        self._outbox: deque[str] = deque()
        self._outbox_bytes = 0
        self._room = Wakeup()
        self._event_count = 0

    async def receive(self) -> str | bytes:
        """Return the next message: text or audio. Raises BrowserError."""
        try:
            return await self._socket.receive()
        except wire.WireError as error:
            raise _fault(error) from None

    async def keep_alive(self) -> NoReturn:
        """Ping for ever. Raises BrowserSilent."""
        try:
            await self._socket.keep_alive()
        except wire.WireError as error:
            raise _fault(error) from None

    def tell(self, text: str) -> None:
        """Queue a text. Raises BrowserSilent when too much waits already; how long the text is, is not its fault."""
        if self._outbox_bytes > OUTBOX_BYTES:
            raise BrowserSilent(detail=f"{self._outbox_bytes} bytes wait for the browser")
        self._outbox.append(text)
        self._outbox_bytes += utf8_bytes(text)

    def tell_error(self, error: RelayError) -> None:
        """Queue an `error` event that does not end the session."""
        self.tell(error_event(error, self._event_id()))

    @property
    def has_text(self) -> bool:
        """Whether a text waits."""
        return bool(self._outbox)

    async def wait_room(self) -> None:
        """Wait until the outbox is at most half full. Always a checkpoint."""
        await trio.lowlevel.checkpoint()
        while self._outbox_bytes > OUTBOX_BYTES // 2:
            await self._room.wait()

    async def send_text(self) -> None:
        """Write the oldest text of the outbox. Raises BrowserError."""
        text = self._outbox.popleft()
        self._outbox_bytes -= utf8_bytes(text)
        self._room.ring()
        await self.send(text)

    async def send(self, message: str | bytes) -> None:
        """Write one message. Raises BrowserError."""
        try:
            await self._socket.send(message)
        except wire.WireError as error:
            raise _fault(error) from None

    async def flush(self) -> None:
        """Write what is left of a frame that went only in part. Raises BrowserError."""
        try:
            await self._socket.flush()
        except wire.WireError as error:
            raise _fault(error) from None

    @property
    def socket(self) -> wire.WebSocket:
        """The WebSocket."""
        return self._socket

    async def goodbye(self, reason: RelayError, *, deadline_at_s: float) -> None:
        """Say why the session ends (the texts that wait, an `error`), until the deadline; then close, with the code."""
        if isinstance(reason, BrowserGone | BrowserSilent):
            await self._socket.aclose(reason.close_code, reason.code)
            return
        self._outbox.append(error_event(reason, self._event_id(), fatal=True))
        with trio.move_on_at(deadline_at_s):
            try:
                while self._outbox:
                    await self.send_text()
            except BrowserError:
                pass  # it went away in the middle of the goodbye; closing is all that is left
        await self._socket.aclose(reason.close_code, reason.code)

    async def abort(self) -> None:
        """Drop the socket now, without a word; after a goodbye, a formality."""
        await self._socket.abort()

    def _event_id(self) -> str:
        self._event_count += 1
        return f"event_relay_{self._event_count}"


def browser_limits(config: Config) -> wire.WireLimits:
    """Return the limits of a browser's socket."""
    return wire.WireLimits(
        message_bytes=config.browser_message_bytes,
        send_deadline_s=config.send_deadline_s,
        close_deadline_s=config.close_deadline_s,
        ping_interval_s=config.ping_interval_s,
        silence_deadline_s=config.silence_deadline_s,
    )


def _fault(error: wire.WireError) -> BrowserError:
    """Say whose fault it was. No context manager: its generator would stand in every session that waits."""
    match error:
        case wire.Closed():
            return BrowserGone(detail=f"{error.code} {error.reason}")
        case wire.MessageTooBig():
            return BrowserTooBig(detail=str(error))
        case wire.ProtocolViolation(close_code=code):
            return (BrowserBadText if code == CLOSE_BAD_TEXT else BrowserProtocolError)(detail=str(error))
    return BrowserSilent(detail=str(error))


def utf8_bytes(text: str) -> int:
    """Return the length that a text has on the wire."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
