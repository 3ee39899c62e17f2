"""What is measured apart from a running relay, for breakdown.py: C, TLS, a turn of Trio's loop, bare sockets.

Each is a loop over the same frame, so that everything is in the processor's cache; in a relay between two frames of one
session others pass, and it is somewhat slower there.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import trustme

from benchmarks.calls import CallCounter
from benchmarks.contenders import CORE, ROOT
from benchmarks.load_peer import frame_down, frame_up
from relay._native import ffi, lib
from relay.audio import Downlink, Uplink

ROUNDS, TIMES = 50, 200
TURNS = 20_000
ROOM_BYTES = 16_384


def time_us(call: Callable[[], Any]) -> float:
    """Microseconds of one call: the median over rounds."""
    times = []
    for _ in range(ROUNDS):
        before_ns = time.perf_counter_ns()
        for _ in range(TIMES):
            call()
        times.append((time.perf_counter_ns() - before_ns) / TIMES / 1000)
    return median(times)


def c_us() -> tuple[dict[str, float], dict[str, int]]:
    """20 ms of audio in C, up and down, less a call of C that does nothing; and how long the frames are that result.

    From samples, or the delta, to the finished frame; to find them in the frame that came is a few tenths of 1 us more.
    """
    empty_us = time_us(lib.relay_now_ns)
    up, up_bytes = _up()
    down, down_bytes = _down()
    times = {"up": time_us(up) - empty_us, "down": time_us(down) - empty_us}
    return times, {"to the upstream": up_bytes, "to the browser": down_bytes}


def _up() -> tuple[Callable[[], int], int]:
    uplink, samples, key = Uplink("f32le", 48_000), unmasked(frame_up("relay.v1")), b"\1\2\3\4"
    out, size = ffi.new("char[]", ROOM_BYTES), len(samples)

    def call(*, _keep: Uplink = uplink) -> int:
        return int(lib.relay_uplink_frame(uplink.handle, samples, size, key, out, ROOM_BYTES))

    return call, call()


def _down() -> tuple[Callable[[], int], int]:
    downlink, delta = Downlink("f32le", 48_000), frame_down().rpartition(b'"delta":"')[2].removesuffix(b'"}')
    out, size = ffi.new("char[]", ROOM_BYTES), len(delta)

    def call(*, _keep: Downlink = downlink) -> int:
        return int(lib.relay_downlink_frame(downlink.handle, delta, size, 1, 0, out, ROOM_BYTES))

    return call, call()


def unmasked(frame: bytes) -> bytes:
    """The payload of a browser's frame of 126 bytes to 64 KiB."""
    mask, payload = frame[4:8], frame[8:]
    return bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))


def trio_turn_us() -> float:
    """One turn of Trio's loop without its system calls."""
    with CallCounter.prepared() as counter:
        command = ["taskset", "--cpu-list", str(CORE), sys.executable, "-m", "benchmarks.turn", str(TURNS)]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | counter.environ, check=True, stdout=subprocess.PIPE)
        calls = counter.read()
    turns = calls.count("wait of the event loop")
    kinds = ("wait of the event loop", "epoll_ctl")
    in_calls_ns = sum(calls.net_ns(kind) + 2 * calls.count(kind) * calls.clock_ns for kind in kinds) / turns
    return (int(done.stdout) - in_calls_ns) / 1000


def loopback_us(size: int) -> tuple[float, float]:
    """One send and one recv of so many bytes on TCP over loopback, in one thread: nobody has to be woken."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        receiver, _ = listener.accept()
        with sender, receiver:
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data, room, sends, receives = bytes(size), bytearray(2 * size), [], []
            for _ in range(ROUNDS * TIMES // 4):
                began_ns = time.perf_counter_ns()
                sender.send(data)
                sent_ns = time.perf_counter_ns()
                if receiver.recv_into(room) != size:
                    raise RuntimeError("loopback delivered a part")
                receives.append(time.perf_counter_ns() - sent_ns)
                sends.append(sent_ns - began_ns)
            return median(sends) / 1000, median(receives) / 1000


def tls_us(size: int) -> tuple[float, float]:
    """Encrypt and decrypt so many bytes with TLS 1.3 in memory, as Python does it."""
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)
    authority.configure_trust(ours)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ours.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = theirs.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    data, encrypts, decrypts = bytes(size), [], []
    for _ in range(ROUNDS * TIMES // 4):
        began_ns = time.perf_counter_ns()
        client.write(data)
        encrypted = to_server.read()
        written_ns = time.perf_counter_ns()
        to_server.write(encrypted)
        server.read(ROOM_BYTES)
        decrypts.append(time.perf_counter_ns() - written_ns)
        encrypts.append(written_ns - began_ns)
    return median(encrypts) / 1000, median(decrypts) / 1000
