"""What the short way is made of against what relay uses beside it: policy's decoder, the converters, frames.

Whatever the text: relay_delta_find() reads the same in it as the decoder, or says "not mine".
"""

from __future__ import annotations

import json
import string
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay._native import ffi, lib
from relay.audio import Downlink, Encoding, Uplink
from relay.core import events
from tests.peers import BINARY, TEXT, unframe

NOT_MINE: int = lib.RELAY_E_NOT_MINE
MANY = settings(max_examples=300, deadline=None)
TEXTS = ("item_id", "response_id", "delta")
OUR_KEY = b"\x01\x80\xff\x55"
EVENT = {
    "type": "response.output_audio.delta",
    "event_id": "event_1",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 1,
    "delta": "AAECAwQF",
}


def find(text: bytes) -> dict[str, Any] | None:
    """What is found in an event, or None if it is left to the decoder."""
    found = ffi.new("relay_delta *")
    code = lib.relay_delta_find(text, len(text), found)
    assert code in (0, NOT_MINE)
    if code:
        return None
    spans = {name: (getattr(found, name), getattr(found, f"{name}_chars")) for name in TEXTS}
    read: dict[str, Any] = {name: text[at : at + chars].decode("ascii") for name, (at, chars) in spans.items()}
    return {**read, "content_index": found.content_index}


plain = st.text(st.sampled_from(string.ascii_letters + string.digits + "_-+/= .:{}[],"), max_size=90)
odd = st.text(max_size=10) | st.sampled_from(['a"b', "a\\b", "a/b", "\n", "\x7f", "ä"])
texts = plain | plain | odd
numbers = st.integers(0, 20) | st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False)
values = texts | numbers | st.none() | st.booleans() | st.lists(plain, max_size=2)
spaces = st.text(st.sampled_from(" \t\r\n"), max_size=2) | st.just("")
names = st.sampled_from([*EVENT, *EVENT, "obfuscation", "call_id", "usage", "Type", ""]) | texts
changes = st.lists(st.tuples(names, values), max_size=3)


@st.composite
def event_texts(draw: st.DrawFn) -> bytes:
    """A delta event in any order of its fields, perhaps with other fields, twice the same, or escapes."""
    fields = [*draw(st.permutations(list(EVENT.items()))), *draw(changes)]
    for _ in range(draw(st.integers(0, 2))):
        fields.pop(draw(st.integers(0, len(fields) - 1)))
    space, escaped = draw(spaces), draw(st.booleans())
    pairs = [[json.dumps(part, ensure_ascii=escaped) for part in field] for field in fields]
    text = f",{space}".join(f"{name}{space}:{value}" for name, value in pairs)
    return f"{space}{{{text}{space}}}".encode("utf-8", "replace")


@st.composite
def broken_texts(draw: st.DrawFn) -> bytes:
    """The same with a byte changed, taken out or put in."""
    text = bytearray(draw(event_texts()))
    at = draw(st.integers(0, len(text) - 1))
    text[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2) | st.sampled_from([b'"', b"\\", b",", b"}"]))
    return bytes(text)


@MANY
@given(event_texts() | broken_texts() | st.binary(max_size=80))
def test_what_is_found_in_a_delta_is_what_the_decoder_reads(text: bytes) -> None:
    found = find(text)
    if found is None:
        return
    read = events.delta_decoder.decode(text.decode())
    assert read.type == events.AUDIO_DELTA
    assert found == {name: getattr(read, name) for name in found}
    assert read.item_id
    assert read.response_id


@MANY
@given(st.permutations(list(EVENT.items())), plain, st.integers(0, 999_999_999), spaces)
def test_what_the_api_sends_is_found_in_any_order(fields: list[Any], delta: str, index: int, space: str) -> None:
    event = {**dict(fields), "delta": delta, "content_index": index}
    expected = {name: event[name] for name in ("item_id", "response_id", "delta", "content_index")}
    separators = (f",{space}", f"{space}:{space}")
    assert find(json.dumps(event, separators=separators).encode()) == expected
    assert find(msgspec.json.encode(event)) == expected


@MANY
@given(st.lists(st.binary(max_size=120), max_size=6), st.sampled_from(["f32le", "s16le"]))
def test_a_frame_for_the_upstream_is_the_event_masked(pieces: list[bytes], encoding: Encoding) -> None:
    joined, apart = Uplink(encoding, 48_000), Uplink(encoding, 48_000)
    for samples in pieces:
        room = max(lib.relay_uplink_frame_room(joined._handle, len(samples)), 0)
        out = ffi.new("char[]", room)
        n = lib.relay_uplink_frame(joined._handle, samples, len(samples), OUR_KEY, out, room)
        if n < 0:
            assert n == lib.RELAY_E_LENGTH
            continue
        event = apart.push(samples)
        assert unframe(bytes(ffi.buffer(out, n)), masked=True) == ([(TEXT, event)] if event else [])


@pytest.mark.parametrize("rate_hz", [8_000, 24_000, 44_100, 48_000])
def test_a_frame_of_a_stretch_of_base64_is_header_and_samples(simd: str, rate_hz: int) -> None:
    joined, apart = Downlink("s16le", rate_hz), Downlink("s16le", rate_hz)
    first_sample = 0
    for delta in (b"AAEC" * 320, b"AQ==", b"AAEC" * 1_600, b"AAE=", b"AAAAAAAA"):
        room = lib.relay_downlink_frame_room(joined._handle, len(delta))
        out = ffi.new("char[]", room)
        n = lib.relay_downlink_frame(joined._handle, delta, len(delta), 7, first_sample, out, room)
        if delta == b"AQ==":
            assert n == lib.RELAY_E_LENGTH
            continue
        pcm = apart.push(delta)
        head = struct.pack("<BBHIQ", 1, 0, 0, 7, first_sample)
        assert unframe(bytes(ffi.buffer(out, n)), masked=False) == ([(BINARY, head + pcm)] if pcm else [])
        first_sample += len(pcm) // 2
    joined.close()
    apart.close()
