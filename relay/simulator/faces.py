"""The services that the simulator can play, as each is seen from outside.

A face is a row of facts: where it listens, how it wants its key and where a wrong one fails, which models it has, which
dialect it speaks (its edge) and on which terms. Inside there is one machine. A name of a model may end in *.

What a service does about a wrong key is known of OpenAI (told after the 101), Azure (401) and speaches (1008). The
others are taken to refuse the handshake, as most servers do. LocalAI's own server wants no key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from relay.simulator.checks import integer, text
from relay.simulator.edge import Edge
from relay.simulator.ids import Ids
from relay.simulator.lookalikes import QWEN_INPUT, AzureEdge, LocalaiEdge, QwenEdge, SpeachesEdge
from relay.simulator.schema import MODELS, Values, client_events
from relay.simulator.terms import Terms
from relay.simulator.xai import VALUES as XAI_VALUES
from relay.simulator.xai import XaiEdge

CLOSE_REFUSED, CLOSE_FAILED = 4000, 1011


@dataclass(frozen=True)
class Face:
    """One service. OpenAI is what it is without a word."""

    path: str = "/v1/realtime"
    refused_query: tuple[str, ...] = ()
    refuses_beta: bool = False
    # The key: always taken from `Authorization: Bearer`, and from these places where there are any.
    has_keys: bool = True
    key_header: bytes = b""
    key_query: str = ""
    key_subprotocol: str = ""
    # 401: at the handshake. 3000: after the 101, an error and this close. 1008: after the 101, this close and no word.
    wrong_key: Literal[401, 1008, 3000] = 401
    models: tuple[str, ...] = ("*",)
    unknown_model: str = "invalid_model"
    unknown_model_close: int = CLOSE_REFUSED
    edge: Callable[[Ids], Edge] = Edge
    terms: Terms = field(default_factory=Terms)


# Voices, models and rates as the operator of such a server has them.
LOCAL_VALUES = Values(pcm_rate_hz=integer(8_000, 48_000), voice=text(at_least=1), transcription_model=text(at_least=1))
LOCAL_EVENTS = client_events(LOCAL_VALUES)

OPENAI = Face(
    refuses_beta=True,
    key_subprotocol="openai-insecure-api-key.",
    wrong_key=3000,
    models=MODELS,
)
FACES: dict[str, Face] = {
    "openai": OPENAI,
    "azure": Face(
        path="/openai/v1/realtime",
        refused_query=("api-version",),
        key_header=b"api-key",
        key_query="api-key",
        edge=AzureEdge,
    ),
    "xai": Face(
        key_subprotocol="xai-client-secret.",
        models=("grok-voice-*",),
        edge=XaiEdge,
        terms=Terms(client_events(XAI_VALUES), voice="eve"),
    ),
    "qwen": Face(
        path="/api-ws/v1/realtime",
        models=("qwen*",),
        edge=QwenEdge,
        terms=Terms(LOCAL_EVENTS, input_format=QWEN_INPUT, voice="Cherry"),
    ),
    "localai": Face(
        has_keys=False,
        # Pipelines are named by who runs them: here, as OpenAI's models are.
        models=MODELS,
        unknown_model="model_load_error",
        unknown_model_close=CLOSE_FAILED,
        edge=LocalaiEdge,
        terms=Terms(LOCAL_EVENTS, voice="alloy"),
    ),
    "speaches": Face(
        key_query="api_key",
        wrong_key=1008,
        edge=SpeachesEdge,
        terms=Terms(LOCAL_EVENTS, voice="af_heart"),
    ),
}
