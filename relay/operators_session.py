"""The session as the operator configured it: what the upstream is told first, and what a client may change of it.

Rules: every field is sent explicitly, because defaults differ between sessions and between providers. Whatever a client
is permitted later is laid over this; permissions carry it along for that.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from relay.config import Config
from relay.core.permissions import NAMED_CHOICES, Permissions
from relay.profiles import Profile


def session_update(config: Config) -> dict[str, Any]:
    """Return the complete `session.update`: what the operator configured, and the rest spelled out."""
    profile = config.upstream_profile
    audio_input = {
        "format": _pcm(profile.input_rate_hz),
        "noise_reduction": {"type": config.noise_reduction} if config.noise_reduction else None,
        "transcription": {"model": config.transcription_model} if config.transcription_model else None,
        "turn_detection": _turn_detection(config),
    }
    audio_output = {"format": _pcm(profile.output_rate_hz), "voice": config.voice, "speed": config.speed}
    session = {
        "type": "realtime",
        "instructions": config.instructions,
        "output_modalities": ["audio"],
        "audio": {"input": _without(profile, audio_input), "output": _without(profile, audio_output)},
        **_tooling(config),
        "max_output_tokens": config.max_output_tokens or "inf",
    }
    return {"type": "session.update", "session": session}


@lru_cache(maxsize=16)
def permissions_for(config: Config) -> Permissions:
    """Return what a client may say and hear. Sessions with the same settings share the value."""
    return Permissions.of(session_update(config)["session"], config.policy, frozenset(config.client_may))


def _turn_detection(config: Config) -> dict[str, Any] | None:
    answers = {"create_response": True, "interrupt_response": True}
    match config.turn_detection:
        case "server_vad":
            return {
                "type": "server_vad",
                "threshold": config.vad_threshold,
                "prefix_padding_ms": config.vad_prefix_padding_ms,
                "silence_duration_ms": config.vad_silence_duration_ms,
                **answers,
            }
        case "semantic_vad":
            return {"type": "semantic_vad", "eagerness": config.vad_eagerness, **answers}
    return None


def _tooling(config: Config) -> dict[str, Any]:
    """Return the operator's tools, with the credentials of MCP servers in them, and which of them to use."""
    choice: Any = config.tool_choice
    if choice not in NAMED_CHOICES:
        choice = {"type": "function", "name": choice}
    return {"tools": config.tools.reveal(), "tool_choice": choice}


def _pcm(rate_hz: int) -> dict[str, Any]:
    return {"type": "audio/pcm", "rate": rate_hz}


def _without(profile: Profile, audio: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the upstream does not know, and a voice that nobody has chosen."""
    return {
        name: value for name, value in audio.items() if name not in profile.lacks and (name, value) != ("voice", "")
    }
