"""WebSocket frames: `python -m benchmarks.frames`, under a minute.

What a frame costs on its way through Python, received and built, by wsproto and by relay's own frames, which do the
same work.

Everything is timed in turn, in another order each round, and a ratio compares inside one round (timing.py).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from wsproto.frame_protocol import FrameProtocol

from benchmarks.machine import machine
from benchmarks.timing import Timing, compare
from relay._frames import Frames
from relay.audio import Uplink

RESULTS = Path(__file__).parent / "results" / "frames.json"
MESSAGE_BYTES, FRAGMENTS = 65_536, 64
UP_SAMPLES = 960  # 20 ms at 48 kHz

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
    tables = {title: {who: asdict(timing) for who, timing in rows.items()} for title, rows in frames.items()}
    results = {"machine": machine(["wsproto", "cffi", "numpy"]), "rounds": rounds, "frames": tables}
    RESULTS.write_text(json.dumps(results, indent=2, default=str) + "\n")
    print("\nwritten: benchmarks/results/frames.json")


if __name__ == "__main__":
    main()
