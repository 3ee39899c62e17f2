"""The price table that comes with relay: prices.toml, beside this file, read once.

Prices change without notice. The table carries the date it was read on; a model that is missing from it has an unknown
price, and nothing here guesses.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from relay.core.prices import PriceTable, parse


@cache
def price_table() -> PriceTable:
    """Return the table. The first call reads the file."""
    with (Path(__file__).parent / "prices.toml").open("rb") as file:
        return parse(tomllib.load(file))
