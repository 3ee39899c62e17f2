"""The parts of the page that decide without audio, network or DOM, each alone, in a real Chromium."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.modules import Modules

# -- event-log.js ------------------------------------------------------------------------------------------------------


def test_only_string_values_over_100_characters_are_shortened_and_the_structure_stays(modules: Modules) -> None:
    shortened = modules.run(
        "event-log.js",
        """({ shorten }) => shorten({
            a: "x".repeat(100), b: "y".repeat(101), list: [{ deep: "z".repeat(5000) }, 7, null, true], n: 1e300,
        })""",
    )
    assert shortened == {
        "a": "x" * 100,
        "b": "y" * 97 + "…",
        "list": [{"deep": "z" * 97 + "…"}, 7, None, True],
        "n": 1e300,
    }


def test_shortening_leaves_the_original_untouched(modules: Modules) -> None:
    original = modules.run(
        "event-log.js",
        """({ EventLog }) => {
            const event = { type: "x", inner: { audio: "A".repeat(300) } };
            new EventLog().add("→", event);
            return event.inner.audio.length;
        }""",
    )
    assert original == 300


def test_the_log_holds_the_newest_500_rows(modules: Modules) -> None:
    rows = modules.run(
        "event-log.js",
        """({ EventLog }) => {
            const log = new EventLog();
            for (let i = 0; i < 1234; i++) log.add("←", { type: `event ${i}` });
            return log.rows.map((row) => row.type);
        }""",
    )
    assert (len(rows), rows[0], rows[-1]) == (500, "event 734", "event 1233")


def test_audio_frames_are_counted_per_second_and_never_listed(modules: Modules) -> None:
    rows = modules.run(
        "event-log.js",
        """({ EventLog }) => {
            const log = new EventLog();
            for (let ms = 0; ms < 3000; ms += 20) log.count("→ audio", 960, new Date(10_000 + ms));
            log.closeSecond();
            return log.rows;
        }""",
    )
    assert [row["data"] for row in rows] == [{"seconds": 3, "last": {"→ audio": {"frames": 50, "samples": 48_000}}}]


def test_a_log_that_ends_within_a_second_stays_in_order(modules: Modules) -> None:
    first, counted, last = modules.run(
        "event-log.js",
        """({ EventLog }) => {
            const log = new EventLog();
            log.add("→", { type: "first" });
            log.count("→ audio", 960);
            log.closeSecond();
            log.add("•", { type: "last" });
            return log.rows.map((row) => row.time);
        }""",
    )
    assert first <= counted <= last


# -- frame-cutter.js ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate_hz", "sizes"), [(48_000, {960}), (44_100, {882}), (11_025, {220, 221}), (8_000, {160}), (22_255, {445, 446})]
)
def test_frames_are_20_ms_at_every_rate_and_no_sample_is_lost(modules: Modules, rate_hz: int, sizes: set[int]) -> None:
    result = modules.run(
        "frame-cutter.js",
        f"""({{ FrameCutter }}) => {{
            const frames = [];
            const cutter = new FrameCutter({rate_hz}, (frame) => frames.push(frame));
            let next = 0;
            while (next < {rate_hz} * 2) cutter.push([Float32Array.from({{ length: 128 }}, () => next++)], 128);
            const all = frames.flatMap((frame) => [...frame]);
            return {{ sizes: frames.map((frame) => frame.length), inOrder: all.every((sample, i) => sample === i) }};
        }}""",
    )
    assert result["inOrder"]
    assert set(result["sizes"]) == sizes
    assert len(result["sizes"]) >= 100


def test_several_channels_are_averaged_and_none_counts_as_silence(modules: Modules) -> None:
    frames = modules.run(
        "frame-cutter.js",
        """({ FrameCutter }) => {
            const frames = [];
            const cutter = new FrameCutter(8_000, (frame) => frames.push([frame[0], frame[159]]));
            cutter.push([new Float32Array(160).fill(0.5), new Float32Array(160).fill(-1)], 160);
            cutter.push([], 160);
            return frames;
        }""",
    )
    assert frames == [[-0.25, -0.25], [0, 0]]


# -- playback-queue.js -------------------------------------------------------------------------------------------------

PLAYER = """
    const block = (queue, count = 128) => { const out = new Float32Array(count); queue.render(out); return out; };
    const ones = (count) => new Float32Array(count).fill(1);
    const jump = (signal) => signal.reduce((most, s, i) => Math.max(most, Math.abs(s - (signal[i - 1] ?? 0))), 0);
"""


def play(modules: Modules, body: str) -> Any:
    """Run `body` with a queue at 1,000 Hz: a fade of 4 samples, a prebuffer of 60, a ring of 500."""
    setup = "const queue = new PlaybackQueue({ rateHz: 1_000, capacityS: 0.5 });"
    return modules.run("playback-queue.js", f"({{ PlaybackQueue }}) => {{ {PLAYER} {setup} {body} }}")


def test_nothing_sounds_before_60_ms_are_there(modules: Modules) -> None:
    early, later = play(
        modules,
        """queue.push(1, 0, ones(59));
        const early = Math.max(...block(queue, 20));
        queue.push(1, 59, ones(40));
        return [early, Math.max(...block(queue, 20))];""",
    )
    assert (early, later) == (0, 1)


def test_a_short_item_sounds_as_soon_as_it_is_complete(modules: Modules) -> None:
    assert play(modules, "queue.push(1, 0, ones(30)); queue.finish(1); return Math.max(...block(queue, 20));") == 1


def test_a_sender_with_a_lead_below_the_prebuffer_is_heard_all_the_same(modules: Modules) -> None:
    assert play(
        modules, "queue.push(1, 0, ones(30)); block(queue, 100); return Math.max(...block(queue, 30));"
    ) == pytest.approx(1)


def test_played_samples_are_counted_per_item_to_the_sample(modules: Modules) -> None:
    positions = play(
        modules,
        """queue.push(1, 0, ones(100)); queue.finish(1); queue.push(2, 0, ones(100)); queue.finish(2);
        const positions = [queue.position];
        for (const count of [70, 30, 1, 99, 50]) { block(queue, count); positions.push(queue.position); }
        return positions;""",
    )
    expected = [(0, 0), (1, 70), (1, 100), (2, 1), (2, 100), (2, 100)]
    assert [(position["item"], position["samples"]) for position in positions] == expected


def test_a_flush_says_what_was_played_and_throws_the_rest_away(modules: Modules) -> None:
    result = play(
        modules,
        """queue.push(1, 0, ones(300));
        block(queue, 130);
        const played = queue.flush(1);
        queue.push(1, 300, ones(100)); // a late frame of the flushed item
        const after = block(queue, 200);
        const tail = after.findLastIndex((sample) => sample !== 0);
        return { played, tail, buffered: queue.bufferedMs, again: queue.position };""",
    )
    assert result["played"] == {"item": 1, "samples": 130}
    assert result["again"] == {"item": 1, "samples": 130}, "the fade after a flush does not count as played"
    assert result["tail"] < 4
    assert result["buffered"] == 0


def test_a_flush_before_anything_was_played_answers_item_0(modules: Modules) -> None:
    assert play(modules, "queue.push(1, 0, ones(30)); return queue.flush(1);") == {"item": 0, "samples": 0}


def test_an_item_newer_than_the_flush_goes_on(modules: Modules) -> None:
    assert play(
        modules,
        """queue.push(1, 0, ones(50)); queue.finish(1); block(queue, 50);
        queue.push(2, 0, ones(200)); block(queue, 60);
        queue.flush(1); block(queue, 40);
        return queue.position;""",
    ) == {"item": 2, "samples": 100}


def test_no_click_at_start_flush_underrun_or_end(modules: Modules) -> None:
    worst, loudest = play(
        modules,
        """const heard = [];
        queue.push(1, 0, ones(200)); heard.push(...block(queue, 100)); // start
        queue.flush(1); heard.push(...block(queue, 50));
        queue.push(2, 0, ones(100)); heard.push(...block(queue, 150)); // underrun
        queue.push(2, 100, ones(200)); queue.finish(2); heard.push(...block(queue, 300)); // start again, and end
        return [jump(heard), Math.max(...heard)];""",
    )
    assert (worst, loudest) == (pytest.approx(0.25), 1), "a fade of 4 samples moves by a quarter per sample at most"


def test_an_underrun_is_told_from_an_end_and_makes_the_buffer_longer(modules: Modules) -> None:
    result = play(
        modules,
        """const before = queue.prebufferMs;
        queue.push(1, 0, ones(80)); block(queue, 100);
        const underrun = queue.takeNotes();
        queue.push(1, 80, ones(150));
        const longer = queue.prebufferMs;
        queue.finish(1); block(queue, 200);
        return { before, longer, shorter: queue.prebufferMs, underrun, end: queue.takeNotes() };""",
    )
    assert (result["before"], result["longer"], result["shorter"]) == (60, 100, 90)
    assert [note["type"] for note in result["underrun"]] == ["sound", "silence"]
    assert result["underrun"][1]["reason"] == "underrun"
    assert result["end"] == [{"type": "silence", "item": 1, "reason": "end"}]


def test_a_full_ring_refuses_and_overwrites_nothing(modules: Modules) -> None:
    result = play(
        modules,
        """const parts = [ones(400), ones(200).fill(9), ones(100)];
        const taken = parts.map((samples, i) => queue.push(1, i && 400, samples));
        queue.finish(1);
        return { taken, most: Math.max(...block(queue, 600)), position: queue.position };""",
    )
    assert result == {"taken": [True, False, True], "most": 1, "position": {"item": 1, "samples": 500}}


def test_the_ring_keeps_order_when_it_wraps(modules: Modules) -> None:
    assert play(
        modules,
        """let next = 0, heard = [];
        const push = (count) => queue.push(1, next, Float32Array.from({ length: count }, () => next++));
        push(300);
        for (let i = 0; i < 30; i++) { heard.push(...block(queue, 90)); push(90); }
        return heard.slice(10).every((sample, i) => sample === i + 10);""",
    )


# -- relay-wire.js -----------------------------------------------------------------------------------------------------


def test_an_audio_header_is_read_as_wire_md_says(modules: Modules) -> None:
    frame = modules.run(
        "relay-wire.js",
        """({ parseAudioFrame }) => {
            const bytes = [1, 0, 0, 0,  2, 1, 0, 0,  4, 0, 0, 0, 1, 0, 0, 0,  0, 0, 128, 63];
            const { item, firstSample, samples } = parseAudioFrame(new Uint8Array(bytes).buffer);
            return { item, firstSample, samples: [...samples] };
        }""",
    )
    assert frame == {"item": 258, "firstSample": 2**32 + 4, "samples": [1.0]}


@pytest.mark.parametrize(
    "bytes_",
    [[1] * 15, [1, 0, 0, 0, 1] + [0] * 14, [1] + [0] * 15, [1, 0, 0, 0, 1, 0, 0, 0] + [255] * 8],
    ids=["no whole header", "no whole sample", "item 0", "index beyond 2^53"],
)
def test_a_broken_audio_frame_is_a_typed_error(modules: Modules, bytes_: list[int]) -> None:
    code = modules.run(
        "relay-wire.js",
        f"""({{ parseAudioFrame }}) => {{
            try {{ parseAudioFrame(new Uint8Array({bytes_}).buffer); return "accepted"; }}
            catch (error) {{ return `${{error.name}} ${{error.code}}`; }}
        }}""",
    )
    assert code == "RelayError bad_frame"


def test_a_kind_that_we_do_not_know_is_ignored(modules: Modules) -> None:
    assert modules.run("relay-wire.js", "({ parseAudioFrame }) => parseAudioFrame(new Uint8Array(17).buffer)") is None


@pytest.mark.parametrize(("page", "relay"), [("https://a.example/x", "wss://a.example"), ("http://h:8/", "ws://h:8")])
def test_the_address_follows_the_page(modules: Modules, page: str, relay: str) -> None:
    assert modules.run("relay-wire.js", f"({{ defaultUrl }}) => defaultUrl('{page}')") == f"{relay}/v1/realtime"


# -- conversation.js ---------------------------------------------------------------------------------------------------


def test_a_turn_with_an_interruption_reads_as_a_person_would_tell_it(modules: Modules) -> None:
    told = modules.run(
        "conversation.js",
        """({ Conversation }) => {
            const it = new Conversation();
            const states = [it.state];
            const say = (step) => { step(); states.push(it.state); };
            const event = (type, at_ms, more) => () => it.event({ type, ...more }, at_ms);
            say(() => it.connection("connecting"));
            say(() => it.connection("open"));
            say(event("input_audio_buffer.speech_started", 0));
            say(event("input_audio_buffer.speech_stopped", 1000));
            say(event("response.created", 1010));
            say(event("relay.audio.started", 1100, { item: 1 }));
            say(event("response.done", 1150, { response: { status: "completed" } }));
            say(() => it.sound(1, 1250));
            say(() => it.silence("underrun", 1300));
            say(event("input_audio_buffer.speech_started", 2000));
            say(event("relay.flush", 2005, { item: 1 }));
            say(() => it.silence("flush", 2012));
            say(event("input_audio_buffer.speech_stopped", 3000));
            say(() => it.connection("idle"));
            return { states: states.join(" "), first: it.firstSoundMs, silence: it.silenceMs };
        }""",
    )
    assert told["states"].split() == [
        "idle", "connecting", "listening", "hearing", "thinking", "thinking", "thinking", "thinking", "speaking",
        "speaking", "hearing", "hearing", "hearing", "thinking", "idle",
    ]  # fmt: skip
    assert (told["first"], told["silence"]) == (250, 12)


# -- relay-socket.js ---------------------------------------------------------------------------------------------------


FAKE_SOCKET = """
    const real = globalThis.WebSocket;
    let fake;
    globalThis.WebSocket = class {
        static OPEN = 1;
        readyState = 1;
        bufferedAmount = 0;
        constructor() { fake = this; }
        send() {}
        close() { this.readyState = 3; }
    };
    const FRAME_BYTES = 4 * 160; // 20 ms at 8,000 Hz
"""


@pytest.mark.parametrize(("answer_every_s", "ends_after_s"), [(10, None), (60, 15)])
def test_a_server_that_no_longer_answers_audio_is_gone(
    modules: Modules, answer_every_s: int, ends_after_s: int | None
) -> None:
    result = modules.run(
        "relay-socket.js",
        f"""({{ RelaySocket }}) => {{
            {FAKE_SOCKET}
            let ended = null, second = 0;
            const onEnd = ({{ code }}) => (ended = {{ code, second }});
            const socket = new RelaySocket("ws://x", [], 8000, {{ onEnd, onEvent() {{}}, onDropped() {{}} }});
            for (; second < 40; second++) {{
                for (let frame = 0; frame < 50; frame++) socket.sendAudio(new ArrayBuffer(FRAME_BYTES));
                if (second % {answer_every_s} === 9) fake.onmessage({{ data: '{{"type":"relay.level"}}' }});
            }}
            globalThis.WebSocket = real;
            return ended;
        }}""",
    )
    assert result == (ends_after_s and {"code": "connection_lost", "second": 9 + 1 + ends_after_s})


def test_what_a_congestion_cost_is_told_when_it_is_over(modules: Modules) -> None:
    told = modules.run(
        "relay-socket.js",
        f"""({{ RelaySocket }}) => {{
            {FAKE_SOCKET}
            const told = [];
            const socket = new RelaySocket("ws://x", [], 8000, {{ onDropped: (ms) => told.push(ms) }});
            const send = (frames) => {{
                for (let i = 0; i < frames; i++) socket.sendAudio(new ArrayBuffer(FRAME_BYTES));
            }};
            for (const congested of [100, 25]) {{
                send(10);
                fake.bufferedAmount = 1e6;
                send(congested);
                fake.bufferedAmount = 0;
                send(10);
            }}
            globalThis.WebSocket = real;
            return told;
        }}""",
    )
    assert told == [None, 2000, None, 500]


# -- relay-session.js --------------------------------------------------------------------------------------------------


def test_an_answer_that_is_refused_leaves_nothing_to_interrupt_and_nobody_waiting(modules: Modules) -> None:
    """Two texts, the second interrupts the first's answer, which is refused; then the upstream speaks by itself."""
    sent = modules.run(
        "relay-session.js",
        f"""async ({{ RelaySession }}) => {{
            {FAKE_SOCKET}
            const sent = [];
            const audio = {{ rateHz: 8000, openPlayback: () => ({{ close() {{}} }}) }};
            const handlers = {{ emit() {{}}, onReady() {{}}, onEnd() {{}} }};
            const session = new RelaySession({{ url: "ws://x" }}, audio, handlers);
            while (!fake) await new Promise(setTimeout);
            fake.send = (text) => sent.push(JSON.parse(text));
            const hear = (event) => fake.onmessage({{ data: JSON.stringify(event) }});
            const refuse = (event_id) => hear({{ type: "error", error: {{ code: "rate_limit_exceeded", event_id }} }});
            session.sendText("one");
            session.sendText("two");
            refuse("create_1");
            refuse("create_2");
            sent.push("-");
            hear({{ type: "response.created" }});
            hear({{ type: "response.done" }});
            session.close();
            globalThis.WebSocket = real;
            return sent.map((event) => event.event_id ?? event.type ?? event);
        }}""",
    )
    one_and_two = ["conversation.item.create", "create_1", "relay.interrupt", "conversation.item.create"]
    assert sent == [*one_and_two, "create_2", "-"]
