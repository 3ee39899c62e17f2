from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.client import Decision
from relay.core.conversation import Conversation
from relay.core.events import AudioDone
from relay.core.playout import Playout
from relay.core.turns import Turns
from tests.core.audio_fake import RATE_HZ, PlainDownlink, delta


class Table:
    """A conversation at a table with a player that takes all it is given, and keeps what went out."""

    def __init__(self, *, interrupts: bool = True, lead_s: float = 1.0) -> None:
        self.playout = Playout(
            PlainDownlink(), rate_hz=RATE_HZ, sample_bytes=2, upstream_rate_hz=RATE_HZ, lead_s=lead_s
        )
        self.turns = Turns(RATE_HZ)
        self.talk = Conversation(
            self.playout, self.turns, rate_hz=RATE_HZ, upstream_rate_hz=RATE_HZ, interrupts=interrupts
        )
        self.browser: list[dict[str, object]] = []
        self.upstream: list[dict[str, object]] = []
        self.sent: dict[int, int] = {}

    def begin(self, response_id: str) -> None:
        """A response begins."""
        self.turns.heard("response.created", json.dumps({"response": {"id": response_id}}))

    def do(self, decision: Decision | None) -> None:
        if decision is not None:
            self.browser += [json.loads(text) for text in decision.browser]
            self.upstream += [json.loads(text) for text in decision.upstream]

    def send(self, now_s: float = 0.0) -> None:
        while (message := self.playout.take(now_s)) is not None:
            if isinstance(message, bytes):
                number = int.from_bytes(message[4:8], "little")
                self.sent[number] = self.sent.get(number, 0) + (len(message) - 16) // 2

    def events(self, until_s: float = 60.0) -> list[tuple[object, object]]:
        """Play to the end; return the events that came between the frames."""
        texts = [m for tick in range(int(until_s * 10)) for m in iter(partial(self.playout.take, tick / 10), None)]
        found = [json.loads(text) for text in texts if isinstance(text, str)]
        return [(event["type"].removeprefix("relay.audio."), event["item"]) for event in found]

    def answer(self, item: int, samples: int) -> None:
        self.do(self.talk.flushed(self.talk.flushing, item, samples))

    @property
    def truncates(self) -> list[tuple[object, object]]:
        found = [event for event in self.upstream if event["type"] == "conversation.item.truncate"]
        return [(event["item_id"], event["audio_end_ms"]) for event in found]


def speaking_table(ms: int = 2_000, **kwargs: bool) -> Table:
    table = Table(**kwargs)
    table.begin("resp_1")
    table.do(table.talk.audio(delta("item_1", ms)))
    table.send()
    return table


def test_an_item_that_the_upstream_has_deleted_is_not_truncated() -> None:
    table = speaking_table()
    table.do(table.talk.speech_started())
    table.turns.heard("conversation.item.deleted", json.dumps({"item_id": "item_1"}))
    table.answer(1, 2_400)
    assert table.truncates == []


def test_an_answer_is_cancelled_once_however_often_the_client_asks() -> None:
    table = speaking_table()
    for _ in range(3):
        table.do(table.talk.interrupt(0.0))
    assert [event["type"] for event in table.upstream].count("response.cancel") == 1


def test_nothing_is_cancelled_that_is_over_or_only_asked_for() -> None:
    table = Table()
    table.do(table.talk.interrupt(0.0))
    assert table.turns.admit({"type": "response.create"}, 0.0)
    table.do(table.talk.interrupt(0.0))
    table.begin("resp_1")
    table.turns.heard("response.done", json.dumps({"response": {"id": "resp_1"}}))
    table.do(table.talk.interrupt(0.0))
    assert table.upstream == []


def test_speech_while_audio_is_unheard_flushes_and_truncates_once_at_what_was_played() -> None:
    table = speaking_table()
    table.do(table.talk.played(1, 100 * 24, 0.1))
    table.do(table.talk.speech_started())
    assert table.browser == [{"type": "relay.flush", "flush": 1, "item": 1, "reason": "speech"}]
    assert table.truncates == []
    table.answer(1, 480 * 24)
    assert table.truncates == [("item_1", 480)]
    assert table.talk.flushing == 0


def test_without_an_answer_the_last_report_counts() -> None:
    table = speaking_table()
    table.do(table.talk.played(1, 100 * 24, 0.1))
    table.do(table.talk.speech_started())
    table.do(table.talk.end_flush())
    assert table.truncates == [("item_1", 100)]
    table.do(table.talk.flushed(1, 1, 480 * 24))
    assert len(table.truncates) == 1


def test_when_everything_was_heard_nothing_is_flushed_and_nothing_truncated() -> None:
    table = speaking_table(200)
    table.talk.audio_done(AudioDone("item_1"))
    table.do(table.talk.response_done("resp_1", "completed"))
    table.send()
    table.do(table.talk.played(1, table.sent[1], 0.3))
    table.do(table.talk.speech_started())
    assert (table.browser, table.upstream) == ([], [])


def test_speech_before_any_answer_does_nothing() -> None:
    table = Table()
    table.do(table.talk.speech_started())
    assert (table.browser, table.upstream) == ([], [])


def test_a_browser_that_claims_more_than_was_sent_is_not_believed() -> None:
    table = speaking_table(10_000)
    sent_ms = table.sent[1] * 1000 // RATE_HZ
    table.do(table.talk.speech_started())
    table.answer(1, 10**12)
    assert table.truncates == [("item_1", sent_ms)]


def test_an_item_that_does_not_exist_is_not_believed() -> None:
    table = speaking_table()
    table.do(table.talk.played(1, 240, 0.1))
    table.do(table.talk.played(9, 10**9, 0.1))
    table.do(table.talk.speech_started())
    table.answer(77, 5)
    assert table.truncates == [("item_1", 10)]


def test_late_deltas_of_an_interrupted_response_are_thrown_away() -> None:
    table = speaking_table()
    table.do(table.talk.speech_started())
    table.do(table.talk.audio(delta("item_1", 500)))
    table.answer(1, 2_400)
    table.do(table.talk.audio(delta("item_1", 500)))
    table.do(table.talk.response_done("resp_1", "cancelled"))
    table.send(9.0)
    assert table.truncates == [("item_1", 100)]
    assert table.sent[1] <= 1_100 * 24
    assert [event["type"] for event in table.browser] == ["relay.flush"]


def test_an_item_that_first_comes_after_the_interruption_is_truncated_to_nothing() -> None:
    table = Table()
    table.begin("resp_1")
    table.do(table.talk.speech_started())
    table.do(table.talk.audio(delta("item_1", 100)))
    table.do(table.talk.audio(delta("item_1", 100)))
    assert table.truncates == [("item_1", 0)]
    assert table.playout.delay_s(0.0) is None


def test_every_item_cut_short_gets_its_own_truncate_and_heard_ones_none() -> None:
    table = Table(lead_s=10.0)
    for number in (1, 2, 3):
        table.do(table.talk.audio(delta(f"item_{number}", 500)))
        table.talk.audio_done(AudioDone(f"item_{number}"))
    table.send()
    table.do(table.talk.speech_started())
    table.answer(2, 200 * 24)
    assert table.truncates == [("item_2", 200), ("item_3", 0)]


def test_the_answer_after_an_interruption_is_played() -> None:
    table = speaking_table()
    table.do(table.talk.speech_started())
    table.answer(1, 2_400)
    table.begin("resp_2")
    table.do(table.talk.audio(delta("item_2", 300, response="resp_2")))
    table.send()
    assert table.sent[2] == 300 * 24


def test_to_interrupt_an_answer_whose_response_has_no_name_silences_no_later_one() -> None:
    table = Table()
    for number in (1, 2):
        table.begin("")
        table.do(table.talk.audio(delta(f"item_{number}", 300, response="")))
        table.send()
        assert table.sent[number] == 300 * 24
        table.do(table.talk.speech_started())
        table.answer(number, 2_400)
    assert table.truncates == [("item_1", 100), ("item_2", 100)]


def test_a_cancelled_response_is_silenced() -> None:
    table = speaking_table()
    table.do(table.talk.response_done("resp_1", "cancelled"))
    assert [event["reason"] for event in table.browser] == ["cancelled"]
    table.answer(1, 2_400)
    assert table.truncates == [("item_1", 100)]


def test_interrupt_cancels_the_response_before_it_truncates() -> None:
    table = speaking_table()
    table.do(table.talk.interrupt(0.0))
    table.answer(1, 2_400)
    assert [event["type"] for event in table.upstream] == ["response.cancel", "conversation.item.truncate"]
    table.do(table.talk.interrupt(0.0))
    assert len(table.upstream) == 2


def test_without_turn_detection_speech_interrupts_nothing() -> None:
    table = speaking_table(interrupts=False)
    table.do(table.talk.speech_started())
    assert (table.browser, table.upstream) == ([], [])


def test_a_flushed_item_sends_no_frame_any_more() -> None:
    table = speaking_table(10_000)
    before = dict(table.sent)
    table.do(table.talk.speech_started())
    table.send(60.0)
    assert table.sent == before


def test_the_end_of_an_item_is_not_the_end_of_the_one_after_it() -> None:
    table = speaking_table(40)
    table.do(table.talk.audio(delta("item_2", 40)))
    table.talk.audio_done(AudioDone("item_1"))
    table.do(table.talk.audio(delta("item_2", 40)))
    table.talk.audio_done(AudioDone("item_2", content_index=1))
    assert table.events() == [("done", 1), ("started", 2)]
    table.talk.audio_done(AudioDone("item_2"))
    assert table.events() == [("done", 2)]


def test_an_item_without_audio_neither_begins_nor_ends() -> None:
    table = Table()
    table.do(table.talk.audio(delta("item_1", 0)))
    table.talk.audio_done(AudioDone("item_1"))
    assert table.events() == []


def test_a_player_that_goes_on_without_answering_has_not_heard_what_was_cut() -> None:
    table = speaking_table()
    table.do(table.talk.played(1, 100 * 24, 0.1))
    table.do(table.talk.speech_started())
    table.do(table.talk.audio(delta("item_2", 500, response="resp_2")))
    table.send()
    table.do(table.talk.played(2, 24, 0.2))
    assert table.truncates == [("item_1", 100)]
    assert table.talk.flushing == 0
    table.do(table.talk.flushed(1, 1, 900 * 24))
    assert table.truncates == [("item_1", 100)]


def test_a_second_interruption_during_a_flush_settles_both() -> None:
    table = speaking_table()
    table.do(table.talk.speech_started())
    table.begin("resp_2")
    table.do(table.talk.audio(delta("item_2", 300, response="resp_2")))
    table.send()
    table.do(table.talk.speech_started())
    assert [event["flush"] for event in table.browser] == [1, 2]
    table.do(table.talk.flushed(1, 1, 2_400))
    table.do(table.talk.flushed(2, 2, 240))
    assert table.truncates == [("item_1", 100), ("item_2", 10)]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("audio"), st.integers(1, 4), st.integers(1, 400)),
        st.tuples(st.just("done"), st.integers(1, 4), st.sampled_from(["completed", "cancelled", "failed"])),
        st.tuples(st.just("created"), st.integers(1, 4), st.just(0)),
        st.tuples(st.just("speech"), st.just(0), st.just(0)),
        st.tuples(st.just("interrupt"), st.just(0), st.just(0)),
        st.tuples(st.just("send"), st.just(0), st.just(0)),
        st.tuples(st.just("played"), st.integers(0, 6), st.integers(0, 30_000)),
        st.tuples(st.just("flushed"), st.integers(0, 6), st.integers(0, 30_000)),
        st.tuples(st.just("timeout"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


def step(table: Table, what: str, number: int, value: object, now_s: float) -> None:
    """Do one step of a random conversation."""
    count = value if isinstance(value, int) else 0
    moves: dict[str, Callable[[], Decision | None]] = {
        "audio": lambda: table.talk.audio(delta(f"item_{number}", count, response=f"resp_{number}")),
        "done": lambda: table.talk.response_done(f"resp_{number}", str(value)),
        "created": lambda: table.begin(f"resp_{number}"),
        "speech": table.talk.speech_started,
        "interrupt": lambda: table.talk.interrupt(0.0),
        "send": lambda: table.send(now_s),
        "played": lambda: table.talk.played(number, count, now_s),
        "flushed": lambda: table.talk.flushed(table.talk.flushing, number, count),
        "timeout": table.talk.end_flush,
    }
    table.do(moves[what]())


@settings(max_examples=300, deadline=None)
@given(steps)
def test_no_sequence_truncates_an_item_twice_or_past_what_was_sent(sequence: list[tuple[str, int, object]]) -> None:
    table = Table()
    received: dict[str, int] = {}
    for index, (what, number, value) in enumerate(sequence):
        if what == "audio":
            received[f"item_{number}"] = received.get(f"item_{number}", 0) + int(str(value))
        step(table, what, number, value, index * 0.1)
    items = [item for item, _ in table.truncates]
    assert len(items) == len(set(items))
    numbers = {key[0]: item.number for key, item in table.talk._items.items()}
    for item, end_ms in table.truncates:
        assert isinstance(end_ms, int)
        assert isinstance(item, str)
        assert 0 <= end_ms <= received[item]
        assert end_ms <= table.sent.get(numbers[item], 0) * 1000 // RATE_HZ
