"""How beta servers write the format of their audio: a name that leaves the rate open, or DashScope's newer object.

OpenAI's beta says `"input_audio_format": "pcm16"` and means 24 kHz. DashScope (Qwen) means 16 kHz by the same name, and
calls what it says `pcm16` or `pcm24`, by the model. In newer sessions it writes objects instead, with the rate in them:
`"audio": {"input": {"format": {"type": "pcm", "sample_rate": 16000}}}`. So relay says it in the way in which the
upstream's own `session.created` is written, and shows GA's form, with the rate that is meant, to everybody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FLAT = {"input": "input_audio_format", "output": "output_audio_format"}
PCM16 = "pcm16"
GA_PCM = "audio/pcm"
NEWER_PCM = "pcm"


class BetaFormats:
    """The formats of one session; `rates_hz` are the upstream's, by side."""

    def __init__(self, rates_hz: Mapping[str, int]) -> None:
        self._rates_hz = rates_hz
        self._names: dict[str, str] = {}
        self._is_newer = False

    def learn(self, session: Any) -> None:
        """Look at a session as the upstream wrote it."""
        match session:
            case {"audio": {"input": {"format": {"type": "pcm"}}}} | {"audio": {"output": {"format": {"type": "pcm"}}}}:
                self._is_newer = True
            case dict():
                told = {side: session.get(flat) for side, flat in FLAT.items()}
                self._names |= {side: name for side, name in told.items() if isinstance(name, str)}

    def to_upstream(self, session: dict[str, Any]) -> dict[str, Any]:
        """Return a session for the upstream with its own way to say PCM; other formats are the client's affair."""
        pcm = [side for side, flat in FLAT.items() if session.get(flat) == PCM16]
        if not self._is_newer:
            return session | {FLAT[side]: self._name(side) for side in pcm}
        rest = {name: value for name, value in session.items() if name not in [FLAT[side] for side in pcm]}
        formats = {side: {"format": {"type": NEWER_PCM, "sample_rate": self._rates_hz[side]}} for side in pcm}
        return rest | {"audio": formats} if formats else rest

    def to_ga(self, session: dict[str, Any]) -> dict[str, Any]:
        """Return a session that is GA already but for its formats."""
        audio = session.get("audio")
        if not isinstance(audio, dict):
            return session
        shown = {side: self._shown(side, inner) for side, inner in audio.items()}
        return session | {"audio": shown}

    def _name(self, side: str) -> str:
        name = self._names.get(side, PCM16)
        return name if name.startswith("pcm") else PCM16

    def _shown(self, side: str, inner: Any) -> Any:
        match inner:
            case {"format": {"type": "pcm", "sample_rate": int(rate_hz)}}:
                return inner | {"format": {"type": GA_PCM, "rate": rate_hz}}
            case {"format": {"type": "audio/pcm"} | "pcm" | "pcm24"} if side in self._rates_hz:
                return inner | {"format": {"type": GA_PCM, "rate": self._rates_hz[side]}}
        return inner
