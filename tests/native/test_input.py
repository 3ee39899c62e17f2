"""What comes in: anything. Bad samples become harmless, bad bytes become typed errors, and nothing else is lost."""

from __future__ import annotations

import base64
import binascii
import gc
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.audio import (
    MAX_FRAME_BYTES,
    AudioDataError,
    AudioFormatError,
    Downlink,
    Encoding,
    Level,
    Uplink,
    check_append,
    native_info,
)
from tests.native.signals import decode, encode, pcm_of, send, tone

RATES_HZ = [8_000, 11_025, 16_000, 22_050, 24_000, 24_001, 37_000, 44_100, 48_000, 72_000, 96_000, 143_999, 192_000]

# ---- samples that are no samples ----


def test_nan_becomes_silence(simd: str) -> None:
    assert not send(np.full(9600, np.nan), 48_000).any()


def test_a_nan_leaves_the_samples_around_it_alone() -> None:
    clean = tone(440, 48_000, 0.1, 0.5)
    clean[2400] = 0.0
    broken = clean.copy()
    broken[2400] = np.nan
    np.testing.assert_array_equal(send(broken, 48_000), send(clean, 48_000))


@pytest.mark.parametrize("value", [1.5, 1e30, np.inf])
@pytest.mark.parametrize("rate_hz", [24_000, 44_100, 48_000])
def test_overload_clips(simd: str, rate_hz: int, value: float) -> None:
    top, bottom = send(np.full(rate_hz // 10, value), rate_hz), send(np.full(rate_hz // 10, -value), rate_hz)
    assert top[-1] == 32767 / 32768
    assert bottom[-1] == -1.0
    assert top.min() > -0.2  # it rings, but never wraps around


def test_denormals_and_minus_zero_are_silence() -> None:
    assert not send(np.tile([1e-40, -1e-40, -0.0], 3200), 48_000).any()


# ---- bytes that are no audio ----


@pytest.mark.parametrize("rate_hz", [1, 7_999, 192_001, 10_000_000, 0, -48_000])
def test_rates_out_of_range_are_refused(rate_hz: int) -> None:
    for make in (
        lambda: Uplink("f32le", rate_hz),
        lambda: Uplink("f32le", 48_000, rate_hz),
        lambda: Downlink("s16le", rate_hz),
        lambda: Downlink("s16le", 48_000, rate_hz),
    ):
        with pytest.raises(AudioFormatError, match="8000 to 192000"):
            make()


@pytest.mark.parametrize("rate_hz", [48_000.0, "48000", None, True])
def test_rates_that_are_no_whole_numbers_are_refused(rate_hz: object) -> None:
    with pytest.raises(AudioFormatError):
        Uplink("f32le", rate_hz)  # type: ignore[arg-type]  # the point of the test


def test_unknown_encodings_are_refused() -> None:
    with pytest.raises(AudioFormatError, match="mulaw"):
        Uplink("mulaw", 48_000)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize(
    ("encoding", "n_bytes"), [("f32le", 3), ("f32le", 6), ("s16le", 1), ("s16le", 961), ("s16le", 0)]
)
def test_frames_that_are_no_whole_samples_are_refused(encoding: Encoding, n_bytes: int) -> None:
    with pytest.raises(AudioDataError):
        Uplink(encoding, 48_000).push(bytes(n_bytes))


def test_the_largest_frame_passes_and_a_larger_one_is_refused() -> None:
    assert MAX_FRAME_BYTES == 65_536
    uplink = Uplink("s16le", 8_000)
    assert len(pcm_of(uplink.push(bytes(MAX_FRAME_BYTES)))) == 3 * MAX_FRAME_BYTES
    for n_bytes in (MAX_FRAME_BYTES + 2, 16 * 2**20):
        with pytest.raises(AudioDataError, match=str(MAX_FRAME_BYTES)):
            uplink.push(bytes(n_bytes))


def test_a_refused_frame_changes_nothing() -> None:
    frame = encode(tone(440, 44_100, 0.02), "f32le")
    spoiled, clean = Uplink("f32le", 44_100), Uplink("f32le", 44_100)
    for _ in range(5):
        with pytest.raises(AudioDataError):
            spoiled.push(frame[:-1])
        assert spoiled.push(frame) == clean.push(frame)


@pytest.mark.parametrize(
    "delta", ["AAAA AAA", "AAA", "AA\n==", "A===", "AB==", "AAAé", "-_-_", b"\x00AAA", "AAAA", "AA=="]
)
def test_a_refused_delta_changes_nothing(delta: str | bytes) -> None:
    good = base64.b64encode(encode(tone(440, 24_000, 0.02), "s16le"))
    spoiled, clean = Downlink("f32le", 48_000), Downlink("f32le", 48_000)
    for _ in range(5):
        with pytest.raises(AudioDataError):
            spoiled.push(delta)
        assert spoiled.push(good) == clean.push(good)


def test_a_long_delta_that_breaks_at_its_end_changes_nothing() -> None:
    good = base64.b64encode(encode(tone(440, 24_000, 2.0), "s16le"))
    spoiled, clean = Downlink("f32le", 48_000), Downlink("f32le", 48_000)
    with pytest.raises(AudioDataError):
        spoiled.push(good[:-1] + b"!")
    assert spoiled.push(good) == clean.push(good)


# ---- any split ----


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(RATES_HZ),
    st.sampled_from(["f32le", "s16le"]),
    st.lists(st.integers(1, 3000), min_size=1, max_size=20),
)
def test_any_split_of_the_input_gives_identical_bytes_up(rate_hz: int, encoding: Encoding, chunks: list[int]) -> None:
    width = 4 if encoding == "f32le" else 2
    data = encode(np.random.default_rng(7).uniform(-1, 1, sum(chunks)), encoding)
    parts, whole, at = Uplink(encoding, rate_hz), Uplink(encoding, rate_hz), 0
    pcm, expected = b"", b""
    for chunk in chunks:
        pcm += pcm_of(parts.push(data[at : at + chunk * width]))
        at += chunk * width
    for start in range(0, len(data), MAX_FRAME_BYTES):
        expected += pcm_of(whole.push(data[start : start + MAX_FRAME_BYTES]))
    assert pcm == expected


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(RATES_HZ),
    st.sampled_from(["f32le", "s16le"]),
    st.lists(st.integers(1, 3000), min_size=1, max_size=20),
)
def test_any_split_of_the_input_gives_identical_bytes_down(rate_hz: int, encoding: Encoding, chunks: list[int]) -> None:
    data = encode(np.random.default_rng(8).uniform(-1, 1, sum(chunks)), "s16le")
    parts, whole, out, at = Downlink(encoding, rate_hz), Downlink(encoding, rate_hz), b"", 0
    for chunk in chunks:
        out += parts.push(base64.b64encode(data[at : at + 2 * chunk]).decode())
        at += 2 * chunk
    assert out == whole.push(base64.b64encode(data))
    assert parts.finish() == whole.finish()


@pytest.mark.parametrize("rate_hz", [48_000, 44_100])
def test_finish_lets_the_last_sample_out_and_starts_afresh(rate_hz: int) -> None:
    item = base64.b64encode(encode(tone(440, 24_000, 0.1)[:-1], "s16le"))  # ends between two phases
    downlink = Downlink("f32le", rate_hz)
    assert downlink.finish() == b""
    first = downlink.push(item), downlink.finish()
    assert downlink.finish() == b""
    assert (downlink.push(item), downlink.finish()) == first
    tail = decode(first[1], "f32le")
    assert 0 < len(tail) <= rate_hz // 500  # 2 ms
    assert abs(tail).max() > 0.01
    downlink.push(item)
    downlink.reset()
    assert (downlink.push(item), downlink.finish()) == first


# ---- base64 ----


def strict(text: bytes) -> bytes | None:
    """What the standard library makes of it, and only if it would have written it so."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return None
    return data if base64.b64encode(data) == text else None


BASE64_LIKE = st.text("AQgwZz09+/=-_ \n!", max_size=90) | st.binary(max_size=200).map(
    lambda b: base64.b64encode(b).decode()
)


def agrees_with_the_standard_library(text: str) -> None:
    expected = strict(text.encode()) if text.isascii() else None
    if expected is None or len(expected) % 2:
        with pytest.raises(AudioDataError):
            check_append(text)
        if text:
            with pytest.raises(AudioDataError):
                Downlink("s16le", 24_000).push(text)
    else:
        assert check_append(text) == check_append(text.encode()) == len(expected)
        assert Downlink("s16le", 24_000).push(text) == expected


@settings(deadline=None, max_examples=500)
@given(BASE64_LIKE, st.integers(0, 200), st.sampled_from(["", "=", "A", "*", "\n", "\x80"]), st.booleans())
def test_base64_is_accepted_exactly_when_the_standard_library_would_have_written_it(
    text: str, at: int, other: str, insert: bool
) -> None:
    agrees_with_the_standard_library(text[:at] + other + text[at if insert else at + 1 :])


@pytest.mark.parametrize("at", [0, 31, 32, 4_095, 4_096, 8_191, 12_799])
@pytest.mark.parametrize("other", ["=", "-", "\x00", "/"])
def test_one_wrong_character_is_found_anywhere_in_a_long_delta(at: int, other: str) -> None:
    text = "A" * 12_800
    agrees_with_the_standard_library(text)
    agrees_with_the_standard_library(text[:at] + other + text[at + 1 :])


# ---- lifetimes and size ----


def test_closing_frees_the_handle_and_its_tables() -> None:
    gc.collect()
    before = native_info()
    up, down = Uplink("f32le", 44_444), Downlink("f32le", 44_444)
    assert native_info().live_handles == before.live_handles + 2
    assert native_info().table_bytes > before.table_bytes
    for _ in range(2):
        up.close()
        down.close()
    assert native_info() == before
    for use in (lambda: up.push(bytes(4)), lambda: down.push(b"AAAA"), down.finish, down.reset, up.take_level):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_the_garbage_collector_frees_what_nobody_closed() -> None:
    gc.collect()
    before = native_info().live_handles
    Uplink("f32le", 48_000)
    gc.collect()
    assert native_info().live_handles == before


def test_a_session_takes_at_most_1_kib_at_every_rate() -> None:
    for rate_hz in sorted({*RATES_HZ, *range(8_000, 192_001, 1_999), 71_999, 72_001, 59_999, 107_999}):
        up, down = Uplink("f32le", rate_hz), Downlink("f32le", rate_hz)
        assert up.state_bytes + down.state_bytes <= 1024, rate_hz
        up.close()
        down.close()


def test_one_direction_takes_at_most_1_kib_at_every_pair_of_rates() -> None:
    for rate_hz in (*range(8_000, 192_001, 7_919), 184_000, 191_999):
        for upstream_rate_hz in (8_000, 16_000, 44_100, 192_000):
            up = Uplink("s16le", rate_hz, upstream_rate_hz)
            assert up.state_bytes <= 1024, (rate_hz, upstream_rate_hz)
            up.close()


def test_the_tables_of_any_two_rates_stay_below_256_kib() -> None:
    gc.collect()
    before = native_info().table_bytes
    for rate_hz in (71_999, 11_025, 44_101, 59_999, 24_001, 191_999, 23_999):
        up = Uplink("f32le", rate_hz)
        assert native_info().table_bytes - before <= 256 * 1024
        up.close()


def test_threads_with_their_own_ends_do_not_disturb_each_other() -> None:
    """Large frames, so that calls really run at the same time: the GIL is released in them."""
    frames = [encode(tone(200 * (i + 1), 44_100, 0.37), "f32le")[: MAX_FRAME_BYTES // 4 * 4] for i in range(4)]
    expected = [Uplink("f32le", 44_100).push(frame) for frame in frames]
    wrong: list[int] = []

    def work(frame: bytes, event: bytes) -> None:
        wrong.extend(i for i in range(300) if Uplink("f32le", 44_100).push(frame) != event)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(frames, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---- level and dispatch ----


def test_the_level_is_that_of_the_bytes_sent(simd: str) -> None:
    uplink = Uplink("f32le", 48_000)
    assert uplink.take_level() is None
    pcm = pcm_of(uplink.push(encode(tone(1000, 48_000, 0.1, 0.5), "f32le")))
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    level = uplink.level
    assert level.rms_dbfs == pytest.approx(20 * np.log10(np.sqrt(np.mean(samples**2)) / 32768), abs=1e-9)
    assert level.peak_dbfs == pytest.approx(20 * np.log10(np.abs(samples).max() / 32768), abs=1e-9)
    assert uplink.take_level() == level
    assert uplink.take_level() is None


def test_a_sine_of_known_level_reads_that_level() -> None:
    uplink, downlink = Uplink("s16le", 24_000), Downlink("f32le", 48_000)
    sine = encode(tone(1000, 24_000, 1.0, 10 ** (-6 / 20)), "s16le")
    uplink.push(sine)
    downlink.push(base64.b64encode(sine))
    for level in (uplink.take_level(), downlink.take_level()):
        assert level is not None
        assert level.rms_dbfs == pytest.approx(-6 - 3.01, abs=0.02)
        assert level.peak_dbfs == pytest.approx(-6, abs=0.02)


def test_silence_and_full_scale_are_the_ends_of_the_level(simd: str) -> None:
    uplink = Uplink("s16le", 24_000)
    uplink.push(bytes(960))
    assert uplink.take_level() == Level(-120.0, -120.0)
    uplink.push(b"\x00\x80" * 480)
    assert uplink.take_level() == Level(0.0, 0.0)


def test_the_best_code_path_of_this_processor_is_used() -> None:
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    if "avx2" in flags and "fma" in flags:
        assert native_info().simd == "avx2"
    else:
        assert native_info().simd in {"sse2", "neon", "c"}
