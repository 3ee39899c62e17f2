"""The price table that comes with relay: prices.toml, beside this file, read once.

Prices change without notice. The table carries the date it was read on; a model that is missing from it has an unknown
price, and nothing here guesses. The prices are OpenAI's, so they hold where its models are charged for as it charges:
the profile says where, or the host. A model elsewhere is another one, or at another price, whatever its name.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from relay.addresses import parse_upstream
from relay.config import Config
from relay.core.prices import PriceTable, parse
from relay.profiles import PROFILES, profile_of_host


@cache
def price_table() -> PriceTable:
    """Return the table. The first call reads the file."""
    with (Path(__file__).parent / "prices.toml").open("rb") as file:
        return parse(tomllib.load(file))


def prices_at(config: Config) -> PriceTable | None:
    """Return the prices that hold at the upstream, None if none is known there."""
    owner = profile_of_host(parse_upstream(config.upstream_url).host) if config.upstream_url else None
    return price_table() if PROFILES[owner or config.upstream_profile.name].openai_prices else None


def unpriced(config: Config) -> dict[str, str]:
    """Name the settings, and what they name, whose price is not known although a limit in money is set."""
    if not config.limits_money:
        return {}
    prices = prices_at(config)
    if prices is None:
        return {"profile": f"an upstream of the kind {config.upstream_profile.name}"}
    found = {}
    if prices.model(config.requested_model) is None:
        found["model"] = config.requested_model
    if config.transcription_model and prices.transcription_usd(config.transcription_model, 0.0) is None:
        found["transcription_model"] = config.transcription_model
    return found
