"""One response, as a stream of events in time.

A response is a generator (timeline.py). Whoever runs it keeps the clock; it can be stopped at any wait with `cancel`,
which returns the events that bring everything open to an orderly end. The order of events is the live service's:
created, then per item added - part added - deltas - done in reverse - then response.done and rate_limits.updated.

Audio goes out in deltas of 100 ms, 150 ms, then 250 ms; the last takes whatever is left, up to 600 ms. Transcript
deltas run a little ahead of the audio they belong to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from relay.simulator import pcm
from relay.simulator.answers import Call, Utterance
from relay.simulator.conversation import Conversation, Event, Item, encode_base64, event
from relay.simulator.ids import Ids
from relay.simulator.timeline import Step, Steps, rest_of
from relay.simulator.usage import (
    ASSISTANT_MS_PER_TOKEN,
    NOTHING_USED,
    Meter,
    Tokens,
    assistant_audio_tokens,
    context_tokens,
    text_tokens,
    usage,
)

THINKING_S = 0.4
FIRST_DELTAS_MS = (100, 150)
DELTA_MS = 250
LAST_DELTA_MS_MAX = 600
WORDS_PER_SECOND = 20.0


@dataclass(slots=True)
class _End:
    status: str
    reason: str | None = None


class Response:
    """`settings` as settings.response_settings makes them; `pace` is how many times faster than real time it speaks."""

    def __init__(
        self,
        ids: Ids,
        settings: dict[str, Any],
        context: list[Item],
        answers: list[Utterance | Call],
        conversation: Conversation,
        meter: Meter,
        clock: Callable[[], float],
        pace: float,
    ) -> None:
        self.id = ids.new("resp")
        self.in_conversation: bool = settings["in_conversation"]
        self._sent_ms = 0.0
        self._ids = ids
        self._settings = settings
        self._context = context_tokens(settings["instructions"], settings["tools"], context)
        self._answers = answers
        self._conversation = conversation
        self._meter = meter
        self._clock = clock
        self._pace = pace
        self._output: list[dict[str, Any]] = []
        self._used = Tokens()
        self._end: _End | None = None
        self._steps = self._run()

    @property
    def steps(self) -> Steps:
        """The stream; there is only one."""
        return self._steps

    def take_sent_ms(self) -> float:
        """Audio sent since this was asked last."""
        sent_ms, self._sent_ms = self._sent_ms, 0.0
        return sent_ms

    def cancel(self, reason: str) -> list[Event]:
        """Stop here. Returns what is left to send; the stream is at its end afterwards."""
        self._end = _End("cancelled", reason)
        return rest_of(self._steps)

    # --- the stream -----------------------------------------------------------------------------------------------
    def _run(self) -> Steps:
        yield [event("response.created", response=self._object("in_progress"))]
        yield THINKING_S / self._pace
        for index, answer in enumerate(self._answers):
            if self._end is None:
                yield from self._call(index, answer) if isinstance(answer, Call) else self._say(index, answer)
        end = self._end or _End("completed")
        used = self._bill()
        done = event("response.done", response=self._object(end.status, end.reason, used))
        limits = self._meter.charge(used["total_tokens"], self._clock())
        yield [done, event("rate_limits.updated", rate_limits=limits)]

    def _say(self, index: int, answer: Utterance) -> Steps:
        is_audio = self._settings["output_modalities"] == ["audio"]
        item = self._message_item()
        item.audio_format = self._settings["output"]["format"]
        part_names = {"item_id": item.id, "output_index": index, "content_index": 0, "response_id": self.id}
        part = {"type": "audio", "transcript": ""} if is_audio else {"type": "text", "text": ""}
        yield [*self._opened(item, index), event("response.content_part.added", part=part, **part_names)]
        # The part is there from now on, also for a truncate that comes while it grows.
        item.value["content"] = [{"type": "output_audio" if is_audio else "output_text"}]
        said = yield from (self._sound if is_audio else self._write)(item, answer, part_names)
        name = "transcript" if is_audio else "text"
        if is_audio:
            endings = [
                event("response.output_audio.done", **part_names),
                event("response.output_audio_transcript.done", transcript=said, **part_names),
            ]
        else:
            endings = [event("response.output_text.done", text=said, **part_names)]
        item.value["content"][0][name] = said
        endings.append(event("response.content_part.done", part=part | {name: said}, **part_names))
        yield endings + self._closed(item, index)

    def _sound(self, item: Item, answer: Utterance, names: dict[str, Any]) -> Generator[Step, None, str]:
        """Audio and transcript deltas; returns the transcript as far as it was sent."""
        item.pcm = sound = self._within_limit(answer.pcm)
        words = _words(answer.text) if len(sound) == len(answer.pcm) else _words(answer.text)[:1]
        sent_words, wait_s = 0, 0.0
        for begin, end in _cuts(len(sound)):
            wanted = -(-len(words) * end // max(1, len(sound)))
            deltas = [
                self._delta("response.output_audio_transcript.delta", word, names) for word in words[sent_words:wanted]
            ]
            data = encode_base64(pcm.to_wire(sound[begin:end], item.audio_format))
            deltas.append(self._delta("response.output_audio.delta", data, names))
            yield wait_s
            if self._is_cancelled:
                break
            sent_words = wanted
            item.length = min(end, len(item.pcm))
            self._heard(sound[begin:end])
            yield deltas
            wait_s = pcm.duration_ms(sound[begin:end]) / 1000 / self._pace
        return "".join(words[:sent_words])

    def _write(self, item: Item, answer: Utterance, names: dict[str, Any]) -> Generator[Step, None, str]:
        """Text deltas; returns the text as far as it was sent."""
        words = _words(answer.text)
        limit = self._settings["max_output_tokens"]
        sent = 0
        for word in words:
            if limit != "inf" and self._used.text + text_tokens(word) > limit:
                self._end = _End("incomplete", "max_output_tokens")
                break
            yield 1 / WORDS_PER_SECOND / self._pace
            if self._is_cancelled:
                break
            sent += 1
            self._used = Tokens(self._used.text + text_tokens(word), self._used.audio)
            yield [self._delta("response.output_text.delta", word, names)]
        return "".join(words[:sent])

    def _call(self, index: int, call: Call) -> Steps:
        value = {
            "id": self._ids.new("item"),
            "object": "realtime.item",
            "type": "function_call",
            "status": "in_progress",
            "name": call.name,
            "call_id": self._ids.new("call"),
            "arguments": "",
        }
        item = Item(value)
        names = {"item_id": item.id, "output_index": index, "response_id": self.id, "call_id": value["call_id"]}
        yield self._opened(item, index)
        sent = ""
        for piece in re.findall(r".{1,8}", call.arguments, re.DOTALL):
            yield 1 / WORDS_PER_SECOND / self._pace
            if self._is_cancelled:
                break
            sent += piece
            yield [self._delta("response.function_call_arguments.delta", piece, names)]
        self._used = Tokens(self._used.text + text_tokens(sent), self._used.audio)
        value["arguments"] = sent
        done = event("response.function_call_arguments.done", name=call.name, arguments=sent, **names)
        yield [done, *self._closed(item, index)]

    @property
    def _is_cancelled(self) -> bool:
        return self._end is not None and self._end.status == "cancelled"

    # --- parts of it ----------------------------------------------------------------------------------------------
    def _message_item(self) -> Item:
        return Item(
            {
                "id": self._ids.new("item"),
                "object": "realtime.item",
                "type": "message",
                "status": "in_progress",
                "role": "assistant",
                "content": [],
            }
        )

    def _opened(self, item: Item, index: int) -> list[Event]:
        added = event("response.output_item.added", response_id=self.id, output_index=index, item=item.shown())
        return [added, self._conversation.add(item)] if self.in_conversation else [added]

    def _closed(self, item: Item, index: int) -> list[Event]:
        item.value["status"] = "completed" if self._end is None else "incomplete"
        self._output.append(item.shown())
        done = event("response.output_item.done", response_id=self.id, output_index=index, item=item.shown())
        return [self._conversation.done(item), done] if self.in_conversation else [done]

    def _delta(self, kind: str, delta: str, names: dict[str, Any]) -> Event:
        return event(kind, delta=delta, obfuscation=self._ids.obfuscation(), **names)

    def _within_limit(self, sound: bytes) -> bytes:
        limit = self._settings["max_output_tokens"]
        if limit == "inf" or assistant_audio_tokens(sound) <= limit:
            return sound
        self._end = _End("incomplete", "max_output_tokens")
        return sound[: limit * ASSISTANT_MS_PER_TOKEN * pcm.BYTES_PER_MS]

    def _heard(self, sound: bytes) -> None:
        self._sent_ms += pcm.duration_ms(sound)
        self._used = Tokens(self._used.text, self._used.audio + assistant_audio_tokens(sound))

    def _bill(self) -> dict[str, Any]:
        """A response that was cancelled before it said anything costs nothing."""
        if not self._output:
            return NOTHING_USED
        spoken = text_tokens("".join(str(part.get("transcript") or "") for part in self._parts()))
        output = Tokens(self._used.text + spoken, self._used.audio)
        return usage(self._context, self._meter.cached(self._context), output)

    def _parts(self) -> Iterator[dict[str, Any]]:
        for item in self._output:
            yield from item.get("content", [])

    def _object(self, status: str, reason: str | None = None, used: dict[str, Any] | None = None) -> dict[str, Any]:
        settings = self._settings
        output = {"format": settings["output"]["format"], "voice": settings["output"]["voice"]}
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": {"type": status, "reason": reason} if reason else None,
            "output": list(self._output),
            "conversation_id": self._conversation.id if self.in_conversation else None,
            "output_modalities": settings["output_modalities"],
            "max_output_tokens": settings["max_output_tokens"],
            "audio": {"output": output},
            "usage": used,
            "metadata": settings["metadata"],
        }


def _words(text: str) -> list[str]:
    """Words with the space before them, as deltas carry them; put together they are the text."""
    return re.findall(r"\s*\S+(?:\s+$)?", text)


def _cuts(size: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each delta, in bytes of PCM16."""
    begin, count = 0, 0
    while begin < size:
        wanted_ms = FIRST_DELTAS_MS[count] if count < len(FIRST_DELTAS_MS) else DELTA_MS
        left = size - begin
        if count >= len(FIRST_DELTAS_MS) and left <= LAST_DELTA_MS_MAX * pcm.BYTES_PER_MS:
            wanted_ms = LAST_DELTA_MS_MAX
        end = begin + min(left, wanted_ms * pcm.BYTES_PER_MS)
        yield begin, end
        begin, count = end, count + 1
