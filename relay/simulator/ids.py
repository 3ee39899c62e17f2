"""Names for things, in OpenAI's shape, decided by a seed.

The same seed and the same order of calls give the same names, so a recorded run can be compared with a new one.
"""

from __future__ import annotations

import random
import string

ALPHABET = string.ascii_letters + string.digits
ID_LETTERS = 21
OBFUSCATION_LETTERS = (4, 16)


class Ids:
    """A source of names; one per connection."""

    def __init__(self, seed: int | str = 0) -> None:
        self._random = random.Random(f"relay-simulator:{seed}")

    def new(self, prefix: str) -> str:
        """`event_` and 21 letters, `item_` and 21 letters, and so on."""
        return f"{prefix}_{self._letters(ID_LETTERS)}"

    def obfuscation(self) -> str:
        """The padding that OpenAI puts beside deltas, so that their size does not give the text away."""
        return self._letters(self._random.randint(*OBFUSCATION_LETTERS))

    def _letters(self, count: int) -> str:
        return "".join(self._random.choices(ALPHABET, k=count))
