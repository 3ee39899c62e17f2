"""From the operator's settings to the account of one session, and to what its client's language must know.

Rules: the core knows neither settings nor clocks, so both meet here, and nowhere else. What a ticket says makes limits
tighter, never wider; what it says of policy holds instead of the settings.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

import msgspec

from relay.config import Config
from relay.core.account import Account
from relay.core.budget import Limits
from relay.core.client import ClientSettings
from relay.core.meter import Meter
from relay.operators_session import permissions_for
from relay.prices import prices_at
from relay.tickets import Ticket, TicketLimits


def open_account(config: Config, *, now_s: float) -> Account:
    """Return the account of a session that begins at `now_s`."""
    limits = Limits(
        session_s=config.max_session_s,
        idle_s=config.max_idle_s,
        audio_in_s=config.max_audio_in_s,
        audio_out_s=config.max_audio_out_s,
        tokens=config.max_tokens,
        usd=config.max_usd,
        needs_price=config.limits_money,
    )
    meter = Meter(prices_at(config), model=config.requested_model, transcription_model=config.transcription_model)
    unix_s = datetime.now(UTC).timestamp()
    rate_hz = config.upstream_profile.output_rate_hz
    return Account(meter, limits, upstream_rate_hz=rate_hz, now_s=now_s, unix_s=unix_s)


def client_settings(session_id: str, config: Config) -> ClientSettings:
    """Return what the operator's settings and the upstream's profile mean for a client's language."""
    profile = config.upstream_profile
    return ClientSettings(
        session_id,
        profile.input_rate_hz,
        profile.output_rate_hz,
        turn_detection=config.turn_detection,
        lead_ms=config.lead_ms,
        lacks=profile.lacks,
        permissions=permissions_for(_without_limits(config)),  # sessions that differ by limits alone share them
    )


def bound_by(ticket: Ticket, config: Config) -> Config:
    """Return the settings of the session that a ticket opens."""
    if ticket.policy:
        config = msgspec.structs.replace(config, policy=ticket.policy, client_may=ticket.client_may)
    return tightened(config, ticket.limits)


def tightened(config: Config, limits: TicketLimits) -> Config:
    """Return `config` with `limits`: of two limits the lower one holds."""
    asked = {name: value for name, value in msgspec.structs.asdict(limits).items() if value}
    return msgspec.structs.replace(
        config, **{name: min(value, getattr(config, name) or value) for name, value in asked.items()}
    )


def too_wide(config: Config, limits: TicketLimits) -> str:
    """Name the first of `limits` that is wider than the process's own, "" if none is."""
    names = msgspec.structs.asdict(limits)
    return next((name for name in names if getattr(limits, name) > (getattr(config, name) or math.inf)), "")


def _without_limits(config: Config) -> Config:
    return msgspec.structs.replace(config, **msgspec.structs.asdict(TicketLimits()))
