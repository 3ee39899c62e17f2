"""Throw mutated handshakes and frames at a running relay, each whole and in pieces of one byte: does it live?

    python -m tests.attacks.fuzz --inputs 2000000      # what `make attack` does; N=inputs changes it

An input is a request or a frame: a right one with something wrong about it, or noise. Requests have a connection each;
frames follow each other on one, after a right handshake, until relay has had enough. Each connection's inputs are sent
twice, whole and then byte by byte. At the end relay must run, have given back what it held (SIGUSR1), have logged no
traceback, have grown by no more than GROWTH_MIB since it was warm, and must never have sent its key, a canary.

The same seed makes the same inputs. What was sent to a relay that died is printed.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from tests.peers import frame
from tests.processes import RelayProcess, relay_process
from tests.server.upstreams import GONE, START, answer_typed_text, memory_bytes, open_upstream_server, settle, state

CANARY = "sk-canary-0f9e8d7c6b5a"
GROWTH_MIB = 16.0
FRAMES_AT_MOST = 400
HANDSHAKES_AT_ONCE = 10
WORKERS = 16

HEADERS = [
    "Host: 127.0.0.1", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol: relay.v1",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=abc", "Content-Length: 3",
    "Transfer-Encoding: chunked", "Expect: 100-continue", "OpenAI-Beta: realtime=v1", "Authorization: Bearer x",
    "HTTP2-Settings: AAMAAABkAAQAAP__", "If-None-Match: \"x\"", "Origin: null", "Cookie: a=b",
]  # fmt: skip
TARGETS = [
    "/",
    "/v1/realtime",
    "/v1/realtime?model=x",
    "/readyz",
    "/v1/realtime/client_secrets",
    "/static/%2e%2e/x",
    "*",
]
EVENTS: list[dict[str, object]] = [
    {"type": "response.create"}, {"type": "response.cancel"}, {"type": "input_audio_buffer.clear"},
    {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(24)).decode()},
    {"type": "relay.played", "item": 1, "samples": 240}, {"type": "relay.flushed", "flush": 1, "item": 1, "samples": 0},
    {"type": "relay.interrupt"}, {"type": "session.update", "session": {"type": "realtime", "instructions": "x"}},
    {"type": "conversation.item.create",
     "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}},
]  # fmt: skip
ODD_VALUES: list[object] = [
    None,
    True,
    -1,
    2**63,
    1e308,
    "",
    "\ud800",
    "x" * 70,
    [],
    {},
    [[[[]]]],
    {"type": {"type": []}},
]


@dataclass
class Fuzz:
    """One run. `inputs` counts each input once, although it is sent twice."""

    relay: RelayProcess
    dice: random.Random
    wanted: int
    handshakes: int = 0
    frames: int = 0
    memory_mib: list[float] = field(default_factory=list)
    leaks: int = 0

    @property
    def inputs(self) -> int:
        """How many there were so far."""
        return self.handshakes + self.frames

    async def run(self) -> None:
        """Send everything."""
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS):
                nursery.start_soon(self.work)

    async def work(self) -> None:
        """Send one connection's inputs after another's."""
        while self.inputs < self.wanted and self.relay.process.poll() is None:
            for _ in range(HANDSHAKES_AT_ONCE):
                self.handshakes += 1
                await self.send_twice(b"", request(self.dice))
            data = list(frames(self.dice))
            self.frames += len(data)
            await self.send_twice(right_request(self.relay.port, self.dice), b"".join(data))
            self.memory_mib.append(memory_bytes(self.relay) / 2**20)

    async def send_twice(self, handshake: bytes, data: bytes) -> None:
        """Send whole, and byte by byte, each on a connection of its own."""
        await self.send(handshake, [data])
        await self.send(handshake, [bytes([byte]) for byte in data])

    async def send(self, handshake: bytes, pieces: list[bytes]) -> None:
        """Open a connection, send, and read what comes for as long as relay or the patience lasts."""
        with suppress(OSError, *GONE), trio.move_on_after(20):
            async with await trio.open_tcp_stream("127.0.0.1", self.relay.port) as stream:  # with TCP_NODELAY
                if handshake:
                    await stream.send_all(handshake)
                    self.check(await stream.receive_some(65_536))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.read, stream, nursery.cancel_scope)
                    with suppress(OSError, *GONE):
                        await send_each(stream, pieces)
                        await stream.send_eof()
                    await trio.sleep(0.3)
                    nursery.cancel_scope.cancel()

    async def read(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        """Read to the end, and look for what must not be there."""
        with suppress(*GONE):
            async for data in stream:
                self.check(data)
        scope.cancel()

    def check(self, data: bytes | bytearray) -> None:
        """Count the canary."""
        self.leaks += CANARY.encode() in data


async def send_each(stream: trio.SocketStream, pieces: list[bytes]) -> None:
    """Write each piece by itself; as fast as the socket takes them, for there are millions."""
    for number, piece in enumerate(pieces):
        try:
            sent = os.write(stream.socket.fileno(), piece) if len(piece) == 1 else 0
        except BlockingIOError:
            sent = 0
        if not sent:
            await stream.send_all(piece)
        elif number % 256 == 0:
            await trio.lowlevel.checkpoint()


def right_request(port: int, dice: random.Random) -> bytes:
    """Return a handshake that relay accepts."""
    protocol = dice.choice(["relay.v1", "realtime"])
    lines = ["GET /v1/realtime HTTP/1.1", *HEADERS[:5], f"Sec-WebSocket-Protocol: {protocol}"]
    return "\r\n".join([*lines, f"Origin: http://127.0.0.1:{port}", "", ""]).encode()


def request(dice: random.Random) -> bytes:
    """Return a request with something wrong about it."""
    headers = [header for header in HEADERS if dice.random() < 0.5]
    method = dice.choice(["GET", "GET", "GET", "POST", "PRI", "HEAD", "CONNECT", "get", "\x00"])
    version = dice.choice(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9", ""])
    lines = [f"{method} {dice.choice(TARGETS)} {version}", *headers]
    data = bytearray(dice.choice(["\r\n", "\r\n", "\r\n", "\n"]).join([*lines, "", ""]).encode())
    return bytes(dice.choice(MUTATIONS)(data, dice))


def frames(dice: random.Random) -> Iterator[bytes]:
    """Yield frames for one connection: most are such that the next one is looked at as well."""
    yield text(START)
    for _ in range(dice.randrange(1, FRAMES_AT_MOST)):
        mask = dice.randbytes(4)
        match dice.randrange(10):
            case 0 | 1 | 2 | 3:
                yield text(odd(dice.choice([*EVENTS, START]), dice))
            case 4 | 5:
                yield frame(2, dice.randbytes(dice.choice([0, 1, 3, 4, 7, 48, 96])), mask=mask)
            case 6:
                yield frame(dice.choice([9, 10]), dice.randbytes(dice.choice([0, 1, 20, 125])), mask=mask)
            case 7:
                yield frame(1, dice.choice([b"", b"{", b"[]", b"null", b"1" * 60, b'{"type":' * 20]), mask=mask)
            case 8:
                yield frame(1, b'{"type":', mask=mask, fin=False) + frame(0, b'"response.cancel"}', mask=mask)
            case _ if dice.random() < 0.05:
                yield broken(dice)
                return


def broken(dice: random.Random) -> bytes:
    """Return what relay ends a connection for, with something behind it."""
    mask = dice.choice([None, dice.randbytes(4)])
    length = dice.choice([None, 0, 126, 65_537, 2**31, 2**63 - 1])
    data = frame(
        dice.randrange(16), dice.randbytes(dice.randrange(200)), rsv=dice.randrange(8), mask=mask, length=length
    )
    return bytes(dice.choice(MUTATIONS)(bytearray(data), dice)) + dice.randbytes(dice.randrange(64))


def text(event: object) -> bytes:
    """Return an event as a frame."""
    return frame(1, json.dumps(event).encode(), mask=b"\x01\x02\x03\x04")


def odd(event: dict[str, object], dice: random.Random) -> dict[str, object]:
    """Return an event of which one field, perhaps, is missing, strange or too much."""
    changed = dict(event)
    match dice.randrange(4):
        case 0:
            changed[dice.choice(list(changed))] = dice.choice(ODD_VALUES)
        case 1:
            del changed[dice.choice(list(changed))]
        case 2:
            changed["".join(dice.choices("abc_.$", k=3))] = dice.choice(ODD_VALUES)
    return changed


def _flip(data: bytearray, dice: random.Random) -> bytearray:
    for _ in range(dice.randrange(1, 4)):
        if data:
            data[dice.randrange(len(data))] = dice.randrange(256)
    return data


def _cut(data: bytearray, dice: random.Random) -> bytearray:
    return data[: dice.randrange(len(data) + 1)]


def _insert(data: bytearray, dice: random.Random) -> bytearray:
    at = dice.randrange(len(data) + 1)
    data[at:at] = dice.choice([b"\xff", b"\r\n", b"\x00" * 9, b": ", b"\x81", dice.randbytes(dice.randrange(1, 40))])
    return data


def _repeat(data: bytearray, dice: random.Random) -> bytearray:
    start = dice.randrange(len(data) + 1)
    piece = data[start : start + dice.randrange(60)]
    return data[:start] + piece * dice.choice([2, 3, 50]) + data[start:]


def _noise(data: bytearray, dice: random.Random) -> bytearray:
    return bytearray(dice.randbytes(dice.randrange(1, 120)))


MUTATIONS: list[Callable[[bytearray, random.Random], bytearray]] = [
    _flip, _flip, _cut, _insert, _insert, _repeat, _noise, lambda data, _: data,
]  # fmt: skip


async def fuzz(inputs: int, seed: int) -> Fuzz:
    """Run relay and fuzz it. AssertionError if it did not hold."""
    env = {"RELAY_UPSTREAM_KEY": CANARY, "RELAY_COOLDOWN_BASE_S": "0.05", "RELAY_COOLDOWN_MAX_S": "0.05"}
    async with open_upstream_server(answer_typed_text) as url:
        with relay_process("--upstream", url, "--max-sessions", "1000", "--log-level", "info", env=env) as relay:
            warm = Fuzz(relay, random.Random(seed + 1), min(1_000, inputs // 4))
            await warm.run()
            before = await at_rest(relay)
            run = Fuzz(relay, random.Random(seed), inputs, memory_mib=[memory_bytes(relay) / 2**20])
            await run.run()
            assert relay.process.poll() is None, f"relay died of what seed {seed} made, after {run.inputs} inputs"
            assert await at_rest(relay) == before
            assert run.leaks + warm.leaks == 0, "the key got out"
            log = relay.stderr
            assert CANARY not in log
            assert "Traceback" not in log, log[log.index("Traceback") - 1_000 :][:4_000]
            assert max(run.memory_mib) - run.memory_mib[0] < GROWTH_MIB, run.memory_mib
            return run


async def at_rest(relay: RelayProcess) -> dict[str, int]:
    """Wait until nobody is connected; return what the process holds then."""
    held = await state(relay)
    while held["sessions"]:
        await trio.sleep(0.05)
        held = await state(relay)
    with suppress(AssertionError):
        await settle(relay, held["files"] - 1, deadline_s=1.5)
    held = await state(relay)
    return {name: held[name] for name in ("tasks", "files", "native_handles")}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    began_s = time.monotonic()
    run = trio.run(fuzz, args.inputs, args.seed)
    seconds = time.monotonic() - began_s
    print(f"{run.handshakes} handshakes and {run.frames} frames, each whole and byte by byte, in {seconds:.0f} s")
    first, last = run.memory_mib[0], run.memory_mib[-1]
    print(f"0 deaths; memory {first:.1f} MiB at first, {max(run.memory_mib):.1f} at most, {last:.1f} at last")


if __name__ == "__main__":
    main()
