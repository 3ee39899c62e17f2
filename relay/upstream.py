"""The upstream leg: a TLS stream of our own, the handshake, and the session's start.

    async with open_upstream(target, config) as upstream:     # TCP, TLS, 101; closed on every way out, within a bound
        await upstream.begin(update, tell)                    # session.created -> session.update -> session.updated
        text = await upstream.receive()

Rules: certificates are verified by Python's defaults and nothing can switch that off. A 101 is not a login: OpenAI
reports a bad key after it, as an `error` followed by close 3000, others close without a word. Secrets that the upstream
repeats are taken out of its events here. Failures come out as UpstreamError; a lack of our own, of descriptors say, as
Overloaded. Everyone above this file speaks GA; a `TranslatingLeg` translates for an upstream that does not.
"""

from __future__ import annotations

import errno
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any, NoReturn, Protocol

import trio

from relay import wire
from relay.addresses import Address
from relay.config import Config, Secret
from relay.core import events
from relay.core.beta_upstream import BetaUpstream
from relay.core.passing import AudioPath, EventPath
from relay.core.xai_upstream import XaiUpstream
from relay.errors import (
    CertificateFault,
    Overloaded,
    UpstreamClosed,
    UpstreamError,
    UpstreamExpired,
    UpstreamProtocolError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnauthorized,
    UpstreamUnreachable,
    UpstreamUntrusted,
)
from relay.log import get_logger
from relay.mask import Mask
from relay.target import Target
from relay.tcp import TcpStream
from relay.tls_stream import TlsStream
from relay.way_stream import with_short_way

log = get_logger(__name__)

UNAUTHORIZED_CODES = frozenset({"invalid_api_key", "insufficient_permissions", "insufficient_quota"})
HEAD_CHARS = 1_024
"""Where an `error` event says that it is one; its id may be 512 characters long."""

EXPIRED_CODE = "session_expired"

UNAUTHORIZED_CLOSES = frozenset({1008, 3000})
"""Closes before the session stands that mean the key, with an `error` before them or without."""

COMPLAINT_S = 1.0
"""What an upstream finds fault with and what it takes are answers to one update: they come together."""

MOST_VALUES = 100_000
"""In one event, by commas and brackets; those of real traffic have 35 at most. 8 MiB of small values take seconds to
read, and all sessions wait meanwhile; as one long text, which audio is, they take none."""

LARGE_CHARS = 65_536
MAX_COMPLAINTS = 16

OUR_LACKS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""Errors of a connection that is not even tried: descriptors, memory or ports of this machine are used up."""

NO_SOCKET = "The server has no room for another connection. Try again in a moment."

CERTIFICATE_FAULTS: dict[int, CertificateFault] = {
    9: "not valid yet",
    10: "expired",
    18: "unknown authority",  # self-signed
    19: "unknown authority",  # the top of its chain is self-signed, and not one of ours
    20: "unknown authority",
    21: "unknown authority",
    62: "wrong host",
    64: "wrong host",  # an IP address
}
"""OpenSSL's X509_V_ERR_ numbers; Python has no names for them."""

Dial = Callable[[Address], Awaitable[trio.abc.Stream]]


@cache
def tls_context() -> ssl.SSLContext:
    """Return Python's default verification, made once: reading the authorities stops every session for 20 ms."""
    return ssl.create_default_context()


async def dial(address: Address) -> trio.abc.Stream:
    """Open TCP, and TLS where the URL says so, with the default verification. Raises OSError or ssl.SSLError."""
    stream = await trio.open_tcp_stream(address.host, address.port)
    if address.scheme == "ws":
        return with_short_way(stream)
    secured = TlsStream(TcpStream(stream), tls_context(), address.host)
    try:
        await secured.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(secured)
        raise
    return with_short_way(secured)


class UpstreamLeg:
    """One session's socket to the upstream."""

    def __init__(self, socket: wire.WebSocket, mask: Mask) -> None:
        self._socket = socket
        self._mask = mask
        self._last_error = events.ErrorBody()
        self._close_code = 0

    async def receive(self) -> str:
        """Return the next event. Raises UpstreamError."""
        try:
            message = await self._socket.receive()
        except wire.WireError as error:
            raise self._fault(error) from None
        if isinstance(message, bytes):
            raise UpstreamProtocolError(detail="a binary message")
        if len(message) > LARGE_CHARS and sum(map(message.count, ",[{")) > MOST_VALUES:
            raise UpstreamProtocolError(detail=f"an event of more than {MOST_VALUES} values")
        message = self._mask(message)
        if '"error"' in message[:HEAD_CHARS]:
            self._note_error(message)
        return message

    async def send(self, event: str | bytes) -> None:
        """Write one event, given as text or as the bytes of a text. Raises UpstreamError."""
        try:
            await self._socket.send(event if isinstance(event, str) else event.decode("ascii"))
        except wire.WireError as error:
            raise self._fault(error) from None

    async def flush(self) -> None:
        """Write what is left of a frame that went only in part. Raises UpstreamError."""
        try:
            await self._socket.flush()
        except wire.WireError as error:
            raise self._fault(error) from None

    @property
    def socket(self) -> wire.WebSocket:
        """The WebSocket."""
        return self._socket

    def may_pass(self, path: AudioPath | EventPath) -> bool:
        """Whether audio may pass unread: as samples, or in events of words and base64 if no secret can be in those."""
        return isinstance(path, AudioPath) or self._mask.spares_words

    async def keep_alive(self) -> NoReturn:
        """Ping for ever. Raises UpstreamTimeout."""
        try:
            await self._socket.keep_alive()
        except wire.WireError as error:
            raise self._fault(error) from None

    async def begin(self, update: dict[str, Any], tell: Callable[[str], None]) -> None:
        """Wait for `session.created`, send `update`, wait for `session.updated`; `tell` gets all that comes meanwhile.

        Raises UpstreamError, also for an `error` event: a session that did not take our settings is not used.
        """
        try:
            await self._expect(events.SESSION_CREATED, tell)
            await self.send(events.encode(update))
            await self._expect(events.SESSION_UPDATED, tell)
        except UpstreamClosed as closed:
            if self._close_code in UNAUTHORIZED_CLOSES:
                raise UpstreamUnauthorized(detail=closed.detail) from None
            raise

    async def aclose(self) -> None:
        """Close, within the close deadline."""
        await self._socket.aclose()

    async def _expect(self, kind: str, tell: Callable[[str], None]) -> None:
        found = ""
        while found != kind:
            text = await self.receive()
            found = _kind(text)
            if found == events.ERROR:
                raise self._refusal()
            tell(text)

    def _refusal(self) -> UpstreamError:
        error = self._last_error
        detail = f"{error.code}: {error.message}"
        if error.code in UNAUTHORIZED_CODES:
            return UpstreamUnauthorized(detail=detail)
        if error.code == EXPIRED_CODE:
            return UpstreamExpired(detail=detail)
        return UpstreamRefused(detail=detail)

    def _note_error(self, text: str) -> None:
        try:
            event = events.error_decoder.decode(text)
        except events.UNREADABLE:
            return  # an event that only mentions "error"
        if event.type == events.ERROR:
            self._last_error = event.error

    def _fault(self, error: wire.WireError) -> UpstreamError:
        """Say whose fault it was. No context manager: its generator would stand in every session that waits."""
        match error:
            case wire.Closed():
                return self._closed(error)
            case wire.SendTimeout() | wire.PeerSilent():
                return UpstreamTimeout(detail=str(error))
        return UpstreamProtocolError(detail=str(error))

    def _closed(self, error: wire.Closed) -> UpstreamError:
        self._close_code = error.code
        code = self._last_error.code
        if code == EXPIRED_CODE or code in UNAUTHORIZED_CODES:
            return self._refusal()
        return UpstreamClosed(detail=f"{error.code} {error.reason}")


class Translator(Protocol):
    """An upstream's words, as texts, with relay's on the other side."""

    def up(self, text: str) -> list[str]:
        """Return what relay says, as the upstream says it."""

    def down(self, text: str) -> list[str]:
        """Return what the upstream says in GA: no event, one or several. Raises one of `events.UNREADABLE`."""


class TranslatingLeg(UpstreamLeg):
    """A leg whose far end speaks otherwise. It says and hears GA, as any leg."""

    def __init__(self, socket: wire.WebSocket, mask: Mask, translator: Translator) -> None:
        super().__init__(socket, mask)
        self._translator = translator
        self._heard: deque[str] = deque()

    def may_pass(self, path: AudioPath | EventPath) -> bool:
        """Nothing may: whoever translates has to see it."""
        return False

    async def receive(self) -> str:
        """Return the next event in GA. Raises UpstreamError."""
        await trio.lowlevel.checkpoint()  # one event of the upstream may be several: the others are here already
        while not self._heard:
            self._heard.extend(self._in_ga(await super().receive()))
        return self._heard.popleft()

    async def send(self, event: str | bytes) -> None:
        """Write one event; audio, which comes as bytes, is the same everywhere. Raises UpstreamError."""
        for text in [event] if isinstance(event, bytes) else self._translator.up(event):
            await super().send(text)

    async def _expect(self, kind: str, tell: Callable[[str], None]) -> None:
        """Wait as any leg does, but listen on after a refusal: look-alikes name what they cannot set and take the rest.

        speaches answers every complete update so, with an error for each audio format and then `session.updated`.
        """
        refusal = await self._refusal_instead_of(kind, tell)
        if refusal is None:
            return
        with trio.move_on_after(COMPLAINT_S), suppress(UpstreamClosed):
            for _ in range(MAX_COMPLAINTS):
                log.warning("upstream.complained", detail=refusal.detail)
                another = await self._refusal_instead_of(kind, tell)
                if another is None:
                    return
                refusal = another
        raise refusal

    async def _refusal_instead_of(self, kind: str, tell: Callable[[str], None]) -> UpstreamRefused | None:
        try:
            await super()._expect(kind, tell)
        except UpstreamRefused as refusal:
            return refusal
        return None

    def _in_ga(self, text: str) -> list[str]:
        try:
            return self._translator.down(text)
        except events.UNREADABLE as error:
            raise _unreadable(error) from None


def _leg(target: Target, socket: wire.WebSocket, mask: Mask) -> UpstreamLeg:
    profile = target.profile
    match profile.dialect:
        case "beta":
            return TranslatingLeg(socket, mask, BetaUpstream(profile.input_rate_hz, profile.output_rate_hz))
        case "xai":
            return TranslatingLeg(socket, mask, XaiUpstream())
    return UpstreamLeg(socket, mask)


@asynccontextmanager
async def open_upstream(target: Target, config: Config, *, dial: Dial = dial) -> AsyncIterator[UpstreamLeg]:
    """Connect and upgrade; close on the way out, whatever happened, within the close deadline. Raises UpstreamError."""
    key = await target.credentials.current()
    socket = await _connect(target, key, config, dial)
    leg = _leg(target, socket, Mask([key, *config.tools.secrets]))
    try:
        yield leg
    finally:
        with trio.move_on_after(2 * config.close_deadline_s, shield=True):
            await leg.aclose()


async def _connect(target: Target, key: Secret | None, config: Config, dial: Dial) -> wire.WebSocket:
    address = target.address
    limits = wire.WireLimits(
        message_bytes=config.upstream_message_bytes,
        send_deadline_s=config.send_deadline_s,
        close_deadline_s=config.close_deadline_s,
        ping_interval_s=config.ping_interval_s,
        silence_deadline_s=config.silence_deadline_s,
    )
    try:
        with trio.fail_after(config.connect_deadline_s):
            stream = await dial(address)
        return await wire.connect(
            stream,
            host=_host_header(address),
            target=address.target,
            headers=target.headers(key),
            limits=limits,
            deadline_s=config.connect_deadline_s,
        )
    except (ssl.SSLError, trio.BrokenResourceError) as error:
        raise _no_tls(address.host, error.__cause__ or error) from None
    except OSError as error:
        detail = f"{address.host}:{address.port}: {error}"
        raise (
            Overloaded(NO_SOCKET, detail=detail) if _is_our_lack(error) else UpstreamUnreachable(detail=detail)
        ) from None
    except trio.TooSlowError:
        raise UpstreamTimeout(detail=f"{address.host}:{address.port}: no connection in time") from None
    except wire.HandshakeRefused as error:
        refusal = _refused(error)
        if isinstance(refusal, UpstreamUnauthorized):
            target.credentials.refused(key)
        raise refusal from None
    except wire.WireError as error:
        raise UpstreamUnreachable(detail=f"WebSocket handshake with {address.host}: {error}") from None


def _no_tls(host: str, error: BaseException) -> UpstreamUnreachable:
    """Say why there is no TLS with the upstream: by whose certificate, if it is that."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return UpstreamUnreachable(detail=f"TLS with {host}: {error}")
    fault = CERTIFICATE_FAULTS.get(error.verify_code, "invalid")
    return UpstreamUntrusted(fault, detail=f"certificate of {host}: {fault}: {error.verify_message}")


def _is_our_lack(error: OSError) -> bool:
    """Whether a connection failed on this machine; Trio has the reasons in a group, one for each address it tried."""
    group = error.__cause__
    causes = group.exceptions if isinstance(group, ExceptionGroup) else (error,)
    return any(isinstance(cause, OSError) and cause.errno in OUR_LACKS for cause in causes)


def _refused(error: wire.HandshakeRefused) -> UpstreamError:
    detail = f"HTTP {error.status}: {error.body[:300].decode(errors='replace')}"
    if error.status in (401, 403):
        return UpstreamUnauthorized(detail=detail)
    retry_after_ms = None if error.retry_after_s is None else round(error.retry_after_s * 1000)
    return UpstreamRefused(detail=detail, retry_after_ms=retry_after_ms)


def _host_header(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    default = 443 if address.scheme == "wss" else 80
    return host if address.port == default else f"{host}:{address.port}"


def _kind(text: str) -> str:
    try:
        return events.head_decoder.decode(text).type
    except events.UNREADABLE as error:
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> UpstreamError:
    return UpstreamProtocolError(detail=f"an event relay cannot read: {error}")
