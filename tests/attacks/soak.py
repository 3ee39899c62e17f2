"""Open and close sessions for a long time, in every way that sessions end: does relay give everything back?

    python -m tests.attacks.soak --seconds 1800 --per-s 28 --slope-mib-per-h 1   # `make soak`: 50,000 sessions
    python -m tests.attacks.soak --seconds 1800        # as many sessions as will go; --https: with TLS
    python -m tests.attacks.soak --seconds 120 --per-s 10 --growth-mib 2   # `make test`, beside everything else

Before and after, with no session open, the process says what it holds (SIGUSR1): tasks, descriptors and native handles
must be the same, exactly. Memory is measured every second; the slope is that of a straight line through the second
half (least squares), so that what warms up at the beginning does not count. A short run cannot show a slope of 1 MiB an
hour: it shows the slope that it found, and how far the memory moved.

The upstream is in this process (tests/server/upstreams.py): it answers with audio, and hangs up now and then.
"""

from __future__ import annotations

import argparse
import base64
import random
import socket
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import trio

from tests.certificates import Certificate
from tests.fault_proxy import RST
from tests.peers import FakeBrowser, FakeUpstream
from tests.processes import RelayProcess, relay_process
from tests.server.upstreams import GONE, Play, memory_bytes, open_browser, open_upstream_server, settle, start, state

AUDIO = base64.b64encode(bytes(4_800)).decode()
ENV = {"RELAY_COOLDOWN_BASE_S": "0.05", "RELAY_COOLDOWN_MAX_S": "0.05", "RELAY_LOG_LEVEL": "info"}


@dataclass
class Soak:
    """One run, and what it found. Memory is in (seconds, bytes)."""

    relay: RelayProcess
    random: random.Random
    per_s: float = 0.0
    """Sessions that may begin in a second; 0 for as many as will."""

    sessions: int = 0
    next_s: float = 0.0
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    memory: list[tuple[float, int]] = field(default_factory=list)

    async def run(self, seconds: float, at_once: int) -> None:
        """Warm up, look, open and close for so long, and look again."""
        await self.churn(at_once, until_sessions=10 * at_once)
        self.before = await self.at_rest()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.measure)
            await self.churn(at_once, until_s=trio.current_time() + seconds, per_s=self.per_s)
            nursery.cancel_scope.cancel()
        self.after = await self.at_rest()

    async def at_rest(self) -> dict[str, int]:
        """Wait until all sessions are over; return what the process holds then."""
        held = await state(self.relay)
        while held["sessions"]:
            held = await state(self.relay)
        await settle(self.relay, held["files"])
        await trio.sleep(1.0)  # the last connections' goodbyes
        held = await state(self.relay)
        return {name: held[name] for name in ("sessions", "tasks", "files", "native_handles")}

    async def churn(
        self,
        at_once: int,
        *,
        until_s: float = float("inf"),
        until_sessions: float = float("inf"),
        per_s: float = 0.0,
    ) -> None:
        """Keep so many sessions open, as far as the pace allows, until it is time or there were enough."""

        async def one_after_another() -> None:
            while trio.current_time() < until_s and self.sessions < until_sessions:
                self.sessions += 1
                if per_s:
                    self.next_s = max(self.next_s, trio.current_time()) + 1 / per_s
                    await trio.sleep_until(self.next_s)
                with suppress(*GONE), trio.move_on_after(20):
                    await self.session()

        async with trio.open_nursery() as nursery:
            for _ in range(at_once):
                nursery.start_soon(one_after_another)

    async def session(self) -> None:
        """Hold a short conversation, and end it in one of the ways there are."""
        protocol = self.random.choice(["relay.v1", "realtime"])
        async with open_browser(self.relay, protocol=protocol) as browser:
            if protocol == "relay.v1":
                if self.random.random() < 0.05:
                    return  # leaves without a word
                await start(browser)
                await browser.send(bytes(960))
            await browser.send_json({"type": "response.create"})
            with trio.move_on_after(0.1):
                for _ in range(self.random.randrange(6)):
                    await browser.receive()
            await self.end(browser)

    async def end(self, browser: FakeBrowser) -> None:
        """Say goodbye, hang up, reset, break a rule, or wait until the upstream ends it."""
        match self.random.randrange(5):
            case 0:
                await browser.close()
            case 1:
                stream: Any = browser.stream
                tcp = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
                tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
                return
            case 2:
                await browser.stream.send_all(b"\xff" * 20)
            case 3:
                return
        with trio.move_on_after(0.1):
            while True:
                await browser.receive()

    async def measure(self) -> None:
        """Note the memory, every second."""
        began_s = trio.current_time()
        while True:
            self.memory.append((trio.current_time() - began_s, memory_bytes(self.relay)))
            await trio.sleep(1.0)

    @property
    def slope_mib_per_h(self) -> float:
        """How fast memory grew in the second half."""
        half = np.array(self.memory[len(self.memory) // 2 :])
        return float(np.polyfit(half[:, 0], half[:, 1], 1)[0] * 3_600 / 2**20)

    @property
    def growth_mib(self) -> float:
        """How much more memory there is at the end than in the middle."""
        return (self.memory[-1][1] - self.memory[len(self.memory) // 2][1]) / 2**20


def make_play(dice: random.Random) -> Play:
    """Return an upstream that answers aloud, and at times goes away in the middle."""

    async def play(upstream: FakeUpstream) -> None:
        number = 0
        while True:
            if (await upstream.receive_json())["type"] != "response.create":
                continue
            number += 1
            ids = {"response_id": f"resp_{number}", "item_id": f"item_{number}", "output_index": 0, "content_index": 0}
            await upstream.send_json({"type": "response.created", "response": {"id": f"resp_{number}"}})
            await upstream.send_json({"type": "response.output_audio.delta", "event_id": "e", **ids, "delta": AUDIO})
            if dice.random() < 0.02:
                return
            await upstream.send_json({"type": "response.done", "response": {"id": f"resp_{number}"}})

    return play


PATIENCE_S = 120.0
"""For the warm-up, and for the last sessions to end. A relay that does not come to rest ends the run."""


async def soak(
    seconds: float, at_once: int, seed: int, per_s: float = 0.0, certificate: Certificate | None = None
) -> Soak:
    """Run relay and soak it."""
    dice, flags = random.Random(seed), ("--max-sessions", str(2 * at_once))
    async with open_upstream_server(make_play(dice)) as url:
        with relay_process("--upstream", url, *flags, env=ENV, certificate=certificate) as relay:
            run = Soak(relay, dice, per_s)
            with trio.fail_after(seconds + PATIENCE_S):
                await run.run(seconds, at_once)
            assert relay.process.poll() is None, "relay died"
            assert "Traceback" not in relay.stderr
            return run


def main() -> None:
    """Run from the command line; the exit code is 1 if something was not given back, or memory grew too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1_800.0)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--per-s", type=float, default=0.0, help="sessions begun in a second at most")
    parser.add_argument("--growth-mib", type=float, default=float("inf"), help="in the second half at most")
    parser.add_argument("--slope-mib-per-h", type=float, default=float("inf"), help="in the second half at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--https", action="store_true", help="browsers come with TLS")
    args = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        certificate = Certificate.issue(Path(folder)) if args.https else None
        run = trio.run(soak, args.seconds, args.at_once, args.seed, args.per_s, certificate)
    print(f"{run.sessions} sessions in {time.monotonic() - began_s:.0f} s")
    print(f"before: {run.before}\nafter:  {run.after}")
    first, last = run.memory[0][1] / 2**20, run.memory[-1][1] / 2**20
    print(f"memory: {first:.1f} MiB at first, {last:.1f} MiB at last")
    print(f"second half: {run.growth_mib:+.2f} MiB, slope {run.slope_mib_per_h:+.2f} MiB/h")
    grows = run.growth_mib > args.growth_mib or run.slope_mib_per_h > args.slope_mib_per_h
    sys.exit(run.before != run.after or grows)


if __name__ == "__main__":
    main()
