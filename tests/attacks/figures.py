"""Measure what docs/reliability.md says about memory and time, on real processes:

    python -m tests.attacks.figures                # all of it
    python -m tests.attacks.figures idle restart   # some of it

Each line is one figure. The upstream is in this process; memory is that of relay's process in RAM (VmRSS).
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from relay.config import DEFAULTS
from tests.certificates import Certificate
from tests.peers import BINARY, FakeBrowser, FakeUpstream, frame
from tests.processes import RelayProcess, relay_process
from tests.server.upstreams import (
    GONE,
    end_of,
    listen,
    memory_bytes,
    open_browser,
    open_upstream_server,
    start,
    start_openai,
    state,
)

MIB = 2**20
TOO_BIG = frame(BINARY, bytes(DEFAULTS.browser_message_bytes + 1), mask=b"\x01\x02\x03\x04")


@asynccontextmanager
async def sessions(relay: RelayProcess, count: int, language: str = "relay.v1") -> AsyncIterator[list[FakeBrowser]]:
    """Hold so many started sessions."""
    async with AsyncExitStack() as stack:
        browsers = []
        for _ in range(count):
            browsers.append(await stack.enter_async_context(open_browser(relay, protocol=language)))
            await (start if language == "relay.v1" else start_openai)(browsers[-1])
        yield browsers


async def idle(count: int = 1_000) -> None:
    """What sessions cost in which nothing happens, in either language, and with TLS on either side."""
    with TemporaryDirectory() as folder:
        certificate = Certificate.issue(Path(folder))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate_file, certificate.key_file)
        trust = {"SSL_CERT_FILE": str(certificate.authority_file)}
        async with open_upstream_server() as plain, open_upstream_server(tls=context) as secured:
            await _idle(count, plain, "relay.v1", {})
            await _idle(count, plain, "realtime", {})
            await _idle(count, secured, "relay.v1", trust)
            await _idle(count, plain, "relay.v1", {}, certificate)


async def _idle(
    count: int, url: str, language: str, env: Mapping[str, str], certificate: Certificate | None = None
) -> None:
    """Not even a pong comes: nobody reads on the browsers' side."""
    patient, flags = {"RELAY_SILENCE_DEADLINE_S": "600", **env}, ("--max-sessions", str(count + 10))
    with relay_process("--upstream", url, *flags, env=patient, certificate=certificate) as relay:
        at_start = memory_bytes(relay)
        async with sessions(relay, 10, language):
            before = memory_bytes(relay)
            async with sessions(relay, count, language):
                await trio.sleep(2)
                total = memory_bytes(relay)
                held = (await state(relay))["sessions"]
    each_kib = (total - before) / count / 1024
    browsers = "https" if certificate else "http"
    print(f"{language}, {browsers}, {url.partition(':')[0]} to the upstream: {at_start / MIB:.1f} MiB at start,")
    print(f"  with {held - 10} idle sessions {total / MIB:.1f} MiB in all, {each_kib:.1f} KiB each")


async def close_after_too_big(relay: RelayProcess) -> float:
    """Send one byte too much and ignore the 1009; return how long relay keeps the connection."""
    async with open_browser(relay) as browser:
        await start(browser)
        await browser.stream.send_all(TOO_BIG)
        began_s = time.monotonic()
        with suppress(*GONE):
            while True:
                await browser.stream.send_all(b"\x00")
                await trio.sleep(0.01)
    return time.monotonic() - began_s


async def abuse(relay: RelayProcess, mib: int) -> tuple[int, int]:
    """Send so much in messages that are too big, to whoever listens; return the bytes, and on how many connections."""
    sent_bytes = connections = 0
    while sent_bytes < mib * MIB:
        connections += 1
        async with open_browser(relay) as browser:
            with suppress(*GONE):
                while True:
                    await browser.stream.send_all(TOO_BIG)
                    sent_bytes += len(TOO_BIG)
    return sent_bytes, connections


async def oversize(mib: int = 200, times: int = 3) -> None:
    """What it costs that clients send too much, and go on sending, and come again."""
    async with open_upstream_server() as url:
        with relay_process("--upstream", url) as relay:
            longest_s = max([await close_after_too_big(relay) for _ in range(5)])
            await abuse(relay, mib // 10)  # once, so that relay has its buffers
            memory = [memory_bytes(relay)]
            connections = []
            for _ in range(times):
                connections.append((await abuse(relay, mib))[1])
                await trio.sleep(2)
                memory.append(memory_bytes(relay))
    grown = [f"{(after - before) / MIB:+.2f}" for before, after in itertools.pairwise(memory)]
    print(f"one byte over the limit: 1009, and the connection is gone after {longest_s:.2f} s at most")
    print(f"{mib} MiB sent after it on {connections[0]} connections, {times} times: {', '.join(grown)} MiB")


async def answer_for_ever(upstream: FakeUpstream) -> None:
    """Begin an answer when one is asked for, and never end it."""
    while True:
        if (await upstream.receive_json())["type"] == "response.create":
            await upstream.send_json({"type": "response.created", "event_id": "e", "response": {"id": "resp_1"}})


async def terminate(count: int = 200, stalled: int = 20) -> None:
    """How long the end takes with a full house in which every answer goes on; some browsers stand still."""
    async with open_upstream_server(answer_for_ever) as url:
        with relay_process("--upstream", url, "--max-sessions", str(count)) as relay:
            async with sessions(relay, count) as browsers:
                for browser in browsers:
                    await browser.send_json({"type": "response.create"})
                ends = []

                async def wait_for_end(browser: FakeBrowser) -> None:
                    ends.append(await end_of(browser))

                async with trio.open_nursery() as nursery:
                    for browser in browsers[stalled:]:
                        nursery.start_soon(wait_for_end, browser)
                    began_s = time.monotonic()
                    relay.process.send_signal(signal.SIGTERM)
                    code = await trio.to_thread.run_sync(relay.process.wait, 60)
                    took_s = time.monotonic() - began_s
    told = ends.count(("relay_shutting_down", 1012))
    print(f"SIGTERM, {count} sessions in endless answers, {stalled} not reading: exit {code} after {took_s:.1f} s,")
    print(f"  {told} of {count - stalled} told 1012")


async def restart(times: int = 5) -> None:
    """How long it takes from a kill until a new process on the same port has its first session ready."""
    took_s = sorted([await _restart() for _ in range(times)])
    print(f"SIGKILL with 20 sessions: a new process has its first session ready {took_s[times // 2]:.2f} s after it,")
    print(f"  the median of {times}; {took_s[0]:.2f} to {took_s[-1]:.2f} s")


async def _restart() -> float:
    async with open_upstream_server(listen) as url:
        with relay_process("--upstream", url) as first:
            async with sessions(first, 20):
                began_s = time.monotonic()
                os.kill(first.process.pid, signal.SIGKILL)
                first.process.wait()
                with relay_process("--upstream", url, "--port", str(first.port)) as second:
                    async with sessions(second, 1):
                        return time.monotonic() - began_s


FIGURES = {figure.__name__: figure for figure in (idle, oversize, terminate, restart)}


async def measure(names: Sequence[str]) -> None:
    """Measure these, one after the other."""
    for name in names:
        await FIGURES[name]()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"one of {', '.join(FIGURES)}; by itself all")
    args = parser.parse_args()
    if unknown := set(args.figures) - FIGURES.keys():
        parser.error(f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    trio.run(measure, args.figures or list(FIGURES))


if __name__ == "__main__":
    main()
