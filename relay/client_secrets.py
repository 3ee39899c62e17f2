"""`POST /v1/realtime/client_secrets`: the operator's back end asks for a ticket, in OpenAI's own shape.

Rules:
- The server token is compared before anything else is read. A right token is never refused for what others try: whoever
  hammers wrong ones, from the same proxy perhaps, gets 429 for those.
- A session object is taken as `session.update` is: the session stays the operator's, and the answer shows it. What its
  writer may miss, a prompt or tools, is named in the log.
- What is in `relay` is bound into the ticket, and refused by name if it would widen what the operator allows.
"""

from __future__ import annotations

import hmac
import math
import random
import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from relay.addresses import network_of
from relay.config import Config
from relay.connections import SPREAD_S, Choose
from relay.core import permissions
from relay.core.public import public_session
from relay.limits import bound_by, tightened, too_wide
from relay.log import get_logger, redact
from relay.operators_session import session_update
from relay.prices import unpriced
from relay.tickets import Ticket, TicketLimits, Tickets

log = get_logger(__name__)

PATH = "/v1/realtime/client_secrets"
WRONG_TOKENS_PER_MINUTE = 10
MOST_ADDRESSES = 1_024

_WHERE = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")


class ApiError(Exception):
    """An answer other than 200, as OpenAI writes it."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        message = redact(message)  # it may repeat what somebody sent
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        kind = "invalid_request_error" if status < 500 else "server_error"
        self.body = {"error": {"message": message, "type": kind, "param": param and redact(param), "code": code}}


class ExpiresAfter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a ticket holds."""

    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Meta(ge=10, le=7_200)] | None = None


class AskedSession(msgspec.Struct, frozen=True):
    """A session object, as far as relay reads it."""

    type: Literal["realtime"]
    instructions: Raw | UnsetType = UNSET
    prompt: Raw | UnsetType = UNSET
    tools: Raw | UnsetType = UNSET
    tool_choice: Raw | UnsetType = UNSET

    @property
    def missed(self) -> list[str]:
        """Fields that are the operator's own, and whose absence their writer may notice."""
        return [name for name in self.__struct_fields__[1:] if getattr(self, name) is not UNSET]


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What relay binds into a ticket, beyond OpenAI's fields."""

    user: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    uses: Annotated[int, Meta(ge=1, le=1_000)] | None = None
    limits: TicketLimits = TicketLimits()
    policy: Literal["locked", "open"] | None = None
    client_may: Annotated[tuple[permissions.Grant, ...], Meta(max_length=50)] | None = None


class SecretRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request."""

    expires_after: ExpiresAfter | None = None
    session: AskedSession | None = None
    relay: Grant = Grant()


_decoder = msgspec.json.Decoder(SecretRequest)


class WrongTokens:
    """Counts wrong server tokens by address and minute, in bounded memory: an address beyond it has had its share."""

    def __init__(self) -> None:
        self._minute = 0
        self._tries: Counter[str] = Counter()

    def count(self, peer: str, now_s: float) -> bool:
        """Count one; return whether it is one too many."""
        minute = int(now_s // 60)
        if minute != self._minute:
            self._minute = minute
            self._tries.clear()
        network = network_of(peer)
        if network not in self._tries and len(self._tries) >= MOST_ADDRESSES:
            return True
        self._tries[network] += 1
        return self._tries[network] > WRONG_TOKENS_PER_MINUTE


class TicketOffice:
    """Where tickets are made. `tickets` is None where there is no secret to make them with."""

    def __init__(self, config: Config, tickets: Tickets | None, *, choose: Choose = random.uniform) -> None:
        self._config = config
        self._tickets = tickets
        self._choose = choose
        self._wrong = WrongTokens()

    def check_token(self, token: str, peer: str, now_s: float) -> None:
        """Raise ApiError unless `token` is the server token."""
        right = self._config.server_token
        if self._tickets is None or right is None:
            raise ApiError(
                404, "No tickets are made here: set RELAY_SERVER_TOKEN and RELAY_TICKET_SECRET.", "not_found"
            )
        if hmac.compare_digest(token.encode(errors="replace"), right.reveal().encode()):
            return
        if self._wrong.count(peer, now_s):
            wait_s = 60 - now_s % 60 + self._choose(0.0, SPREAD_S)
            message, headers = "Too many wrong tokens from this address.", {"Retry-After": str(math.ceil(wait_s))}
            raise ApiError(429, message, "rate_limit_exceeded", headers=headers)
        log.warning("ticket.wrong_token", peer=peer)
        message = "This needs relay's server token: Authorization: Bearer RELAY_SERVER_TOKEN."
        raise ApiError(401, message, "invalid_api_key", headers={"WWW-Authenticate": "Bearer"})

    def answer(self, body: bytes, now_s: float) -> dict[str, Any]:
        """Make a ticket for a request whose token is right; return the response. Raises ApiError."""
        asked = read_request(body)
        self._check_grant(asked.relay)
        seconds = asked.expires_after.seconds if asked.expires_after else None
        text, ticket = self._office.make(
            now_s,
            life_s=seconds or self._config.ticket_s,
            uses=asked.relay.uses or self._config.ticket_uses,
            user=asked.relay.user or "",
            limits=asked.relay.limits,
            **self._policy(asked.relay),
        )
        log.info("ticket.made", ticket=ticket.id, user=ticket.user[:8], expires_s=ticket.expires_s, uses=ticket.uses)
        if asked.session and asked.session.missed:
            log.warning("ticket.session_is_the_operators", ticket=ticket.id, ignored=asked.session.missed)
        return {"value": text, "expires_at": ticket.expires_s, "session": self._session(ticket)}

    @property
    def _office(self) -> Tickets:
        if self._tickets is None:
            raise RuntimeError("check_token comes first")
        return self._tickets

    def _check_grant(self, grant: Grant) -> None:
        if grant.uses and grant.uses > self._config.ticket_uses:
            raise _wrong("relay.uses", f"at most {self._config.ticket_uses} (ticket_uses)")
        if name := too_wide(self._config, grant.limits):
            raise _wrong(f"relay.limits.{name}", f"at most {getattr(self._config, name):g}, as for every session here")
        if unpriced(tightened(self._config, grant.limits)):
            raise _wrong("relay.limits.max_usd", "what a session costs is not known here; limit max_tokens")
        if grant.policy == "open" and grant.client_may:
            raise _wrong("relay.client_may", "an open client may do all of this already")

    def _policy(self, grant: Grant) -> dict[str, Any]:
        """Return what the ticket says of policy: nothing, or both settings."""
        if grant.policy is None and grant.client_may is None:
            return {}
        may = grant.client_may
        if may is None:
            may = self._config.client_may if grant.policy == "locked" else ()
        return {"policy": grant.policy or "locked", "client_may": tuple(sorted(set(may)))}

    def _session(self, ticket: Ticket) -> dict[str, Any]:
        """Return the session as its holder will see it: the operator's, without words or tools."""
        config = bound_by(ticket, self._config)
        session = session_update(config)["session"]
        return {
            "id": f"sess_{ticket.id}",
            "object": "realtime.session",
            "model": config.requested_model,
            **public_session(session),
        }


def read_request(body: bytes) -> SecretRequest:
    """Read the body; an empty one asks for nothing in particular. Raises ApiError, naming the field."""
    try:
        return _decoder.decode(body or b"{}")
    except msgspec.ValidationError as error:
        where, unknown = _WHERE.search(str(error)), _UNKNOWN.search(str(error))
        path = ".".join(part for part in (where and where["path"], unknown and unknown["name"]) if part)
        reason = "there is no such field" if unknown else _WHERE.sub("", str(error))[:200]
        raise _wrong(path[:300], reason) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise ApiError(400, "The body is not a JSON object.", "invalid_json") from None


def _wrong(path: str, reason: str) -> ApiError:
    return ApiError(400, f"{path or 'body'}: {reason}.", "invalid_value", param=path or None)
