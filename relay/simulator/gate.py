"""Who is let in: the handshake as values. The live API accepts nearly every upgrade and refuses afterwards.

A wrong path is an HTTP 404 and an unreadable fault an HTTP 400. Everything else gets its 101, and then, if need be, one
`error` event and a close whose reason is `<type>.<code>`. Services that do it otherwise say so in faces.py.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import parse_qs, urlsplit

from relay.simulator.checks import Refusal, listing, quote
from relay.simulator.faces import OPENAI, Face

SUBPROTOCOL = "realtime"
BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
CLOSE_UNAUTHORIZED, CLOSE_REFUSED = 3000, 4000


class Denied(Exception):
    """Refused after the 101: send the refusal as an error if `is_told`, then close with `close_code` and its
    `close_reason`."""

    def __init__(self, close_code: int, refusal: Refusal, *, is_told: bool = True) -> None:
        super().__init__(refusal.message)
        self.close_code = close_code
        self.refusal = refusal
        self.is_told = is_told


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

    @property
    def safety_identifier(self) -> str:
        """For which user the session is, as whoever connects says."""
        return self._header(b"openai-safety-identifier")

    def knock(self, key: str | None, face: Face = OPENAI) -> None:
        """HttpRefusal for what `face` refuses before the upgrade. `key` as for `admit`."""
        if self.path != face.path:
            raise HttpRefusal(404, f"The simulator serves {face.path}.")
        for name in face.refused_query:
            if self._query(name):
                raise HttpRefusal(400, f"The query parameter '{name}' is not supported here.")
        if face.wrong_key == 401 and not self._has_key(key, face):
            raise HttpRefusal(401, "Access denied due to a missing or invalid key.")

    def admit(self, key: str | None, face: Face = OPENAI) -> str:
        """The model asked for. Denied otherwise. `key` is the only one accepted, or None for anybody."""
        if face.refuses_beta and (
            "realtime=v1" in self._header(b"openai-beta") or BETA_SUBPROTOCOL in self.subprotocols
        ):
            message = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
            raise Denied(CLOSE_REFUSED, Refusal("beta_api_shape_disabled", message))
        if not self._has_key(key, face):
            raise wrong_key(face)
        model = self._query("model")
        if not model:
            message = "You must provide a model parameter."
            raise Denied(CLOSE_REFUSED, Refusal("missing_model", message, "model"))
        if not any(fnmatchcase(model, known) for known in face.models):
            message = f"Model {quote(model)} is not supported in realtime mode. Supported are {listing(face.models)}."
            raise Denied(face.unknown_model_close, Refusal(face.unknown_model, message, "model"))
        return model

    def _query(self, name: str) -> str:
        return parse_qs(urlsplit(self.target).query).get(name, [""])[0]

    def _header(self, name: bytes) -> str:
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == name), "")

    def _has_key(self, key: str | None, face: Face) -> bool:
        if key is None or not face.has_keys:
            return True
        return any(hmac.compare_digest(shown.encode(), key.encode()) for shown in self._keys(face))

    def _keys(self, face: Face) -> list[str]:
        """All that could be a key, from every place where this face looks for one."""
        scheme, _, credentials = self._header(b"authorization").partition(" ")
        found = [credentials.strip() if scheme.lower() == "bearer" else ""]
        if face.key_header:
            found.append(self._header(face.key_header))
        if face.key_query:
            found.append(self._query(face.key_query))
        if face.key_subprotocol:
            offered = (name for name in self.subprotocols if name.startswith(face.key_subprotocol))
            found.append(next(offered, "").removeprefix(face.key_subprotocol))
        return found


def wrong_key(face: Face = OPENAI) -> Denied:
    """What a bad key gets after the 101, and the fault `unauthorized`."""
    refusal = Refusal("invalid_api_key", "Incorrect API key provided.")
    if face.wrong_key == 1008:
        return Denied(1008, refusal, is_told=False)
    return Denied(CLOSE_UNAUTHORIZED, refusal)
