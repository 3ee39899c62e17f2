"""The beta dialect at the simulator's edge: other names, flat sessions, and an order of its own.

Written from recordings of the beta and from its published types, and from nothing in relay: relay's own translator is
tested against this one.

In beta `conversation.created` follows `session.created`, an item is `created` once and never `done`, and the rate
limits are told as a response begins. Deltas carry no padding, and a finished call does not say its function's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay.simulator.beta_schema import Beta
from relay.simulator.checks import Refusal
from relay.simulator.conversation import Event
from relay.simulator.edge import Edge, Understood, kind_of
from relay.simulator.ids import Ids
from relay.simulator.messages import refused
from relay.simulator.pcm import Format
from relay.simulator.usage import full_limits

# GA's name first. Events that are in neither table have the same name in both.
RENAMED = {
    "conversation.item.added": "conversation.item.created",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
}
NOT_IN_BETA = {
    "conversation.item.done",
    "conversation.item.input_audio_transcription.segment",
    "input_audio_buffer.timeout_triggered",
}
# The flat field, and where GA has it.
SETTINGS = {
    "model": ("model",),
    "modalities": ("output_modalities",),
    "instructions": ("instructions",),
    "voice": ("audio", "output", "voice"),
    "turn_detection": ("audio", "input", "turn_detection"),
    "input_audio_format": ("audio", "input", "format"),
    "output_audio_format": ("audio", "output", "format"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "tool_choice": ("tool_choice",),
    "max_response_output_tokens": ("max_output_tokens",),
    "tools": ("tools",),
}
# Told only when they are set: servers of 2024 did not have them.
LATER_SETTINGS = {
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "speed": ("audio", "output", "speed"),
    "tracing": ("tracing",),
}
RESPONSE_SAME = ("input", "conversation", "metadata")
CONTENT = {"output_text": "text", "output_audio": "audio"}
GA_CONTENT = {beta: ga for ga, beta in CONTENT.items()}
TEMPERATURE = 0.8


class BetaEdge(Edge):
    """One client of a beta server."""

    def __init__(self, ids: Ids, beta: Beta) -> None:
        super().__init__(ids)
        self._beta = beta
        self._checks = {"session.update": beta.session_update(), "response.create": beta.response_create()}
        self._temperature = self._asked_temperature = TEMPERATURE
        self._limits = full_limits()

    # --- in -------------------------------------------------------------------------------------------------------
    def incoming(self, sent: dict[str, Any]) -> Understood:
        """See Edge."""
        kind = kind_of(sent, list(self._beta.events))
        if kind in self._checks:
            sent = self._checks[kind](sent, "")
        if kind == "session.update":
            return self._update(sent)
        if kind == "response.create" and sent.get("response") is not None:
            return sent | {"response": self._ga_response(sent["response"])}, []
        if kind == "conversation.item.create":
            return sent | {"item": self._ga_item(sent.get("item"), "item")}, []
        return sent, []

    def _update(self, sent: dict[str, Any]) -> Understood:
        flat = dict(sent["session"])
        complaints = [_fixed(name) for name in self._beta.fixed_settings if flat.pop(name, None) is not None]
        asked = flat.get("temperature")
        self._asked_temperature = self._temperature if asked is None else asked
        session = {"type": "realtime"} | self._ga_settings(flat)
        return sent | {"session": session}, [refused(each, sent.get("event_id")) for each in complaints]

    def _ga_settings(self, flat: dict[str, Any]) -> dict[str, Any]:
        ga: dict[str, Any] = {}
        for name, path in (SETTINGS | LATER_SETTINGS).items():
            if name in flat:
                _put(ga, path, self._ga_value(name, flat[name]))
        return ga

    def _ga_value(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        if name == "modalities":
            return ["audio"] if "audio" in value else ["text"]
        if name == "input_audio_format":
            return self._beta.input_formats[value]
        if name == "output_audio_format":
            return self._beta.output_formats[value]
        if name == "turn_detection":
            return self._ga_detection(value)
        if name == "tool_choice" and isinstance(value, dict):
            return {"type": "function", "name": (value.get("function") or value).get("name", "")}
        return value

    def _ga_detection(self, value: dict[str, Any]) -> dict[str, Any]:
        """The threshold moves to GA's scale, 0 to 1."""
        given = {"type": "server_vad"} | {name: inner for name, inner in value.items() if inner is not None}
        if "threshold" in given:
            low, high = self._beta.threshold
            given["threshold"] = (given["threshold"] - low) / (high - low)
        return given

    def _ga_response(self, flat: dict[str, Any]) -> dict[str, Any]:
        kept = {name: flat[name] for name in RESPONSE_SAME if flat.get(name) is not None}
        if "input" in kept:
            kept["input"] = [self._ga_item(item, f"response.input[{n}]") for n, item in enumerate(kept["input"])]
        return kept | self._ga_settings(flat)

    def _ga_item(self, item: Any, path: str) -> Any:
        self._beta.check_content(item, path)
        return _with_content(item, GA_CONTENT)

    def reworded(self, refusal: Refusal) -> Refusal:
        """See Edge."""
        for name, path in (SETTINGS | LATER_SETTINGS).items():
            for where in ("session", "response"):
                refusal = refusal.with_path(f"{where}.{'.'.join(path)}", f"{where}.{name}")
        return refusal

    # --- out ------------------------------------------------------------------------------------------------------
    def outgoing(self, said: Event) -> list[Event]:
        """See Edge."""
        kind = said["type"]
        if kind in NOT_IN_BETA:
            return []
        if kind == "session.updated":  # an update that the session refused has changed nothing here either
            self._temperature = self._asked_temperature
        if kind == "rate_limits.updated":
            self._limits = said["rate_limits"]
            return []
        shown = [self._shown(said | {"type": RENAMED.get(kind, kind)})]
        if kind == "session.created":
            conversation = {"id": self.conversation_id, "object": "realtime.conversation"}
            shown.append(self.own("conversation.created", conversation=conversation))
        if kind == "response.created":
            shown.append(self.own("rate_limits.updated", rate_limits=self._limits))
        return shown

    def _shown(self, said: Event) -> Event:
        shown = {name: value for name, value in said.items() if name != "obfuscation"}
        if said["type"] == "response.function_call_arguments.done":
            del shown["name"]
        if "session" in said:
            shown["session"] = self._beta_session(said["session"])
        if "response" in said:
            shown["response"] = self._beta_response(said["response"])
        if "item" in said:
            shown["item"] = _with_content(said["item"], CONTENT)
        return shown

    def _beta_session(self, ga: dict[str, Any]) -> dict[str, Any]:
        flat = {name: ga[name] for name in ("id", "object", "expires_at")}
        flat |= {name: self._beta_value(name, _get(ga, path)) for name, path in SETTINGS.items()}
        flat |= {name: value for name, path in LATER_SETTINGS.items() if (value := _get(ga, path)) not in (None, 1.0)}
        return flat | {"temperature": self._temperature}

    def _beta_value(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        if name == "modalities":
            return ["text", "audio"] if "audio" in value else ["text"]
        if name == "input_audio_format":
            return _name_of(value, self._beta.input_formats)
        if name == "output_audio_format":
            return _name_of(value, self._beta.output_formats)
        if name == "turn_detection":
            return self._beta_detection(value)
        if name == "tool_choice" and isinstance(value, dict):
            return {"type": "function", "function": {"name": value["name"]}}
        return value

    def _beta_detection(self, value: dict[str, Any]) -> dict[str, Any]:
        shown = {name: inner for name, inner in value.items() if name != "idle_timeout_ms"}
        if "threshold" in shown:
            low, high = self._beta.threshold
            shown["threshold"] = round(low + shown["threshold"] * (high - low), 6)
        return shown

    def _beta_response(self, ga: dict[str, Any]) -> dict[str, Any]:
        same = ("object", "id", "status", "status_details", "conversation_id", "max_output_tokens", "metadata")
        output = ga["audio"]["output"]
        return {name: ga[name] for name in same} | {
            "output": [_with_content(item, CONTENT) for item in ga["output"]],
            "modalities": self._beta_value("modalities", ga["output_modalities"]),
            "voice": output["voice"],
            "output_audio_format": _name_of(output["format"], self._beta.output_formats),
            "temperature": self._temperature,
            "usage": _without_images(ga["usage"]),
        }


def _fixed(name: str) -> Refusal:
    message = f"'session.{name}' cannot be set on this server."
    return Refusal("unsupported_parameter", message, f"session.{name}")


def _put(target: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        target = target.setdefault(name, {})
    target[path[-1]] = value


def _get(source: dict[str, Any], path: tuple[str, ...]) -> Any:
    for name in path:
        source = source[name]
    return source


def _name_of(value: Format, formats: Mapping[str, Format]) -> str:
    return next(name for name, written in formats.items() if written == value)


def _with_content(item: Any, names: dict[str, str]) -> Any:
    """A copy with each part's type renamed; anything that is not an item as it is."""
    if not isinstance(item, dict) or not isinstance(item.get("content"), list):
        return item
    return item | {"content": [_renamed(part, names) for part in item["content"]]}


def _renamed(part: Any, names: dict[str, str]) -> Any:
    kind = part.get("type") if isinstance(part, dict) else None
    return part | {"type": names[kind]} if isinstance(kind, str) and kind in names else part


def _without_images(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _without_images(inner) for name, inner in value.items() if name != "image_tokens"}
