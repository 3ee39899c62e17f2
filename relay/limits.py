"""From the operator's settings to the account of one session.

Rules: the core knows neither settings nor clocks, so both meet here, and nowhere else.
"""

from __future__ import annotations

from datetime import UTC, datetime

from relay.config import Config
from relay.core.account import Account
from relay.core.budget import Limits
from relay.core.meter import Meter
from relay.prices import price_table


def open_account(config: Config, *, upstream_rate_hz: int, now_s: float) -> Account:
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
    meter = Meter(price_table(), model=config.requested_model, transcription_model=config.transcription_model)
    unix_s = datetime.now(UTC).timestamp()
    return Account(meter, limits, upstream_rate_hz=upstream_rate_hz, now_s=now_s, unix_s=unix_s)
