"""Who is let in: the handshake as values. The live API accepts nearly every upgrade and refuses afterwards.

A wrong path is an HTTP 404 and an unreadable fault an HTTP 400. Everything else gets its 101, and then, if need be, one
`error` event and a close whose reason is `<type>.<code>`.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from relay.simulator.checks import Refusal, listing, quote
from relay.simulator.schema import MODELS

PATH = "/v1/realtime"
SUBPROTOCOL = "realtime"
KEY_SUBPROTOCOL = "openai-insecure-api-key."
BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
CLOSE_UNAUTHORIZED, CLOSE_REFUSED = 3000, 4000


class Denied(Exception):
    """Refused after the 101: send the refusal as an error, then close with `close_code` and its `close_reason`."""

    def __init__(self, close_code: int, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.close_code = close_code
        self.refusal = refusal


class HttpRefusal(Exception):
    """Refused before the upgrade, with an HTTP status."""

    def __init__(self, status: int, message: str, retry_after_s: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.headers = [(b"Content-Type", b"text/plain; charset=utf-8")]
        if retry_after_s:
            self.headers.append((b"Retry-After", retry_after_s.encode("ascii")))
        self.body = f"{message}\n".encode()


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a client asked for: request target, headers (names in any case) and subprotocols offered."""

    target: str
    headers: Sequence[tuple[bytes, bytes]]
    subprotocols: Sequence[str]

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def subprotocol(self) -> str | None:
        """The one to select: never the entry that carries a key."""
        return SUBPROTOCOL if SUBPROTOCOL in self.subprotocols else None

    @property
    def fault(self) -> str:
        """The faults asked for, in the language of faults.py."""
        return self._query("fault")

    def admit(self, key: str | None) -> str:
        """The model asked for. Denied otherwise. `key` is the only one accepted, or None for anybody."""
        if "realtime=v1" in self._header(b"openai-beta") or BETA_SUBPROTOCOL in self.subprotocols:
            message = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
            raise Denied(CLOSE_REFUSED, Refusal("beta_api_shape_disabled", message))
        if key is not None and not hmac.compare_digest(self._key().encode(), key.encode()):
            raise wrong_key()
        model = self._query("model")
        if not model:
            message = "You must provide a model parameter."
            raise Denied(CLOSE_REFUSED, Refusal("missing_model", message, "model"))
        if model not in MODELS:
            message = f"Model {quote(model)} is not supported in realtime mode. Supported are {listing(MODELS)}."
            raise Denied(CLOSE_REFUSED, Refusal("invalid_model", message, "model"))
        return model

    def _query(self, name: str) -> str:
        return parse_qs(urlsplit(self.target).query).get(name, [""])[0]

    def _header(self, name: bytes) -> str:
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == name), "")

    def _key(self) -> str:
        scheme, _, credentials = self._header(b"authorization").partition(" ")
        if scheme.lower() == "bearer":
            return credentials.strip()
        offered = (name for name in self.subprotocols if name.startswith(KEY_SUBPROTOCOL))
        return next(offered, "").removeprefix(KEY_SUBPROTOCOL)


def wrong_key() -> Denied:
    """What a bad key gets, and the fault `unauthorized`."""
    return Denied(CLOSE_UNAUTHORIZED, Refusal("invalid_api_key", "Incorrect API key provided."))
