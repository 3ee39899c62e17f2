"""Which response is active on the default conversation, and what was asked for and has not begun.

Rules: the API has one at a time. A request counts from when it goes up to `response.created`, or to the error that
answers it; at the latest for ASKED_S, because some look-alikes answer nothing. The upstream's own responses count as
well, those outside the conversation (`"conversation": "none"`) do not. A response has one beginning and one end,
however often they are told, and an end that names no response that is known is the active one's.

Nothing sticks: after an error that may have been a response's end, and some time after a cancel that nobody answered,
the active response is doubtful. So is one with a whole call in it: many clients answer a call and ask on before they
have heard that its response is done, and by the time that reaches the API, it is. The next request goes up then, and
the upstream decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from relay.core.memory import Memory, remember
from relay.core.turns_failure import ACTIVE_RESPONSE, CANCEL_NOT_ACTIVE, Failure
from relay.errors import BadRequest

ASKED_S = 30.0
"""An upstream that has not begun an answer after so long never will. It includes the start of a session."""

MAX_RESPONSES = 256
MAX_OUTSIDE = 64
"""Requests outside the conversation that are waited for; a session has a few at a time."""


_State = Literal["active", "over", "outside", "outside, over"]


@dataclass(frozen=True, slots=True)
class _Asked:
    event_id: str | None
    until_s: float


@dataclass(frozen=True, slots=True)
class _Cancel:
    event_id: str | None
    response_id: str | None


class Responses:
    """The responses of one session. `active` is the id of the one on the default conversation, "" if it has none."""

    __slots__ = ("_asked", "_cancel", "_is_relays_cancel", "_known", "_outside", "_sure_until_s", "active")

    def __init__(self) -> None:
        self.active: str | None = None
        self._asked: _Asked | None = None
        self._cancel: _Cancel | None = None
        self._is_relays_cancel = False  # the last one that went up; its answer may come after the response's end
        self._sure_until_s = math.inf
        self._outside: list[str | None] = []
        self._known: Memory[_State] = Memory(MAX_RESPONSES)

    def ask(self, event_id: str | None, now_s: float) -> None:
        """A client asks for a response. Raises BadRequest if there is one."""
        if (self.active is not None and now_s < self._sure_until_s) or self._is_asked(now_s):
            which = f" ({self.active[:64]})" if self.active else ""
            problem = f"A response is in progress{which}: wait for its response.done, or cancel it, then ask again."
            raise BadRequest(problem, code=ACTIVE_RESPONSE, event_id=event_id)
        self._asked, self._cancel = _Asked(event_id, now_s + ASKED_S), None

    def ask_outside(self, event_id: str | None) -> None:
        """A client asks for a response outside the conversation, of which there may be several."""
        remember(self._outside, event_id, MAX_OUTSIDE)

    def cancel_active(self, now_s: float) -> bool:
        """relay itself cancels the active response. Return False if there is none, or that is under way already."""
        if self.active is None or not self.cancel(None, None, now_s):
            return False
        self._is_relays_cancel = True
        return True

    def cancel(self, event_id: str | None, response_id: str | None, now_s: float) -> bool:
        """A client cancels. Return False if that is under way already. Raises BadRequest if there is nothing."""
        if not self._may_run(response_id, now_s):
            problem = "There is no response to cancel: it is over, or none was asked for."
            raise BadRequest(problem, code=CANCEL_NOT_ACTIVE, event_id=event_id)
        if self._known.get(response_id or "") == "outside":
            self._is_relays_cancel = False
            return True
        if self._cancel is not None and now_s < self._sure_until_s:
            return False
        self._cancel, self._is_relays_cancel = _Cancel(event_id, response_id), False
        self._sure_until_s = min(self._sure_until_s, now_s + ASKED_S)
        return True

    def created(self, response_id: str, conversation_id: object) -> None:
        """A response began."""
        if self._known.get(response_id):
            return
        if self._outside and not isinstance(conversation_id, str):
            self._outside.pop(0)
            self._known.put(response_id, "outside")
            return
        if self.active is not None or self._asked is None:
            self._end_active()  # and with it a cancel that was for no response
        self.active = response_id
        self._asked = None
        self._sure_until_s = math.inf if self._cancel is None else self._sure_until_s
        self._known.put(response_id, "active")

    def called(self, response_id: str) -> None:
        """A call in this response is whole: its end may be on the way."""
        if self.active is not None and self.active == response_id:
            self._sure_until_s = -math.inf

    def done(self, response_id: str) -> None:
        """A response ended, in whatever way."""
        known = self._known.get(response_id)
        if known in ("outside", "outside, over"):
            self._known.put(response_id, "outside, over")
            return
        self._known.put(response_id, "over")
        if known == "over":
            return
        self._asked = None if self.active is None else self._asked
        self._end_active()

    def is_outside(self, response_id: str) -> bool:
        """Whether a response is known to be, or to have been, outside the conversation."""
        return self._known.get(response_id) in ("outside", "outside, over")

    def is_relays(self, failure: Failure) -> bool:
        """Whether this answers relay's own cancel: the response ended while that was on its way.

        relay's has no `event_id`, and goes up only when no cancel of the client's waits for its answer.
        """
        return self._is_relays_cancel and failure.code == CANCEL_NOT_ACTIVE and failure.event_id is None

    def failed(self, failure: Failure) -> None:
        """The upstream refused something."""
        if self._cancel is not None and failure.concerns("response.cancel", self._cancel.event_id):
            if failure.code == CANCEL_NOT_ACTIVE and self._cancel.response_id in (None, self.active):
                self._end_active()
            self._cancel, self._sure_until_s = None, math.inf
        if self._asked is not None and failure.concerns("response.create", self._asked.event_id):
            self._asked = None
        if failure.is_anybodys:
            self._sure_until_s = -math.inf
        elif failure.code == ACTIVE_RESPONSE:
            self._sure_until_s = math.inf
        if failure.event_id in self._outside and failure.event_id is not None:
            self._outside.remove(failure.event_id)

    def _is_asked(self, now_s: float) -> bool:
        return self._asked is not None and now_s < self._asked.until_s

    def _may_run(self, response_id: str | None, now_s: float) -> bool:
        if response_id is None:
            return self.active is not None or self._is_asked(now_s)
        known = self._known.get(response_id)
        return known in ("active", "outside") or (known is None and not self._known.surely_lacks(response_id))

    def _end_active(self) -> None:
        if self.active:
            self._known.put(self.active, "over")
        self.active = None
        self._cancel = None
        self._sure_until_s = math.inf
