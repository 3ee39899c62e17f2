"""Autobahn's test suite against `relay.wire`, both roles; not part of `make test`, for the suite needs Python 2.7.

    virtualenv -p python2.7 /tmp/autobahn && /tmp/autobahn/bin/pip install autobahntestsuite
    python -m tests.wire.autobahn /tmp/autobahn/bin/wstest

Cases 1 to 7 and 10, 247 in each role, take half a minute. The result of the last run, for 0.1.0: none failed, none
non-strict, every close clean. Cases 9 (speed) are benchmarks' business; 12 and 13 test compression, which we refuse.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import trio

from relay.wire import MessageTooBig, ProtocolViolation, WebSocket, WireError, WireLimits, connect
from tests.peers import FakeUpstream

LIMITS = WireLimits(message_bytes=1 << 24)
SERVER_PORT, CLIENT_PORT = 9001, 9002
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
PASSED = {"OK", "INFORMATIONAL"}


async def echo(ws: WebSocket) -> None:
    try:
        while True:
            await ws.send(await ws.receive())
    except (ProtocolViolation, MessageTooBig) as error:
        await ws.aclose(error.close_code)
    except WireError:
        await ws.aclose()


async def serve(stream: trio.SocketStream) -> None:
    await FakeUpstream.accept(stream)
    await echo(WebSocket(stream, role="server", limits=LIMITS))


async def dial(target: str) -> WebSocket:
    stream = await trio.open_tcp_stream("127.0.0.1", CLIENT_PORT)
    host = f"127.0.0.1:{CLIENT_PORT}"
    return await connect(stream, host=host, target=target, headers=[], limits=LIMITS, deadline_s=5)


async def run_clients() -> None:
    counter = await dial("/getCaseCount")
    cases = int(await counter.receive())
    await counter.aclose()
    for case in range(1, cases + 1):
        await echo(await dial(f"/runCase?case={case}&agent=relay"))
    await (await dial("/updateReports?agent=relay")).aclose()


def report(path: Path) -> bool:
    """Print what a run found; True if all is well."""
    results = json.loads((path / "index.json").read_text())["relay"]
    print(path.name, Counter((case["behavior"], case["behaviorClose"]) for case in results.values()))
    bad = {name for name, case in results.items() if not {case["behavior"], case["behaviorClose"]} <= PASSED}
    print("\n".join(sorted(bad)))
    return not bad


async def main(wstest: str, folder: Path) -> bool:
    servers = {
        "servers": [{"agent": "relay", "url": f"ws://127.0.0.1:{SERVER_PORT}"}],
        "outdir": str(folder / "server"),
    }
    clients = {"url": f"ws://127.0.0.1:{CLIENT_PORT}", "outdir": str(folder / "client")}
    for name, spec in (("servers", servers), ("clients", clients)):
        (folder / name).write_text(json.dumps({**spec, "cases": CASES, "exclude-cases": [], "exclude-agent-cases": {}}))
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_tcp, serve, SERVER_PORT)
        run = partial(trio.run_process, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        await run([wstest, "-m", "fuzzingclient", "-s", str(folder / "servers")])
        nursery.start_soon(run, [wstest, "-m", "fuzzingserver", "-s", str(folder / "clients")])
        await trio.sleep(3)  # it does not say when it is ready
        await run_clients()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    return all([report(folder / "server"), report(folder / "client")])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        sys.exit(not trio.run(main, sys.argv[1], Path(made)))
