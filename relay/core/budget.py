"""How much one session may use: time, audio, tokens and money. Pure in `now_s`.

Theory of operation. There are two kinds of limits. An *amount* grows when something is counted, and is looked at then.
A *span* runs by itself; it knows the two moments at which it has something to say, and `next_s` is the earliest of all,
so that whoever keeps the time can sleep until then; it is asked more often than it changes, so it is kept. Each limit
warns once at 80 %, and at 100 % `check` raises its own leaf of LimitReached.

The idle span begins anew whenever somebody speaks, and stands still while the person does. An answer counts for as long
as it takes to play, because the upstream generates faster than anybody can listen. That a microphone is open does not
count: only the upstream can tell speech from noise, and it says so.

The upstream's own limit on a session's age is a span as well: it warns 60 s ahead, and ends a little before the
upstream would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from relay.errors import (
    AudioInLimit,
    AudioOutLimit,
    IdleLimit,
    LimitReached,
    MoneyLimit,
    RelayError,
    TimeLimit,
    TokenLimit,
    UpstreamExpired,
)

WARN_AT = 0.8
EXPIRY_WARNING_S = 60.0
EXPIRY_MARGIN_S = 2.0
"""How long before the upstream's limit relay ends the session: the time that both legs may take to close."""

PRICE_MISSING = "What this session costs is not known, and the operator has set a limit in money."


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows one session; 0 means no limit.

    `needs_price`: there is a limit in money, here or for the whole process, so an unknown price ends the session.
    """

    session_s: float = 0.0
    idle_s: float = 0.0
    audio_in_s: float = 0.0
    audio_out_s: float = 0.0
    tokens: int = 0
    usd: float = 0.0
    needs_price: bool = False


@dataclass(slots=True)
class _Amount:
    """A limit on something that only grows."""

    limit: float
    code: str
    verb: str
    leaf: type[LimitReached]
    used: float = 0.0
    warned: bool = False

    def check(self) -> dict[str, Any] | None:
        """Return the warning if it is due. Raises the leaf at 100 %."""
        if self.used < WARN_AT * self.limit:
            return None
        if self.used >= self.limit:
            raise self.leaf(detail=f"{self.used:g} of {self.limit:g}")
        if self.warned:
            return None
        self.warned = True
        return _warning(self.code, f"Most of what this session may {self.verb} is used up.")


@dataclass(slots=True)
class _Span:
    """A limit on time. Both moments are infinitely far while it stands still, or is no limit at all."""

    code: str
    message: str
    leaf: type[RelayError]
    warn_s: float = math.inf
    end_s: float = math.inf
    warned: bool = False

    def run(self, warn_s: float, end_s: float) -> None:
        """Begin, or begin anew."""
        self.warn_s, self.end_s, self.warned = warn_s, end_s, False

    @property
    def next_s(self) -> float:
        """The next moment at which `check` has something to say."""
        return self.end_s if self.warned else min(self.warn_s, self.end_s)

    def check(self, now_s: float) -> dict[str, Any] | None:
        """Return the warning if it is due. Raises the leaf at the end."""
        if now_s >= self.end_s:
            raise self.leaf()
        if self.warned or now_s < self.warn_s:
            return None
        self.warned = True
        seconds = max(1, round(self.end_s - now_s))
        return _warning(self.code, self.message.format(seconds=seconds), seconds=seconds)


class Budget:
    """The limits of one session that began at `now_s`."""

    def __init__(self, limits: Limits, now_s: float) -> None:
        self._limits = limits
        self._speaking = False
        self._price_missing = False
        self._audible_until_s = now_s
        self._audio_in = _Amount(limits.audio_in_s, "audio_in_limit_near", "hear", AudioInLimit)
        self._audio_out = _Amount(limits.audio_out_s, "audio_out_limit_near", "say", AudioOutLimit)
        self._tokens = _Amount(limits.tokens, "token_limit_near", "use", TokenLimit)
        self._usd = _Amount(limits.usd, "money_limit_near", "cost", MoneyLimit)
        self._amounts = [one for one in (self._audio_in, self._audio_out, self._tokens, self._usd) if one.limit]
        self._session = _Span("time_limit_near", "This session ends in {seconds} s.", TimeLimit)
        self._idle = _Span("idle_limit_near", "Nobody speaks: this session ends in {seconds} s.", IdleLimit)
        self._expiry = _Span("session_expiring", "The voice service ends this session in {seconds} s.", UpstreamExpired)
        self._spans = (self._session, self._idle, self._expiry)
        self.next_s = math.inf
        """The next moment at which `check` has something to say although nothing was counted; may be infinite."""
        if limits.session_s:
            self._run(self._session, now_s + WARN_AT * limits.session_s, now_s + limits.session_s)
        self._quiet_from(now_s)

    @property
    def audio_in_s(self) -> float:
        """Audio that went to the upstream."""
        return self._audio_in.used

    @property
    def audio_out_s(self) -> float:
        """Audio that the upstream generated."""
        return self._audio_out.used

    def check(self, now_s: float) -> list[dict[str, Any]]:
        """Return the warnings that are due. Raises the limit that is reached."""
        if self._price_missing:
            raise MoneyLimit(PRICE_MISSING, detail="price unknown")
        due = [amount.check() for amount in self._amounts]
        if now_s >= self.next_s:
            due += [span.check(now_s) for span in self._spans]
            self._set_next()
        return [warning for warning in due if warning]

    def expires(self, expires_s: float, now_s: float) -> None:
        """The upstream says when it ends the session. What has passed already was said by a wrong clock: ignored."""
        end_s = expires_s - EXPIRY_MARGIN_S
        if end_s > now_s and end_s != self._expiry.end_s:
            self._run(self._expiry, expires_s - EXPIRY_WARNING_S, end_s)

    def sent_audio(self, seconds: float) -> None:
        """Audio of the person went to the upstream."""
        self._audio_in.used += seconds

    def generated_audio(self, seconds: float, now_s: float) -> None:
        """Audio of an answer came. It is heard behind what came before."""
        self._audio_out.used += seconds
        self._audible_until_s = max(self._audible_until_s, now_s) + seconds
        self._quiet_from(now_s)

    def used(self, tokens: int, usd: float | None) -> None:
        """The totals so far; `usd` is None if they are not known."""
        self._tokens.used = tokens
        self._usd.used = usd or 0.0
        self._price_missing = usd is None and self._limits.needs_price

    def speech_started(self, now_s: float) -> None:
        """The person began to speak: whatever was audible is interrupted."""
        self._speaking = True
        self.silenced(now_s)
        self._quiet_from(now_s)

    def speech_stopped(self, now_s: float) -> None:
        """The person finished."""
        self._speaking = False
        self._quiet_from(now_s)

    def speech_dropped(self, now_s: float) -> None:
        """What the person was saying was thrown away: nothing will say that it stopped. While nobody spoke, nothing."""
        if self._speaking:
            self.speech_stopped(now_s)

    def silenced(self, now_s: float) -> None:
        """What was audible is not any more. If nothing was, that is no sign of anybody."""
        if now_s < self._audible_until_s:
            self._audible_until_s = now_s
            self._quiet_from(now_s)

    def _quiet_from(self, now_s: float) -> None:
        idle_s = self._limits.idle_s
        if not idle_s:
            return
        since_s = math.inf if self._speaking else max(now_s, self._audible_until_s)
        self._run(self._idle, since_s + WARN_AT * idle_s, since_s + idle_s)

    def _run(self, span: _Span, warn_s: float, end_s: float) -> None:
        span.run(warn_s, end_s)
        self._set_next()

    def _set_next(self) -> None:
        self.next_s = min(span.next_s for span in self._spans)


def _warning(code: str, message: str, **values: float) -> dict[str, Any]:
    """Return a `relay.warning`."""
    return {"type": "relay.warning", "code": code, "message": message, **values}
