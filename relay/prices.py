"""The price table that comes with relay: prices.toml, beside this file, read once.

Prices change without notice. The table carries the date it was read on; a model that is missing from it has an unknown
price, and nothing here guesses.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from relay.config import Config
from relay.core.prices import PriceTable, parse


@cache
def price_table() -> PriceTable:
    """Return the table. The first call reads the file."""
    with (Path(__file__).parent / "prices.toml").open("rb") as file:
        return parse(tomllib.load(file))


def unpriced(config: Config) -> dict[str, str]:
    """Name the settings, and their models, whose price is not known although a limit in money is set."""
    if not config.limits_money:
        return {}
    prices, found = price_table(), {}
    if prices.model(config.requested_model) is None:
        found["model"] = config.requested_model
    if config.transcription_model and prices.transcription_usd(config.transcription_model, 0.0) is None:
        found["transcription_model"] = config.transcription_model
    return found
