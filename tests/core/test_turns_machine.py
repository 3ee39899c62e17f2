"""Any client and any upstream, in any order, through both languages.

The upstream is a model of the API that was written on its own (api_model.py). What it says lies on its way for a while,
so that client and upstream cross each other. While nothing is on its way, relay has seen all that there is, and then

    it sends nothing that the API would refuse for its order, and refuses nothing that the API would take.

Nothing but BadRequest and UpstreamProtocolError comes out, whatever either side says; no item is truncated twice by
relay; the operator's words reach no locked client. Against an upstream that lies, the last three hold all the same.
HYPOTHESIS_PROFILE=search looks further.
"""

from __future__ import annotations

import base64
import json
import os
from collections import Counter, deque
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from relay.core.client import Client, ClientSettings, Decision
from relay.core.openai_json import OpenAIJson
from relay.core.permissions import Permissions
from relay.core.relay_v1 import RelayV1
from relay.errors import BadRequest, UpstreamProtocolError
from tests.core.api_model import CANARY, ApiModel, Event, Response

FORMAT = {"encoding": "s16le", "rate_hz": 24_000}
START = {"type": "relay.start", "audio": {"input": FORMAT, "output": FORMAT}}
OPERATORS = {"instructions": CANARY, "tools": [{"type": "function", "name": "canary", "description": CANARY}]}
STATUSES = ("completed", "failed", "incomplete")
OWN_IDS = ("mine_1", "mine_2")
NUMBERS = st.integers(0, 7)
EXAMPLES = settings().max_examples if os.environ.get("HYPOTHESIS_PROFILE") == "search" else 150


def open_client(language: str, preset: Any) -> Client:
    permissions = Permissions.of(OPERATORS, preset)
    chosen = ClientSettings("relay_1", 24_000, 24_000, "server_vad", 1_000, permissions=permissions)
    if language == "relay.v1":
        relay_v1 = RelayV1(chosen)
        relay_v1.message(json.dumps(START), 0.0)
        return relay_v1
    return OpenAIJson(chosen, beta=language == "beta")


class Talk(RuleBasedStateMachine):
    """A client, relay, and the API."""

    def __init__(self) -> None:
        super().__init__()
        self.client: Client | None = None
        self.api = ApiModel()
        self.pending: deque[Event] = deque()
        self.past: list[Event] = []
        self.is_prompt = False
        self.now_s = 0.0
        self.sent = 0
        self.is_ambiguous = False
        self.has_lied = False
        self.own_truncates: Counter[str] = Counter()

    @initialize(
        language=st.sampled_from(["relay.v1", "ga", "beta"]),
        preset=st.sampled_from(["locked", "open"]),
        echoes=st.booleans(),
        names=st.booleans(),
        is_prompt=st.booleans(),
    )
    def begin(self, language: str, preset: str, echoes: bool, names: bool, is_prompt: bool) -> None:
        self.language, self.preset, self.names, self.is_prompt = language, preset, names, is_prompt
        self.client = open_client(language, preset)
        self.api = ApiModel(echoes=echoes)
        self.queue(self.api.open())

    def teardown(self) -> None:
        if self.client is not None:
            self.client.close()

    # --- what the client does -----------------------------------------------------------------------------------------
    @rule(ms=st.sampled_from([1, 20, 60, 99, 100, 500]))
    def say_audio(self, ms: int) -> None:
        if self.language == "relay.v1":
            self.send(bytes(48 * ms))
        else:
            self.say("input_audio_buffer.append", audio=base64.b64encode(bytes(48 * ms)).decode())

    @rule(kind=st.sampled_from(["commit", "clear"]))
    def end_turn(self, kind: str) -> None:
        self.say(f"input_audio_buffer.{kind}")

    @rule(outside=st.booleans())
    def ask(self, outside: bool) -> None:
        fields = {"response": {"conversation": "none"}} if outside and self.preset == "open" else {}
        self.say("response.create", **fields)

    @rule(number=NUMBERS)
    def cancel(self, number: int) -> None:
        known = [event["response"]["id"] for event in self.past if event["type"] == "response.created"]
        ids = [None, *reversed(known), "resp_x"]
        fields = {"response_id": ids[number % len(ids)]} if number and self.language != "relay.v1" else {}
        self.say("response.cancel", **fields)

    @rule(number=NUMBERS, previous=NUMBERS, id_number=NUMBERS)
    def add_message(self, number: int, previous: int, id_number: int) -> None:
        content = [{"type": "input_text", "text": "hello"}]
        item: Event = {"type": "message", "role": "user", "content": content}
        if id_number < 4:
            item["id"] = self.item_id(id_number)
        fields = {"previous_item_id": self.item_id(previous)} if previous < 3 and self.language != "relay.v1" else {}
        self.say("conversation.item.create", item=item, **fields)

    @rule(number=NUMBERS, named=st.booleans())
    def add_output(self, number: int, named: bool) -> None:
        calls = [item.value["call_id"] for item in self.api.items.values() if "call_id" in item.value]
        told = [event["call_id"] for event in self.past if event["type"].endswith("arguments.done")]
        ids = [*reversed(told), *calls, "call_x"]
        item = {"type": "function_call_output", "call_id": ids[number % len(ids)], "output": "{}"}
        self.say("conversation.item.create", item=item | ({"id": OWN_IDS[0]} if named else {}))

    @rule(number=NUMBERS, call_id=st.sampled_from(["call_a", "call_b"]))
    @precondition(lambda self: self.preset == "open")
    def add_call(self, number: int, call_id: str) -> None:
        item = {"type": "function_call", "call_id": call_id, "name": "n", "arguments": "{}"}
        self.say("conversation.item.create", item=item | ({"id": self.item_id(number)} if number < 4 else {}))

    @rule(kind=st.sampled_from(["delete", "retrieve"]), number=NUMBERS)
    def touch(self, kind: str, number: int) -> None:
        self.say(f"conversation.item.{kind}", item_id=self.item_id(number))

    @rule(number=NUMBERS, end_ms=st.sampled_from([0, 1, 100, 250, 251, 1_000]))
    def truncate(self, number: int, end_ms: int) -> None:
        spoken = [event["item_id"] for event in self.past if event["type"] == "response.output_audio.delta"]
        item_id = spoken[-1 - number // 2] if number // 2 < len(spoken) else self.item_id(number)
        self.say("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=end_ms)

    @rule(item=NUMBERS, samples=st.sampled_from([0, 2_400, 12_000, 10**6]), flush=NUMBERS)
    @precondition(lambda self: self.language == "relay.v1")
    def report(self, item: int, samples: int, flush: int) -> None:
        if flush % 2:
            self.send(json.dumps({"type": "relay.flushed", "flush": flush, "item": item, "samples": samples}))
        else:
            self.send(json.dumps({"type": "relay.played", "item": item, "samples": samples}))

    @rule()
    @precondition(lambda self: self.language == "relay.v1")
    def interrupt(self) -> None:
        self.send(json.dumps({"type": "relay.interrupt"}))

    @rule(seconds=st.sampled_from([0.1, 1.0]))
    def play(self, seconds: float) -> None:
        assert self.client is not None
        self.now_s += seconds
        while self.client.take(self.now_s) is not None:
            pass

    @rule()
    def give_up_flush(self) -> None:
        assert self.client is not None
        self.carry(self.client.end_flush(), is_quiet=not self.pending)

    # --- what the upstream does ---------------------------------------------------------------------------------------
    @rule()
    def hear_turn(self) -> None:
        self.queue(self.api.hear_turn())

    @rule()
    def begin_by_itself(self) -> None:
        if self.api.active is None:
            self.queue(self.api.begin(in_conversation=True))

    @rule(number=NUMBERS, ms=st.sampled_from([100, 250]))
    def speak(self, number: int, ms: int) -> None:
        self.queue(self.api.speak(self.response(number), ms))

    @rule(number=NUMBERS)
    def write(self, number: int) -> None:
        self.queue(self.api.write(self.response(number)))

    @rule(number=NUMBERS)
    def call(self, number: int) -> None:
        self.queue(self.api.call(self.response(number)))

    @rule(number=NUMBERS, status=st.sampled_from(STATUSES))
    @precondition(lambda self: self.api.responses)
    def end(self, number: int, status: str) -> None:
        self.queue(self.api.end(self.response(number), status))

    @rule()
    def break_next(self) -> None:
        self.api.breaks_next = True

    @rule()
    def complain_of_nothing(self) -> None:
        self.queue([self.api.error("server_error")])

    @rule(count=st.integers(1, 4))
    def deliver(self, count: int) -> None:
        for _ in range(min(count, len(self.pending))):
            self.hear(self.pending.popleft())

    @rule()
    def deliver_all(self) -> None:
        self.deliver(len(self.pending))

    def queue(self, told: list[Event]) -> None:
        """Let the upstream say something; a prompt one is heard at once."""
        self.pending.extend(told)
        while self.is_prompt and self.pending:
            self.hear(self.pending.popleft())

    # --- between them -------------------------------------------------------------------------------------------------
    def say(self, kind: str, **fields: Any) -> None:
        self.sent += 1
        event = {"type": kind, **fields} | ({"event_id": f"said_{self.sent}"} if self.names else {})
        self.send(json.dumps(event), event)

    def send(self, message: str | bytes, event: Event | None = None) -> None:
        assert self.client is not None
        is_quiet = not self.pending
        try:
            decision = self.client.message(message, self.now_s)
        except BadRequest as problem:
            self.show(problem.public)
            if event is not None and is_quiet and not problem.request_code.startswith("relay_"):
                self.judge_refusal(event, problem.request_code)
            return
        if event is not None and is_quiet and not (decision.upstream or decision.audio):
            self.judge_silence(event)
        self.carry(decision, is_quiet=is_quiet, said=event)

    def judge_refusal(self, event: Event, code: str) -> None:
        if not self.has_lied:
            wanted = self.api.would_refuse(event)
            assert wanted == code or (wanted and self.is_ambiguous), f"relay refused with {code}, the API: {wanted}"

    def judge_silence(self, event: Event) -> None:
        assert event["type"] == "response.cancel"
        assert self.has_lied or self.api.would_refuse(event), "nothing was said, and something had to be"

    def carry(self, decision: Decision, *, is_quiet: bool, said: Event | None = None) -> None:
        for text in decision.browser:
            self.show(text)
        for text in [audio.decode() for audio, _ in decision.audio] + decision.upstream:
            event = json.loads(text)
            if event["type"] == "conversation.item.truncate" and said is None:
                self.own_truncates[event["item_id"]] += 1
            told, refused = self.api.receive(event)
            is_known = is_quiet and not self.is_ambiguous and not self.has_lied
            assert not (refused and is_known), f"relay sent what the API refuses: {refused}"
            self.queue(told)

    def hear(self, event: Event) -> None:
        assert self.client is not None
        if event["type"] == "error" and event["error"]["event_id"] is None:
            self.is_ambiguous = True
        is_quiet = not self.pending
        self.past.append(event)
        try:
            decision = self.client.event(json.dumps(event), self.now_s)
        except UpstreamProtocolError:
            assert self.has_lied
            return
        self.carry(decision, is_quiet=is_quiet)

    def show(self, text: str) -> None:
        assert self.preset == "open" or CANARY not in text

    def item_id(self, number: int) -> str:
        ids = [*OWN_IDS, *reversed(self.api.items), "item_x"]
        return ids[number % len(ids)]

    def response(self, number: int) -> Response:
        """Return one that is under way; the upstream begins one if there is none."""
        if not self.api.responses:
            self.begin_by_itself()
        return self.api.responses[number % len(self.api.responses)]

    @invariant()
    def no_item_is_truncated_twice_by_relay(self) -> None:
        assert all(count == 1 for count in self.own_truncates.values())


names = st.sampled_from(
    ["event_id", "response", "item", "item_id", "call_id", "error", "session", "delta", "audio_end_ms"]
)
values: st.SearchStrategy[Any] = st.sampled_from(
    [None, 7, -1, 0.5, "", "x" * 600, "item_1", "resp_2", [], {}, [{}], {"id": 7}, {"id": None}]
)


class Lies(Talk):
    """The same with an upstream that repeats itself, leaves out, and invents."""

    @rule(number=st.integers(0, 60))
    @precondition(lambda self: self.past)
    def repeat(self, number: int) -> None:
        self.has_lied = True
        self.hear(self.past[number % len(self.past)])

    @rule(number=st.integers(0, 60), name=names, value=values, leave_out=st.booleans())
    @precondition(lambda self: self.past)
    def distort(self, number: int, name: str, value: Any, leave_out: bool) -> None:
        self.has_lied = True
        true = self.past[number % len(self.past)]
        lie = {key: inner for key, inner in true.items() if key != name} | ({} if leave_out else {name: value})
        if isinstance(true.get("error"), dict) and not isinstance(lie.get("error"), dict):
            lie["error"] = {**true["error"], "event_id": value}
        self.hear(lie)

    def hear(self, event: Event) -> None:
        before = len(self.past)
        if event["type"] == "error" and not (isinstance(event.get("error"), dict) and "event_id" in event["error"]):
            event = {**event, "error": {"event_id": None}}
        super().hear(event)
        if self.has_lied and event not in self.pending:
            del self.past[before:]


TestTalk = Talk.TestCase
TestTalk.settings = settings(max_examples=EXAMPLES, stateful_step_count=40)
TestLies = Lies.TestCase
TestLies.settings = settings(max_examples=EXAMPLES, stateful_step_count=40)
