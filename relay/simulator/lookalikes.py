"""The smaller peculiarities of services that otherwise speak GA or beta as others do. Which is whose: faces.py."""

from __future__ import annotations

from typing import Any

from relay.simulator.beta import BetaEdge
from relay.simulator.beta_schema import EVENTS, FORMATS, Beta
from relay.simulator.checks import anything, exactly, one_of, record, text
from relay.simulator.conversation import Event, decode_base64, event
from relay.simulator.edge import Edge, Understood, kind_of
from relay.simulator.ids import Ids
from relay.simulator.pcm import PCM
from relay.simulator.schema import CLIENT_EVENTS


class AzureEdge(Edge):
    """GA, but for errors: they have no name of their own."""

    def outgoing(self, said: Event) -> list[Event]:
        """See Edge."""
        return [said | {"event_id": None} if said["type"] == "error" else said]


class LocalaiEdge(Edge):
    """GA that also takes `modalities`, and says whose voice it has heard."""

    def incoming(self, sent: dict[str, Any]) -> Understood:
        """See Edge."""
        kind = kind_of(sent, list(CLIENT_EVENTS))
        part = {"session.update": "session", "response.create": "response"}.get(kind, "")
        inner = sent.get(part)
        if not isinstance(inner, dict) or "modalities" not in inner:
            return sent, []
        renamed = {"output_modalities" if name == "modalities" else name: value for name, value in inner.items()}
        if isinstance(renamed["output_modalities"], list) and "audio" in renamed["output_modalities"]:
            renamed["output_modalities"] = ["audio"]
        return sent | {part: renamed}, []

    def outgoing(self, said: Event) -> list[Event]:
        """See Edge."""
        if said["type"] != "conversation.item.done" or not _is_speech(said["item"]):
            return [said]
        speaker = {"name": "", "id": "", "labels": {}, "confidence": 0, "distance": 1.0, "matched": False}
        return [said, self.own("conversation.item.speaker", item_id=said["item"]["id"], speaker=speaker)]


def _is_speech(item: dict[str, Any]) -> bool:
    return item.get("role") == "user" and any(part["type"] == "input_audio" for part in item["content"])


# --- qwen -------------------------------------------------------------------------------------------------------------
QWEN_INPUT = PCM | {"rate": 16_000}
# Newer clients write the formats out; they can name no other rates.
_QWEN_HEARD = record({"type": one_of("pcm"), "sample_rate": exactly(16_000)}, ("type",))
_QWEN_SAID = record({"type": one_of("pcm"), "sample_rate": exactly(24_000)}, ("type",))
_QWEN_SAMPLING = (
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "seed",
    "smooth_output",
    "top_k",
    "top_p",
)
QWEN = Beta(
    events=(*EVENTS, "input_image_buffer.append", "session.finish"),
    input_formats={"pcm16": QWEN_INPUT, "pcm": QWEN_INPUT},
    output_formats={"pcm16": PCM, "pcm24": PCM, "pcm": PCM},
    threshold=(-1, 1),
    silence_ms=(200, 6_000),
    own_settings={
        "audio": record({"input": record({"format": _QWEN_HEARD}), "output": record({"format": _QWEN_SAID})}),
        **dict.fromkeys((*_QWEN_SAMPLING, "max_tokens"), anything),
    },
)
_IMAGE = record({"type": text(), "event_id": text(), "image": text()}, ("type", "image"))


class QwenEdge(BetaEdge):
    """Beta with an end that a client can ask for. Images are taken, and seen by nobody."""

    def __init__(self, ids: Ids) -> None:
        super().__init__(ids, QWEN)

    def incoming(self, sent: dict[str, Any]) -> Understood:
        """See Edge."""
        kind = kind_of(sent, list(QWEN.events))
        if kind == "session.finish":
            return None, [event("session.finished")]
        if kind == "input_image_buffer.append":
            decode_base64(_IMAGE(sent, "")["image"], "image")
            return None, []
        return super().incoming(sent)


# --- speaches ---------------------------------------------------------------------------------------------------------
SPEACHES = Beta(
    events=tuple(name for name in EVENTS if name not in ("response.cancel", "conversation.item.truncate")),
    input_formats={"pcm16": FORMATS["pcm16"]},
    output_formats={"pcm16": FORMATS["pcm16"]},
    user_content=("input_text",),
    fixed_settings=("input_audio_format", "output_audio_format"),
    threshold=(0, 1),
)


class SpeachesEdge(BetaEdge):
    """Beta with a part of it missing."""

    def __init__(self, ids: Ids) -> None:
        super().__init__(ids, SPEACHES)
