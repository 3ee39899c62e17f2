"""TLS of relay's own server: certificate and key, checked before they serve anybody, replaced without a restart.

    tls = ServerTls(certificate_file, key_file)     # ConfigError names the setting that is wrong
    secured = tls.wrap(stream)
    await tls.handshake(secured)                    # within HANDSHAKE_S; HandshakeFailed, and nobody is left to tell
    tls.reload()                                    # SIGHUP: for connections to come; ConfigError changes nothing

Rules: TLS 1.2 or newer, HTTP/1.1 and nothing else on top of it. A handshake belongs to its connection's task: the one
that accepts never waits for a peer. Files are read whole and tried out in a handshake with ourselves, so that a
certificate that no browser would take is found at start and at reload, and not by the first visitor.

No renegotiation: it is much work for few bytes, and no browser asks for it. What TLS 1.3 has instead, a new key, is
answered in a few bytes, and may not come often (secure_stream.py).
"""

from __future__ import annotations

import re
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio

from relay.errors import ConfigError
from relay.log import get_logger
from relay.secure_stream import Ciphertext, SecureStream
from relay.turnstile import Turnstile

log = get_logger(__name__)

HANDSHAKE_S = 10.0
EXPIRES_SOON = timedelta(days=14)
FILE_LIMIT_BYTES = 1_048_576

CERTIFICATE = "tls_certificate_file"
KEY = "tls_key_file"

_BLOCK = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_ANY_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which Python has no name for: the times are compared here, to say them."""


class HandshakeFailed(Exception):
    """The peer cannot shake hands with us, or was too slow. Scanners do that all day: it is worth a debug line."""


@dataclass(frozen=True, slots=True)
class _Identity:
    """What is shown to peers, and until when it may be."""

    context: ssl.SSLContext
    expires: datetime


class ServerTls:
    """The certificate in force, and the handshakes under way."""

    def __init__(self, certificate_file: str, key_file: str) -> None:
        """Read both files. Raises ConfigError."""
        self._files = (Path(certificate_file), Path(key_file))
        self._shaking: set[trio.CancelScope] = set()
        self._handshakes = Turnstile()
        self.reload()

    def reload(self) -> None:
        """Read both files again, for the connections to come. Raises ConfigError; the old certificate then stays."""
        self._identity = _load(*self._files)
        left = self._identity.expires - datetime.now(UTC)
        expires = self._identity.expires.isoformat()
        log.info("tls.certificate", expires=expires)
        if left < EXPIRES_SOON:
            log.warning("tls.certificate_expires_soon", expires=expires, days=left.days)

    def wrap(self, stream: trio.SocketStream) -> SecureStream:
        """Put TLS on a connection that was accepted; the handshake is still to come."""
        return SecureStream(Ciphertext(stream, self._handshakes), self._identity.context)

    async def handshake(self, stream: SecureStream) -> None:
        """Shake hands. Raises HandshakeFailed if the peer cannot, is too slow, or is given up."""
        with trio.move_on_after(HANDSHAKE_S) as scope:
            self._shaking.add(scope)
            try:
                await stream.do_handshake()
                return
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                log.debug("tls.handshake_failed", reason=str(error.__cause__ or "the peer went away"))
                raise HandshakeFailed from None
            finally:
                self._shaking.discard(scope)
        log.debug("tls.handshake_failed", reason="not in time")
        raise HandshakeFailed

    def give_up_handshakes(self) -> None:
        """End those under way: they are nobody yet, and must not hold up the end of the process."""
        for scope in self._shaking:
            scope.cancel()


def _load(certificate_file: Path, key_file: Path) -> _Identity:
    client = _client(certificate_file)
    _read(key_file, KEY)  # OpenSSL would not say which of the two it cannot open
    context = _context()
    try:
        context.load_cert_chain(certificate_file, key_file, password=lambda: _no_password(key_file))
        shown = _rehearse(context, client)
    except ssl.SSLError as error:
        raise _named(error, certificate_file, key_file) from None
    except OSError as error:  # one of them has gone since it was read
        raise _wrong(CERTIFICATE, certificate_file, f"cannot read it or its key: {error.strerror}") from None
    except ValueError:  # a name that is not text, for example
        raise _wrong(CERTIFICATE, certificate_file, "something in it cannot be read") from None
    try:
        begins, expires = (_time(shown[name]) for name in ("notBefore", "notAfter"))
    except (KeyError, ValueError):
        raise _wrong(CERTIFICATE, certificate_file, "its time of validity cannot be read") from None
    if expires <= datetime.now(UTC):
        raise _wrong(CERTIFICATE, certificate_file, f"expired on {expires:%Y-%m-%d %H:%M} UTC; renew it")
    if begins > datetime.now(UTC):
        raise _wrong(CERTIFICATE, certificate_file, f"not valid before {begins:%Y-%m-%d %H:%M} UTC")
    return _Identity(context, expires)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _client(certificate_file: Path) -> ssl.SSLContext:
    """Give a client that trusts what is in the file, and does not mind the time."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _ANY_TIME
    certificates = _BLOCK.findall(_read(certificate_file, CERTIFICATE))
    try:
        client.load_verify_locations(cadata="\n".join(certificates) or "none")
    except (ssl.SSLError, TypeError):  # TypeError: bytes that are not ASCII within a block
        raise _wrong(CERTIFICATE, certificate_file, "no certificate in PEM form") from None
    return client


def _rehearse(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, str]:
    """Shake hands with ourselves in memory; return the certificate that the client saw."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs, ours = client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)
    for side in (theirs, ours, theirs, ours):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return theirs.getpeercert() or {}  # type: ignore[return-value]  # the two values used are texts


def _named(error: ssl.SSLError, certificate_file: Path, key_file: Path) -> ConfigError:
    """Say which file is at fault: OpenSSL reads both in one go and names neither."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _wrong(CERTIFICATE, certificate_file, f"no browser would take it: {error.verify_message}")
    if error.reason == "KEY_VALUES_MISMATCH":
        return _wrong(KEY, key_file, f"not the key of the first certificate in {CERTIFICATE}")
    if error.reason is None:
        return _wrong(KEY, key_file, "no private key in PEM form")
    return _wrong(CERTIFICATE, certificate_file, f"cannot be used: {error}")


def _read(file: Path, setting: str) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(FILE_LIMIT_BYTES).decode("ascii", "replace")
    except OSError as error:
        raise _wrong(setting, file, f"cannot read it: {error.strerror}") from None


def _no_password(key_file: Path) -> str:
    """Stand in for OpenSSL's question at the terminal, which nobody would answer."""
    raise _wrong(KEY, key_file, "protected by a password; store it without one, readable by relay alone")


def _wrong(setting: str, file: Path, problem: str) -> ConfigError:
    return ConfigError(f"{setting}: {problem} ({file})")


def _time(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
