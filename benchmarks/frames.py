"""WebSocket frames and the fast lane: `python -m benchmarks.frames`, under a minute.

Two tables. The first is what a frame costs on its way through Python, received and built, by wsproto and by relay's own
frames, which do the same work. The second is what a frame of audio costs from the bytes of one socket to the bytes of
the other: by the careful way, as relay goes it today without its rules and queues, and by the calls of the fast lane.

Everything is timed in turn, in another order each round, and a ratio compares inside one round (timing.py).
"""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from wsproto.frame_protocol import FrameProtocol

from benchmarks.machine import machine
from benchmarks.timing import Timing, compare
from relay._frames import Frames, _Keys
from relay._native import ffi, lib
from relay.audio import Downlink, Uplink
from relay.core.events import delta_decoder, encode

RESULTS = Path(__file__).parent / "results" / "frames.json"
MESSAGE_BYTES, FRAGMENTS = 65_536, 64
UP_SAMPLES = 960  # 20 ms at 48 kHz
DOWN_CHARS = 6_400  # 100 ms of PCM16 at 24 kHz
ITEM = {"event_id": "event_B7", "response_id": "resp_B7", "item_id": "item_B7", "output_index": 0, "content_index": 0}

Push = Callable[[bytes], Any]


def relay_frames(role: str) -> Frames:
    """Frames with a browser's limits."""
    return Frames(role=role, message_bytes=MESSAGE_BYTES, fragments=FRAGMENTS)  # type: ignore[arg-type]  # a literal


def receive_by_relay(role: str) -> Push:
    """Bytes of one frame in, the message out."""
    frames = relay_frames(role)

    def push(chunk: bytes) -> Any:
        frames.feed(chunk)
        return frames.next_event()

    return push


def receive_by_wsproto(role: str) -> Push:
    """The same by wsproto's frame protocol, whose limits are somebody else's."""
    protocol = FrameProtocol(client=role == "client", extensions=[])

    def push(chunk: bytes) -> Any:
        protocol.receive_bytes(chunk)
        return [frame.payload for frame in protocol.received_frames()]

    return push


def build_by_relay(role: str, *, text: bool) -> Push:
    """A message in, a frame out."""
    encode_message = relay_frames(role).encode
    return (lambda data: encode_message(data.decode())) if text else encode_message


def build_by_wsproto(role: str, *, text: bool) -> Push:
    """The same by wsproto."""
    send = FrameProtocol(client=role == "client", extensions=[]).send_data
    return (lambda data: bytes(send(data.decode()))) if text else (lambda data: bytes(send(data)))


def frame_cases() -> dict[str, tuple[list[bytes], dict[str, Push]]]:
    """Both directions of the frames that audio travels in: 1.3 KiB of text, 3.8 KiB of samples."""
    text, samples = Uplink("f32le", 48_000).push(microphone()), microphone()
    cases: dict[str, tuple[list[bytes], dict[str, Push]]] = {}
    for title, payload, is_text in (("1.3 KiB text", text, True), ("3.8 KiB binary", samples, False)):
        message = payload.decode() if is_text else payload
        for sender, receiver, kind in (("client", "server", "masked"), ("server", "client", "unmasked")):
            frame = relay_frames(sender).encode(message)
            cases[f"receive {title}, {kind}"] = (
                [frame],
                {"relay": receive_by_relay(receiver), "wsproto": receive_by_wsproto(receiver)},
            )
            cases[f"build {title}, {kind}"] = (
                [payload],
                {"relay": build_by_relay(sender, text=is_text), "wsproto": build_by_wsproto(sender, text=is_text)},
            )
    return cases


def microphone() -> bytes:
    """20 ms of noise, float32 at 48 kHz."""
    return np.random.default_rng(1).uniform(-0.5, 0.5, UP_SAMPLES).astype("<f4").tobytes()


def up_carefully() -> Push:
    """Frame of the browser, message, event, frame for the upstream; as session.py does, without queue and policy."""
    browser, upstream, uplink = relay_frames("server"), relay_frames("client"), Uplink("f32le", 48_000)

    def push(chunk: bytes) -> bytes:
        browser.feed(chunk)
        samples = browser.next_event()
        assert isinstance(samples, bytes)
        return upstream.encode(uplink.push(samples).decode("ascii"))

    return push


def up_by_lane() -> Push:
    """The same in one call."""
    ws, uplink, room = ffi.new("relay_ws *"), Uplink("f32le", 48_000), 8_192
    lib.relay_ws_init(ws, lib.RELAY_WS_SERVER, MESSAGE_BYTES, FRAGMENTS)
    out = ffi.new("char[]", room)
    written, handle, lane_up, keys = ffi.buffer(out), uplink._handle, lib.relay_lane_up, _Keys()

    def push(chunk: bytes, *, _keep: Uplink = uplink) -> bytes:
        n = lane_up(ws, handle, chunk, len(chunk), keys.take(), out, room)
        assert n > 0
        return bytes(written[:n])

    return push


def down_carefully() -> Push:
    """Frame of the upstream, event, delta, samples, header, frame for the browser; without queue and pacing."""
    upstream, browser, downlink = relay_frames("client"), relay_frames("server"), Downlink("f32le", 48_000)
    header = struct.Struct("<BBHIQ")

    def push(chunk: bytes) -> bytes:
        upstream.feed(chunk)
        text = upstream.next_event()
        assert isinstance(text, str)
        return browser.encode(header.pack(1, 0, 0, 1, 0) + downlink.push(delta_decoder.decode(text).delta))

    return push


def down_by_lane() -> Push:
    """The same in the lane's two calls, with no time between them."""
    ws, found, downlink = ffi.new("relay_ws *"), ffi.new("relay_delta *"), Downlink("f32le", 48_000)
    lib.relay_ws_init(ws, lib.RELAY_WS_CLIENT, MESSAGE_BYTES, FRAGMENTS)
    handle, find, frame = downlink._handle, lib.relay_lane_delta, lib.relay_downlink_frame
    room = lib.relay_downlink_frame_room(handle, DOWN_CHARS) + 1_024
    out = ffi.new("char[]", room)
    written = ffi.buffer(out)

    def push(chunk: bytes, *, _keep: Downlink = downlink) -> bytes:
        code = find(ws, chunk, len(chunk), found)
        assert code == 0
        delta = chunk[found.delta : found.delta + found.delta_chars]  # it waits here
        n = frame(handle, delta, len(delta), 1, 0, out, room)
        assert n > 0
        return bytes(written[:n])

    return push


def lane_cases() -> dict[str, tuple[list[bytes], dict[str, Push]]]:
    """Both directions: "relay" is the lane."""
    pcm = np.random.default_rng(2).integers(-8_000, 8_000, DOWN_CHARS // 8 * 3, np.int16).tobytes()
    text = Uplink("s16le", 24_000).push(pcm).decode().removeprefix('{"type":"input_audio_buffer.append","audio":"')
    event = encode({"type": "response.output_audio.delta", **ITEM, "delta": text.removesuffix('"}')})
    return {
        "up, 20 ms": (
            [relay_frames("client").encode(microphone())],
            {"relay": up_by_lane(), "careful": up_carefully()},
        ),
        "down, 100 ms": (
            [relay_frames("server").encode(event)],
            {"relay": down_by_lane(), "careful": down_carefully()},
        ),
    }


def run(cases: dict[str, tuple[list[bytes], dict[str, Push]]], rounds: int) -> dict[str, dict[str, Timing]]:
    """Time each case, and print a line for it as soon as it is there."""
    tables = {}
    for title, (frames, pushes) in cases.items():
        tables[title] = compare(pushes, frames, rounds)
        ours = tables[title].pop("relay")
        ((name, other),) = tables[title].items()
        tables[title]["relay"] = ours
        print(f"{title:36}{ours.median_us:8.2f} us   {name} {other.median_us:8.2f} us   ratio {other.ratio:6.1f}")
    return tables


def main() -> None:
    """Measure, print, write results/frames.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frames", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200, help="rounds of 40 frames each (default: %(default)s)")
    rounds = parser.parse_args().rounds
    print("One frame through Python: relay's frames against wsproto's")
    frames = run(frame_cases(), rounds)
    print("\nAudio from socket to socket, without the sockets: the fast lane against the careful way")
    lane = run(lane_cases(), rounds)
    results = {"machine": machine(["wsproto", "cffi", "msgspec", "numpy"]), "rounds": rounds}
    for name, tables in (("frames", frames), ("lane", lane)):
        results[name] = {title: {who: asdict(t) for who, t in rows.items()} for title, rows in tables.items()}
    RESULTS.write_text(json.dumps(results, indent=2, default=str) + "\n")
    print("\nwritten: benchmarks/results/frames.json")


if __name__ == "__main__":
    main()
