"""The door: who may begin a voice session, decided before the upgrade.

Rules, in this order:
1. A browser says its Origin, and it must be in the list, ticket or not. Whoever says none is a program: it is let in by
   its ticket or, where no tickets are needed, on loopback only.
2. It offers one of our subprotocols, or none.
3. Its ticket holds, where tickets are needed. Why one does not hold is in the log, not in the answer; only whoever
   brings one that was made for another profile or model is told so.
4. There is room, for this address too. A stranger gets no further than 3 and learns nothing of the server's state.
5. The ticket is used up, last of all: who found no room may come back with it.

Nothing here awaits, so what was decided still holds when the session takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relay.admission import Admission
from relay.config import Config
from relay.errors import AddressLimit, BadRequest, OriginRefused, RelayError, TicketElsewhere, TicketRefused
from relay.log import get_logger
from relay.tickets import FORGED, Ticket, Tickets

log = get_logger(__name__)

RELAY_V1_SUBPROTOCOL = "relay.v1"
OPENAI_SUBPROTOCOL = "realtime"
KEY_SUBPROTOCOL = "openai-insecure-api-key."

STATUS: dict[type[RelayError], int] = {
    BadRequest: 400,
    TicketRefused: 401,
    TicketElsewhere: 403,
    OriginRefused: 403,
    AddressLimit: 429,
}
"""HTTP statuses of refusals; whatever is not here is 503: the server cannot now, and may later."""


@dataclass(frozen=True, slots=True)
class Knock:
    """What somebody says at the door. Headers that came several times are all there."""

    peer: str
    origins: Sequence[str] = ()
    subprotocols: Sequence[str] = ()
    authorization: Sequence[str] = ()


class Door:
    """The door of one process. `origins` are the Origin values that may come in, `tickets` None where none is needed.

    Raises ValueError if one is needed and none could be read.
    """

    def __init__(self, config: Config, origins: frozenset[str], admission: Admission, tickets: Tickets | None) -> None:
        if config.needs_tickets and tickets is None:
            raise ValueError("tickets are needed, and there is no secret to read them with")
        self._origins = origins
        self._admission = admission
        self._tickets = tickets if config.needs_tickets else None
        self._admits_no_origin = config.needs_tickets or not config.is_exposed

    def admit(self, knock: Knock, now_s: float) -> Ticket | None:
        """Let somebody in, with their ticket if tickets are needed. `now_s` is Unix time. Raises the refusal."""
        self._check_origin(knock.origins)
        if knock.subprotocols and not {RELAY_V1_SUBPROTOCOL, OPENAI_SUBPROTOCOL} & set(knock.subprotocols):
            raise BadRequest(f"Offer the subprotocol {RELAY_V1_SUBPROTOCOL} or {OPENAI_SUBPROTOCOL}.")
        ticket = self._read_ticket(knock, now_s)
        self._admission.check()
        self._admission.check_address(knock.peer)
        if self._tickets and ticket:
            self._tickets.use(ticket, now_s)
        return ticket

    def _check_origin(self, origins: Sequence[str]) -> None:
        is_known = len(origins) == 1 and origins[0] in self._origins
        if not is_known and not (len(origins) == 0 and self._admits_no_origin):
            raise OriginRefused()

    def _read_ticket(self, knock: Knock, now_s: float) -> Ticket | None:
        if self._tickets is None:
            return None
        try:
            return self._tickets.read(credential(knock), now_s)
        except TicketRefused as refusal:
            if refusal.detail != FORGED:  # a stranger cannot fill the log
                log.info("ticket.refused", peer=knock.peer, reason=refusal.detail)
            raise


def credential(knock: Knock) -> str:
    """Return the key that is shown, "" if none is: as a subprotocol by a browser, as Bearer by a program.

    The subprotocol counts first: a proxy on the way may have put a header of its own there.
    """
    offered = [name.removeprefix(KEY_SUBPROTOCOL) for name in knock.subprotocols if name.startswith(KEY_SUBPROTOCOL)]
    return next((key for key in (*offered, *map(bearer, knock.authorization)) if key), "")


def bearer(header: str) -> str:
    """Return the token of an Authorization header, "" if it has another scheme."""
    scheme, _, token = header.partition(" ")
    return token if scheme.lower() == "bearer" else ""
