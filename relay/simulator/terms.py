"""The terms of the service that is played, as far as the session itself needs them: OpenAI's, unless said otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.simulator.checks import Check
from relay.simulator.pcm import PCM, Format
from relay.simulator.schema import CLIENT_EVENTS


@dataclass(frozen=True)
class Terms:
    """What is accepted (GA, as schema.py has it), and what a session starts with."""

    client_events: Mapping[str, Check] = field(default_factory=lambda: CLIENT_EVENTS, repr=False)
    input_format: Format = field(default_factory=lambda: PCM)
    output_format: Format = field(default_factory=lambda: PCM)
    voice: str = "marin"
