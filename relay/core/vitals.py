"""Is the microphone sane? Judged on what really arrived, because people trust a level meter and it may lie.

Two faults make a session useless without any error: a microphone that delivers only zeros (a wrong device, a muted
switch, a broken conversion), and samples that have another rate than was declared (speech at the wrong speed, which no
server can see). Both are told once, and again only after they have gone away.

Rules: values in, warnings out; the time comes in as `now_s`.
"""

from __future__ import annotations

from typing import Any

SILENT_AFTER_MS = 2_000
RATE_TOLERANCE = 0.05
RATE_WINDOW_S = 5.0
"""Shortest span over which a rate is measured. Browsers deliver in bursts of up to 100 ms or so: 2 % of 5 s.

Two spans in a row must agree: what a network holds up for a moment arrives late and then all at once, which looks like
a slow clock in one span and like a fast one in the next."""

RATE_GAP_S = 0.5
"""A longer pause (a muted microphone, a suspended tab) starts a new window: a clock that stood is not judged."""

DROPPED_EVERY_S = 1.0


class InputVitals:
    """Watches the audio of one session on its way up."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._zeros_ms = 0.0
        self._silent_told = False
        self._rate_told = False
        self._rate_suspect = 0
        self._window_start_s = 0.0
        self._window_samples = 0
        self._last_s: float | None = None
        self._dropped_ms = 0.0
        self._dropped_told_s = float("-inf")

    def heard(self, audio_ms: float, *, only_zeros: bool) -> list[dict[str, Any]]:
        """Take note of `audio_ms` of audio that were, or were not, digital silence."""
        if not only_zeros:
            self._zeros_ms = 0.0
            self._silent_told = False
            return []
        self._zeros_ms += audio_ms
        if self._zeros_ms < SILENT_AFTER_MS or self._silent_told:
            return []
        self._silent_told = True
        return [
            _warning("microphone_silent", "Only zeros arrive. Check the microphone's switch and the chosen device.")
        ]

    def arrived(self, samples: int, now_s: float) -> list[dict[str, Any]]:
        """Take note of when `samples` samples arrived, and compare the clock that made them with ours."""
        if self._last_s is None or now_s - self._last_s > RATE_GAP_S:
            self._restart_window(now_s)
            return []
        self._last_s = now_s
        self._window_samples += samples
        elapsed_s = now_s - self._window_start_s
        if elapsed_s < RATE_WINDOW_S:
            return []
        measured_hz = self._window_samples / elapsed_s
        self._restart_window(now_s)
        return self._judge_rate(measured_hz)

    def dropped(self, audio_ms: float, now_s: float) -> list[dict[str, Any]]:
        """Take note of audio that was dropped because it could not be passed on; tell at most once a second."""
        self._dropped_ms += audio_ms
        if not self._dropped_ms or now_s - self._dropped_told_s < DROPPED_EVERY_S:
            return []
        dropped_ms, self._dropped_ms = self._dropped_ms, 0.0
        self._dropped_told_s = now_s
        return [_warning("audio_dropped", "Audio could not be passed on in time.", dropped_ms=round(dropped_ms))]

    def _restart_window(self, now_s: float) -> None:
        self._window_start_s = self._last_s = now_s
        self._window_samples = 0

    def _judge_rate(self, measured_hz: float) -> list[dict[str, Any]]:
        suspect, self._rate_suspect = self._rate_suspect, self._direction(measured_hz)
        if not self._rate_suspect:
            self._rate_told = False
        if not self._rate_suspect or self._rate_suspect != suspect or self._rate_told:
            return []
        self._rate_told = True
        text = f"Audio declared as {self._rate_hz} Hz arrives at {measured_hz:.0f} Hz: speech has the wrong speed."
        return [_warning("sample_rate_mismatch", text, measured_hz=round(measured_hz))]

    def _direction(self, measured_hz: float) -> int:
        """Return -1 for too slow, 1 for too fast, 0 for right."""
        deviation = measured_hz / self._rate_hz - 1
        return 0 if abs(deviation) <= RATE_TOLERANCE else -1 if deviation < 0 else 1


def _warning(code: str, message: str, **values: int) -> dict[str, Any]:
    return {"type": "relay.warning", "code": code, "message": message, **values}
