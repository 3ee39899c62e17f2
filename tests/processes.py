"""Real relay processes for tests: started on a free port, waited for by what they print, gone when the test ends.

    with relay_process("--max-sessions", "1") as relay:
        httpx.get(relay.url + "healthz")

Deadlines instead of sleeps: a process that does not come up or does not end fails the test with what it wrote. So does
one that lets out a secret: each has canaries for keys (tests/canaries.py).
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.canaries import plant
from tests.certificates import Certificate

START_DEADLINE_S = 20.0
STOP_DEADLINE_S = 10.0
ADDRESS = re.compile(r"(?:http|ws)s?://\S+")
MODULE = (sys.executable, "-m", "relay")
ROOT = Path(__file__).resolve().parent.parent


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give this process's environment without the settings and keys of whoever runs the tests, plus `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RELAY_", "OPENAI_"))}
    return {**kept, "PYTHONPATH": str(ROOT), **(extra or {})}


@dataclass
class RelayProcess:
    """A running relay. `url` is the line it ended its start-up with: http://127.0.0.1:PORT/ for `serve`.

    `trust` is what a client needs if it serves https, else None.
    """

    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    trust: ssl.SSLContext | None = None
    output: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.url.split("://")[1].split("/")[0].rsplit(":", 1)[1])

    @property
    def origin(self) -> str:
        """What a browser says as Origin for its page."""
        return self.url.rstrip("/")

    def connect(self) -> socket.socket:
        """Open a connection to it, over TLS if it speaks that."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return self.trust.wrap_socket(connection, server_hostname="127.0.0.1") if self.trust else connection

    @property
    def stderr(self) -> str:
        """Everything that it has written to stderr so far."""
        return self.log_from(0)

    @property
    def log_bytes(self) -> int:
        """How much it has written to stderr so far."""
        return Path(self.errors.name).stat().st_size

    def log_from(self, position_bytes: int) -> str:
        """Give what it has written to stderr behind a position; a long run writes more than one wants to read."""
        with open(self.errors.name, "rb") as file:
            file.seek(position_bytes)
            return file.read().decode(errors="replace")

    def stop(self, signal_number: int = signal.SIGTERM, *, deadline_s: float = STOP_DEADLINE_S) -> int:
        """Send a signal and give the exit code. AssertionError if it does not end in time."""
        self.process.send_signal(signal_number)
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running {deadline_s} s after signal {signal_number}:\n{self.stderr}") from None

    def read_until_address(self, deadline_s: float) -> None:
        """Read stdout until a line that is an address and nothing else. AssertionError if it does not come."""
        assert self.process.stdout is not None
        ends_at, pending = time.monotonic() + deadline_s, b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while selector.select(max(0.0, ends_at - time.monotonic())):
                chunk = os.read(self.process.stdout.fileno(), 65_536)
                *lines, pending = (pending + chunk).split(b"\n")
                self.output += [line.decode() for line in lines]
                if found := next(filter(ADDRESS.fullmatch, self.output), ""):
                    self.url = found
                    return
                if not chunk:
                    break
        raise AssertionError(f"no address within {deadline_s} s; stdout {self.output}, stderr:\n{self.stderr}")


@contextmanager
def relay_process(
    *args: str,
    command: str = "serve",
    program: Sequence[str] = MODULE,
    env: Mapping[str, str] | None = None,
    certificate: Certificate | None = None,
    start_deadline_s: float = START_DEADLINE_S,
) -> Iterator[RelayProcess]:
    """Run `relay serve --port 0 ARGS` (or `command="simulate"`); at the end it is gone, whatever happened.

    With a `certificate` it serves https.
    """
    secured = certificate.flags if certificate else ()
    with tempfile.TemporaryDirectory(prefix="relay-") as folder, open(Path(folder) / "stderr", "w+b") as errors:
        canaries, settings = plant(args, env or {}, Path(folder))
        process = subprocess.Popen(
            [*program, command, "--port", "0", *secured, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=clean_environment(settings),
            start_new_session=True,
        )
        relay = RelayProcess(process, errors, certificate.trust() if certificate else None)
        try:
            relay.read_until_address(start_deadline_s)
            yield relay
        finally:
            _end(process)
        canaries.check()


@dataclass(frozen=True)
class Finished:
    """A command that ran to its end."""

    code: int
    stdout: str
    stderr: str


def run_relay(*args: str, env: Mapping[str, str] | None = None, deadline_s: float = START_DEADLINE_S) -> Finished:
    """Run a relay command that ends by itself."""
    done = subprocess.run(
        [*MODULE, *args], capture_output=True, env=clean_environment(env), timeout=deadline_s, check=False
    )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process with everything that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_DEADLINE_S)
    if process.stdout is not None:
        process.stdout.close()
