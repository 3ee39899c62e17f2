"""How beta servers write the format of their audio: a name that leaves the rate open, or DashScope's newer object.

OpenAI's beta says `"input_audio_format": "pcm16"` and means 24 kHz. DashScope (Qwen) means 16 kHz by the same name, and
calls what it says `pcm16` or `pcm24`, by the model. In newer sessions it writes objects instead, with the rate in them:
`"audio": {"input": {"format": {"type": "pcm", "sample_rate": 16000}}}`. So relay says it in the way in which the
upstream's own `session.created` is written, and shows GA's form, with the rate that is meant, to everybody else.

PCM that the upstream has confirmed is not said again: speaches finds fault with each format in each update, and a
client that asked for something else would hear errors about fields that it never named. Once a client has asked for
another format, PCM is said each time: a confirmation may be older than the request.
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
        self._settled: set[str] = set()
        self._changed: set[str] = set()

    def learn(self, session: Any) -> None:
        """Look at a session as the upstream wrote it."""
        match session:
            case {"audio": {"input": {"format": {"type": "pcm"}}}} | {"audio": {"output": {"format": {"type": "pcm"}}}}:
                self._is_newer = True
            case dict():
                told = {side: session.get(flat) for side, flat in FLAT.items()}
                self._names |= {side: name for side, name in told.items() if isinstance(name, str)}

    def confirmed(self, session: Any) -> None:
        """Look at a session as the upstream has it after an update."""
        self._settled = {side for side in FLAT if _is_pcm(session, side)} if isinstance(session, dict) else set()

    def to_upstream(self, session: dict[str, Any]) -> dict[str, Any]:
        """Return a session for the upstream with its own way to say PCM; other formats are the client's affair."""
        pcm = [side for side, flat in FLAT.items() if session.get(flat) == PCM16]
        rest = {name: value for name, value in session.items() if name not in [FLAT[side] for side in pcm]}
        self._changed |= {side for side, flat in FLAT.items() if flat in session and side not in pcm}
        to_say = [side for side in pcm if side not in self._settled - self._changed]
        if not self._is_newer:
            return rest | {FLAT[side]: self._name(side) for side in to_say}
        formats = {side: {"format": {"type": NEWER_PCM, "sample_rate": self._rates_hz[side]}} for side in to_say}
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


def _is_pcm(session: dict[str, Any], side: str) -> bool:
    """Whether a session, as the upstream writes it, has PCM16 on a side."""
    audio, name = session.get("audio"), session.get(FLAT[side])
    match audio.get(side) if isinstance(audio, dict) else None:
        case {"format": {"type": "pcm"}}:
            return True
    return isinstance(name, str) and name.startswith("pcm")
