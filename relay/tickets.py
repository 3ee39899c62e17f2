"""Tickets: what a client presents at the door. Made for the operator's back end, short-lived, used once.

Theory of operation. A ticket is the text `ek_PAYLOAD.SIGNATURE`, so that it goes wherever OpenAI's ephemeral keys go.
The payload says until when it holds, how often, for which profile and model, and what the session may do; the signature
is an HMAC-SHA256 with the first ticket secret. Every secret is tried when one is presented, so that secrets can be
changed without a gap.

A process remembers the tickets that it has seen until they expire, in bounded memory; when that is full, nobody new
comes in. What it remembers is lost when it ends: therefore it takes no ticket that is older than itself. Several
processes with the same secret take each other's tickets, each of them once, if they have the same profile and model.

Rules:
- Pure in `now_s`, which is Unix time; nothing here awaits. It must never go back, or a ticket that was forgotten when
  it expired would hold again: `steady_clock` is such a clock.
- A ticket is exactly the text that was made. What decodes to the same and is written differently is refused.
- Whoever holds a ticket can read it: nothing secret is in it, and its user is a keyed hash.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from heapq import heappop, heappush
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from itsdangerous import Signer
from itsdangerous.encoding import base64_decode, base64_encode
from msgspec import Meta

from relay.config import Config, Secret
from relay.core.permissions import Grant
from relay.errors import Overloaded, TicketElsewhere, TicketRefused

PREFIX = "ek_"
MOST_USED = 100_000
"""Tickets that a process remembers, about 20 MB. At 600 s each that is 160 new ones a second."""

TOO_MANY = "More people were let in than this server can remember. Try again later."
EXPIRED, OLD, USED, FORGED = "expired", "older than this process", "used", "not a ticket of ours"
ELSEWHERE = "for another profile or model"

_FORM = re.compile(r"ek_(?P<payload>[A-Za-z0-9_-]{1,4096})\.[A-Za-z0-9_-]{43}", re.ASCII)

Seconds = Annotated[float, Meta(ge=0.0, le=86_400.0)]


def steady_clock() -> Callable[[], float]:
    """Return a clock that shows Unix time as it is now and counts on from here, through a machine's sleep as well.

    Somebody who sets the machine's clock neither revives a used ticket nor locks everybody out.
    """
    offset_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + offset_s


class TicketLimits(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Limits of one session, named and counted as in the settings; 0 leaves the process's own."""

    max_session_s: Seconds = 0.0
    max_idle_s: Seconds = 0.0
    max_audio_in_s: Seconds = 0.0
    max_audio_out_s: Seconds = 0.0
    max_tokens: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    max_usd: Annotated[float, Meta(ge=0.0, le=1_000_000.0)] = 0.0


class Service(NamedTuple):
    """What sessions here are with."""

    profile: str
    model: str


def service_of(config: Config) -> Service:
    """Return what a process with these settings serves. The simulator is nobody's profile: it costs nothing."""
    profile = "simulator" if config.upstream_kind == "simulator" else config.upstream_profile.name
    return Service(profile, config.requested_model)


class Ticket(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a ticket says. `user` is a keyed hash, "" for nobody in particular; times are Unix time.

    `policy` and `client_may` take the place of the settings of these names, both or, if `policy` is "", neither.
    """

    id: str
    service: Service
    made_s: float
    expires_s: int
    uses: int = 1
    user: str = ""
    limits: TicketLimits = TicketLimits()
    policy: Literal["", "locked", "open"] = ""
    client_may: tuple[Grant, ...] = ()


class Tickets:
    """The tickets of one process, which began at `started_s`. The first of `ticket_secrets` signs."""

    def __init__(
        self, ticket_secrets: Sequence[Secret], service: Service, *, started_s: float, most_used: int = MOST_USED
    ) -> None:
        self._signers = [_signer(secret) for secret in ticket_secrets]
        self._user_key = hmac.digest(ticket_secrets[0].reveal().encode(), b"relay.user", "sha256")
        self._service = service
        self._started_s = started_s
        self._most_used = most_used
        self._used: dict[str, int] = {}
        self._expiries: list[tuple[int, str]] = []

    def make(self, now_s: float, *, life_s: int, user: str = "", **more: Any) -> tuple[str, Ticket]:
        """Make a ticket for `user`, whose name does not leave this function; return its text and what it says.

        `more` are the other fields of a Ticket.
        """
        ticket = Ticket(
            id=secrets.token_urlsafe(12),
            service=self._service,
            made_s=now_s,
            expires_s=int(now_s) + life_s,
            user=self._hash(user) if user else "",
            **more,
        )
        payload = base64_encode(msgspec.json.encode(ticket))
        return PREFIX + self._signers[0].sign(payload).decode("ascii"), ticket

    def read(self, text: str, now_s: float) -> Ticket:
        """Return what a ticket says. Raises TicketRefused unless it is one, holds now, and may be used once more."""
        ticket = self._decode(text)
        if ticket.service != self._service:
            raise TicketElsewhere(detail=ELSEWHERE)
        self._forget(now_s)
        if now_s >= ticket.expires_s:
            raise TicketRefused(detail=EXPIRED)
        if ticket.made_s < self._started_s:
            raise TicketRefused(detail=OLD)
        if self._used.get(ticket.id, 0) >= ticket.uses:
            raise TicketRefused(detail=USED)
        return ticket

    def use(self, ticket: Ticket, now_s: float) -> None:
        """Count a use of a ticket that `read` has just returned. Raises Overloaded if no more can be remembered."""
        if ticket.id not in self._used:
            if len(self._used) >= self._most_used:
                wait_s = self._expiries[0][0] - now_s
                raise Overloaded(TOO_MANY, detail="tickets", retry_after_ms=max(1, round(1000 * wait_s)))
            heappush(self._expiries, (ticket.expires_s, ticket.id))
        self._used[ticket.id] = self._used.get(ticket.id, 0) + 1

    def _decode(self, text: str) -> Ticket:
        """Take a ticket apart. It is signed again and the texts are compared: base64 has several forms of one value."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise TicketRefused(detail=FORGED)
        payload, given = found["payload"].encode(), text.removeprefix(PREFIX).encode()
        if not any(hmac.compare_digest(signer.sign(payload), given) for signer in self._signers):
            raise TicketRefused(detail=FORGED)
        try:
            return msgspec.json.decode(base64_decode(payload), type=Ticket)
        except msgspec.DecodeError:  # a relay of another version made it
            raise TicketRefused(detail=FORGED) from None

    def _forget(self, now_s: float) -> None:
        while self._expiries and self._expiries[0][0] <= now_s:
            del self._used[heappop(self._expiries)[1]]

    def _hash(self, user: str) -> str:
        """Return the user's stable name: 64 hexadecimal digits, the same for as long as the first secret is."""
        return hmac.digest(self._user_key, user.encode(), "sha256").hex()


def _signer(secret: Secret) -> Signer:
    return Signer(secret.reveal(), salt=b"relay.ticket", key_derivation="hmac", digest_method=sha256)
