"""Transcription of what the user said, run beside the response, as events in time.

The simulator recognises no words and does not pretend to: the transcript says how much speech there was.
"""

from __future__ import annotations

import math
from typing import Any

from relay.simulator.conversation import Event, Item, event
from relay.simulator.ids import Ids
from relay.simulator.pcm import duration_ms
from relay.simulator.timeline import Steps
from relay.simulator.usage import text_tokens, user_audio_tokens
from relay.simulator.voices import heard

LISTENING_S = 0.6
# These are billed by the minute, the others by the token.
BILLED_BY_TIME = ("whisper-1", "gpt-transcribe", "gpt-live-transcribe", "gpt-realtime-whisper")


def transcription(ids: Ids, item: Item, settings: dict[str, Any], *, logprobs: bool, pace: float) -> Steps:
    """`settings` is the session's `audio.input.transcription`. Deltas, then completed; the item gets the text."""
    model = settings.get("model") or "whisper-1"
    text = heard(item.pcm)
    names = {"item_id": item.id, "content_index": 0}
    # whisper-1 says everything at once.
    pieces = [text] if model == "whisper-1" else [" " + word if n else word for n, word in enumerate(text.split())]
    yield LISTENING_S / pace
    for piece in pieces:
        extra = {"logprobs": [_logprob(piece)]} if logprobs else {}
        delta = event("conversation.item.input_audio_transcription.delta", delta=piece, **names, **extra)
        yield [delta]
    if model == "gpt-4o-transcribe-diarize":
        yield [_segment(ids, item, text)]
    item.value["content"][0]["transcript"] = text
    extra = {"logprobs": [_logprob(piece) for piece in pieces]} if logprobs else {}
    kind = "conversation.item.input_audio_transcription.completed"
    yield [event(kind, transcript=text, usage=_usage(model, item.pcm, text), **names, **extra)]


def _segment(ids: Ids, item: Item, text: str) -> Event:
    return event(
        "conversation.item.input_audio_transcription.segment",
        id=ids.new("seg"),
        item_id=item.id,
        content_index=0,
        speaker="A",
        start=0.0,
        end=duration_ms(item.pcm) / 1000,
        text=text,
    )


def _logprob(token: str) -> dict[str, Any]:
    return {"token": token, "logprob": 0.0, "bytes": list(token.encode())}


def _usage(model: str, pcm: bytes, text: str) -> dict[str, Any]:
    if model in BILLED_BY_TIME:
        return {"type": "duration", "seconds": math.ceil(duration_ms(pcm) / 1000)}
    audio, written = user_audio_tokens(pcm), text_tokens(text)
    return {
        "type": "tokens",
        "total_tokens": audio + written,
        "input_tokens": audio,
        "input_token_details": {"text_tokens": 0, "audio_tokens": audio},
        "output_tokens": written,
    }
