"""The client's half of the opening handshake, on a stream that is already connected.

h11 reads the HTTP; what it says is judged here. The server is not trusted: the head of its answer is bounded in bytes,
a refusal's body in bytes and in time, a redirect is a refusal like any other, an extension that we did not offer is a
failure. What follows a 101 in the same chunk is already WebSocket and is handed on.

Names and values of the request are checked before h11 sees them, and no error text repeats a value: one of them is the
key.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import h11
import trio

from relay._frames import WireError

MAX_HEAD_BYTES: Final = 16 * 1024  # h11's default, and twice Apache's 8 KiB
MAX_BODY_BYTES: Final = 4 * 1024  # of a refusal: enough for an error in JSON
BODY_DEADLINE_S: Final = 1.0  # the status is what matters; its explanation must not hold it up
_CHUNK_BYTES: Final = 4 * 1024

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_TOKEN: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"(?:[!-~](?:[ \t!-~]*[!-~])?)?")
_VISIBLE: Final = re.compile(r"[!-~]+")
_OURS: Final = frozenset({"host", "connection", "upgrade", "content-length", "transfer-encoding", "expect"})


class HandshakeFailed(WireError):
    """What answered is not a WebSocket server, or did not answer in time."""


class HandshakeRefused(HandshakeFailed):
    """An HTTP answer other than 101. `body` is its first 4 KiB at most; `retry_after_s` is None if not said."""

    def __init__(self, status: int, retry_after_s: float | None, body: bytes) -> None:
        super().__init__(f"refused with HTTP status {status}")
        self.status = status
        self.retry_after_s = retry_after_s
        self.body = body


@dataclass(frozen=True, slots=True)
class Opened:
    """A handshake that succeeded; `received` are bytes that came after it."""

    subprotocol: str | None
    received: bytes


async def open_handshake(stream: trio.abc.Stream, offer: Offer, deadline_s: float) -> Opened:
    """Send the request and judge the answer. Raises HandshakeRefused or HandshakeFailed; leaves the stream open."""
    until_s = trio.current_time() + deadline_s
    answer: h11.InformationalResponse | h11.Response | None = None
    try:
        with trio.move_on_at(until_s):
            await stream.send_all(offer.request)
            answer = await _final_answer(stream, offer.http)
    except h11.RemoteProtocolError:
        raise HandshakeFailed("the answer is not valid HTTP") from None
    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        raise HandshakeFailed(f"the connection broke during the handshake: {exc.__cause__ or exc}") from exc
    if answer is None:
        raise HandshakeFailed(f"no answer within {deadline_s:g} s")
    if isinstance(answer, h11.InformationalResponse):
        return offer.accept(answer)
    with trio.move_on_at(min(until_s, trio.current_time() + BODY_DEADLINE_S)):
        await _read_body(stream, offer)
    raise HandshakeRefused(answer.status_code, _retry_after_s(answer), bytes(offer.body[:MAX_BODY_BYTES]))


async def _final_answer(stream: trio.abc.Stream, http: h11.Connection) -> h11.InformationalResponse | h11.Response:
    """The first answer that is a 101, or not an 1xx at all."""
    head_bytes = 0
    while True:
        event = http.next_event()
        if isinstance(event, h11.Response):
            return event
        if isinstance(event, h11.InformationalResponse):
            if event.status_code == 101:
                return event
        elif event is not h11.NEED_DATA:
            raise HandshakeFailed("the connection ended before an answer came")
        elif head_bytes > MAX_HEAD_BYTES:
            raise HandshakeFailed(f"an answer whose head is over {MAX_HEAD_BYTES} bytes")
        else:
            head_bytes += await _read_into(stream, http)


async def _read_into(stream: trio.abc.Stream, http: h11.Connection) -> int:
    data = await stream.receive_some(_CHUNK_BYTES)
    http.receive_data(bytes(data))
    return len(data)


async def _read_body(stream: trio.abc.Stream, offer: Offer) -> None:
    """Collect a refusal's body, however it ends."""
    with contextlib.suppress(h11.RemoteProtocolError, trio.BrokenResourceError):
        while len(offer.body) < MAX_BODY_BYTES:
            event = offer.http.next_event()
            if isinstance(event, h11.Data):
                offer.body += event.data
            elif event is h11.NEED_DATA:
                await _read_into(stream, offer.http)
            else:
                return


def _retry_after_s(response: h11.Response) -> float | None:
    """Seconds from `Retry-After`, in either of its forms; None if absent or not understood."""
    value = next((value for name, value in response.headers if name == b"retry-after"), b"")
    if re.fullmatch(rb"[0-9]{1,9}", value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value.decode("latin-1")).timestamp() - time.time())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


class Offer:
    """Our request, and what an answer to it must look like."""

    def __init__(self, host: str, target: str, headers: Sequence[tuple[str, str]], subprotocols: Sequence[str]) -> None:
        """Raises ValueError for a request that must not be sent."""
        _check_request(host, target, headers, subprotocols)
        key = base64.b64encode(secrets.token_bytes(16))
        self._accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        self._subprotocols = subprotocols
        lines = [("Host", host), ("Upgrade", "websocket"), ("Connection", "Upgrade"), *headers]
        lines += [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key.decode())]
        if subprotocols:
            lines.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
        self.body = bytearray()  # of a refusal
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        request = h11.Request(method="GET", target=target, headers=lines)
        self.request = (self.http.send(request) or b"") + (self.http.send(h11.EndOfMessage()) or b"")

    def accept(self, response: h11.InformationalResponse) -> Opened:
        """Check a 101 against the offer (RFC 6455, section 4.1); HandshakeFailed if it is not an answer to it."""
        if [value.lower() for value in _values(response, b"upgrade")] != [b"websocket"]:
            raise HandshakeFailed("a 101 without `Upgrade: websocket`")
        tokens = b",".join(_values(response, b"connection")).lower().split(b",")
        if b"upgrade" not in [token.strip() for token in tokens]:
            raise HandshakeFailed("a 101 without `Connection: Upgrade`")
        if _values(response, b"sec-websocket-accept") != [self._accept]:
            raise HandshakeFailed("a 101 that does not answer our key")
        if _values(response, b"sec-websocket-extensions"):
            raise HandshakeFailed("a 101 with an extension; none was offered")
        return Opened(self._chosen_subprotocol(response), bytes(self.http.trailing_data[0]))

    def _chosen_subprotocol(self, response: h11.InformationalResponse) -> str | None:
        chosen = [value.decode("latin-1") for value in _values(response, b"sec-websocket-protocol")]
        if not chosen:
            return None
        if len(chosen) > 1 or chosen[0] not in self._subprotocols:
            raise HandshakeFailed("a 101 with a subprotocol that was not offered")
        return chosen[0]


def _values(response: h11.InformationalResponse, name: bytes) -> list[bytes]:
    return [value for key, value in response.headers if key == name]


def _check_request(host: str, target: str, headers: Sequence[tuple[str, str]], subprotocols: Sequence[str]) -> None:
    """ASCII only, and nothing that could end a line and begin another."""
    if not _VISIBLE.fullmatch(host) or "/" in host:
        raise ValueError("host must be a name or an address, with a port if it needs one")
    if not _VISIBLE.fullmatch(target) or not target.startswith("/"):
        raise ValueError("target must be a path of visible ASCII characters")
    if not all(_TOKEN.fullmatch(subprotocol) for subprotocol in subprotocols):
        raise ValueError("a subprotocol must be an HTTP token")
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            raise ValueError("a header's name must be an HTTP token")
        if name.lower() in _OURS or name.lower().startswith("sec-websocket-"):
            raise ValueError(f"header {name} is the handshake's own")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the value of header {name} must be visible ASCII characters")
