"""Takes secrets out of what the upstream says: some servers quote the key that they were given, or repeat the tools.

Rules: every event is searched, audio too, because nobody knows where a server repeats what. That is cheap where a
secret has a character that base64 and names lack, as OpenAI's keys have `-`: one look for it ends the search (0.1 us
for 16 KB, instead of 2.2 us).
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from relay.config import Secret

MASK = "[hidden]"

_RARE = "-~!#$%&'()*;<>?@^`|"
"""Characters that neither base64 nor the names of events and fields have."""

_GO_ESCAPES = "&<>"
_GO_ESCAPED = str.maketrans({character: f"\\u{ord(character):04x}" for character in _GO_ESCAPES})
"""Go's encoder writes these three so, wherever they stand; LocalAI is written in Go."""


class Mask:
    """Call it with a text; it returns the text without the secrets."""

    def __init__(self, secrets: Iterable[Secret | None]) -> None:
        texts = sorted({secret.reveal() for secret in secrets if secret}, key=len, reverse=True)
        self._searches = [(_rare_in(text), _spellings(text)) for text in texts]

    @property
    def spares_words(self) -> bool:
        """Whether none of the secrets can be in words (letters, digits, `_`) and base64."""
        return all(rare for rare, _ in self._searches)

    def __call__(self, text: str) -> str:
        """Return the text without the secrets."""
        for rare, spellings in self._searches:
            if rare in text:
                for spelling in spellings:
                    text = text.replace(spelling, MASK)
        return text


def _rare_in(secret: str) -> str:
    """Return what a text must have if the secret is in it, as short as that goes."""
    return next((character for character in secret if character in _RARE and character not in _GO_ESCAPES), "")


def _spellings(secret: str) -> list[str]:
    """Return how JSON may write it: plainly, with slashes escaped as PHP does, with what HTML minds as Go does."""
    plain = json.dumps(secret)[1:-1]
    return list(dict.fromkeys((plain, plain.replace("/", "\\/"), plain.translate(_GO_ESCAPED))))
