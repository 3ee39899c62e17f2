"""A downlink that converts nothing: PCM16 in, the same out, with a tail, so that accounts can be checked exactly."""

from __future__ import annotations

import base64

from relay.core.events import AudioDelta

TAIL_SAMPLES = 3
RATE_HZ = 24_000


class PlainDownlink:
    """Passes PCM16 through; remembers whether it was reset."""

    def __init__(self) -> None:
        self.resets = 0

    def push(self, delta: str) -> bytes:
        return base64.b64decode(delta)

    def finish(self) -> bytes:
        return bytes(2 * TAIL_SAMPLES)

    def reset(self) -> None:
        self.resets += 1


def delta(item: str, ms: int, *, response: str = "resp_1") -> AudioDelta:
    """Return a delta of `ms` of audio at 24 kHz."""
    samples = ms * RATE_HZ // 1000
    return AudioDelta(item_id=item, response_id=response, delta=base64.b64encode(bytes(2 * samples)).decode())
