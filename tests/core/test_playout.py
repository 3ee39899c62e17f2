from __future__ import annotations

import base64
import json
import struct

import numpy as np
import pytest

from relay.audio import AudioDataError, Downlink
from relay.core.playout import FRAME_MS, LEAST_DELTA_MS, PIECE_CHARS, AudioItem, Playout, pcm16_samples
from tests.core.audio_fake import RATE_HZ, TAIL_SAMPLES, PlainDownlink, delta

LEAD_S = 1.0


def new_playout() -> Playout:
    return Playout(PlainDownlink(), rate_hz=RATE_HZ, sample_bytes=2, upstream_rate_hz=RATE_HZ, lead_s=LEAD_S)


def item(number: int = 1) -> AudioItem:
    return AudioItem(number, f"item_{number}", "resp_1", 0)


def take_all(playout: Playout, now_s: float) -> list[str | bytes]:
    return list(iter(lambda: playout.take(now_s), None))


def header(frame: str | bytes) -> tuple[int, int, int]:
    assert isinstance(frame, bytes)
    kind, zero, zeros, number, first_sample = struct.unpack_from("<BBHIQ", frame)
    assert (kind, zero, zeros) == (1, 0, 0)
    return number, first_sample, (len(frame) - 16) // 2


def test_the_first_frame_is_due_at_once() -> None:
    playout = new_playout()
    playout.put(item(), delta("item_1", 20).delta)
    started, frame = take_all(playout, 100.0)
    assert json.loads(started)["type"] == "relay.audio.started"
    assert header(frame) == (1, 0, 480)


def test_audio_is_sent_no_further_ahead_than_the_lead() -> None:
    playout = new_playout()
    playout.put(item(), delta("item_1", 10_000).delta)
    sent_ms = 0.0
    for tick in range(50):
        now_s = tick * 0.1
        frames = [frame for frame in take_all(playout, now_s) if isinstance(frame, bytes)]
        sent_ms += sum(header(frame)[2] for frame in frames) * 1000 / RATE_HZ
        assert now_s * 1000 <= sent_ms <= (now_s + LEAD_S) * 1000 + FRAME_MS


def test_delay_says_when_the_next_frame_is_due() -> None:
    playout = new_playout()
    assert playout.delay_s(0.0) is None
    playout.put(item(), delta("item_1", 5_000).delta)
    take_all(playout, 0.0)
    delay_s = playout.delay_s(0.0)
    assert delay_s is not None
    assert delay_s > 0
    assert playout.take(delay_s - 0.01) is None
    assert isinstance(playout.take(delay_s), bytes)


def test_frames_of_an_item_are_consecutive_and_end_with_the_tail() -> None:
    playout = new_playout()
    one = item()
    for ms in (100, 150, 250, 30):
        playout.put(one, delta("item_1", ms).delta)
    playout.end_item(one)
    *messages, done = [message for tick in range(40) for message in take_all(playout, tick * 0.1)]
    expected = 0
    for frame in messages[1:]:
        _, first_sample, samples = header(frame)
        assert first_sample == expected
        assert samples <= FRAME_MS * RATE_HZ // 1000
        expected += samples
    assert expected == 530 * 24 + TAIL_SAMPLES
    assert json.loads(done) == {"type": "relay.audio.done", "item": 1, "item_id": "item_1", "samples": expected}


def test_a_new_item_ends_the_one_before() -> None:
    playout = new_playout()
    playout.put(item(1), delta("item_1", 20).delta)
    playout.put(item(2), delta("item_2", 20).delta)
    kinds = [json.loads(m)["type"] if isinstance(m, str) else header(m)[0] for m in take_all(playout, 0.0)]
    assert kinds == ["relay.audio.started", 1, 1, "relay.audio.done", "relay.audio.started", 2]


def test_drop_leaves_nothing_and_the_next_item_is_due_at_once() -> None:
    playout = new_playout()
    playout.put(item(1), delta("item_1", 30_000).delta)
    take_all(playout, 0.0)
    playout.drop()
    assert (playout.queued_ms, playout.delay_s(0.0)) == (0, None)
    playout.put(item(2), delta("item_2", 20).delta)
    assert header(take_all(playout, 0.0)[1])[0] == 2


def test_a_player_that_stands_still_gets_no_more_than_the_lead() -> None:
    playout = new_playout()
    one = item()
    playout.put(one, delta("item_1", 20_000).delta)
    for tick in range(100):
        take_all(playout, tick * 0.1)
        playout.played(one.sent_samples, tick * 0.1)
    assert one.sent_samples <= (LEAD_S + 2 * FRAME_MS / 1000) * RATE_HZ


def test_samples_are_counted_from_the_length_of_base64() -> None:
    for ms in (1, 20, 33, 100):
        assert pcm16_samples(delta("i", ms).delta) == ms * 24


def test_a_huge_delta_is_converted_piece_by_piece_and_loses_nothing() -> None:
    playout = new_playout()
    rising = np.arange(24_000 * 20, dtype="<i2")
    playout.put(item(), base64.b64encode(rising.tobytes()).decode())
    assert playout.queued_ms == 20_000
    frames = [m for tick in range(220) for m in take_all(playout, tick * 0.1) if isinstance(m, bytes)]
    assert max(map(len, frames)) <= 16 + 2 * FRAME_MS * 24
    assert b"".join(frame[16:] for frame in frames) == rising.tobytes()


def test_deltas_without_samples_count_for_the_memory_that_they_take() -> None:
    playout = new_playout()
    for _ in range(1_000):
        playout.put(item(), "AA==")
    assert playout.queued_ms >= 1_000 * LEAST_DELTA_MS
    assert playout.unheard_s(0.0) == 0.0


def test_padding_in_the_middle_of_a_huge_delta_is_refused() -> None:
    piece = base64.b64encode(bytes(PIECE_CHARS // 4 * 3 - 2)).decode()
    assert piece.endswith("==")
    playout = Playout(Downlink("s16le", RATE_HZ), rate_hz=RATE_HZ, sample_bytes=2, upstream_rate_hz=RATE_HZ, lead_s=1.0)
    playout.put(item(), piece + piece)
    with pytest.raises(AudioDataError):
        playout.take(0.0)
