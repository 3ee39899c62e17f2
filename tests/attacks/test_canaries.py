"""Every relay under test is watched for its secrets (tests/canaries.py): a relay that leaks on purpose is caught."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from relay.audio import Uplink
from tests.canaries import built_watch
from tests.certificates import Certificate
from tests.processes import ROOT, relay_process
from tests.session.road import RATE_HZ, voice

BEGIN = """
import os, sys
from relay import app
HEAD, REST = slice(9), slice(9, None)
def leak(name):
    return os.environ[name]
"""
PAGE = """
def readiness(admission):
    return app._text(200, {what})
app._readiness = readiness
"""
MAIN = """
from relay.cli import main
main()
"""
TOKEN = 'leak("RELAY_SERVER_TOKEN")'
LEAKS = {
    "in an answer": PAGE.format(what=TOKEN),
    "the key of the upstream": PAGE.format(what='leak("RELAY_UPSTREAM_KEY")'),
    "in a long answer": PAGE.format(what=f'"x" * 9_000 + {TOKEN} + "x" * 9_000'),
    "on stderr": PAGE.format(what=f"str(sys.stderr.write({TOKEN}))"),
    "in two writes": PAGE.format(
        what=f"str([os.write(2, part) for part in ({TOKEN}[:9].encode(), {TOKEN}[9:].encode())])"
    ),
    "in a file": PAGE.format(what=f'str(open(os.devnull, "w").write({TOKEN}))'),
}


def run_and_ask(leak: str, certificate: Certificate | None = None) -> None:
    """Run a relay that has been changed, and ask it whether it is ready."""
    program = (sys.executable, "-c", BEGIN + leak + MAIN)
    serve = relay_process("--upstream", "simulator", program=program, certificate=certificate)
    with serve as relay, relay.connect() as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
        while connection.recv(65_536):
            pass


@pytest.mark.parametrize("how", LEAKS)
def test_a_relay_that_lets_a_secret_out_fails_its_test(how: str) -> None:
    with pytest.raises(AssertionError, match="secrets got out:\ncanary-"):
        run_and_ask(LEAKS[how])


def test_a_secret_is_found_before_tls_encrypts_it(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"canary-\S+ in TLS"):
        run_and_ask(LEAKS["in an answer"], Certificate.issue(tmp_path))


TALK = """
import trio
from tests.session.road import Tls, open_road, voice
async def talk():
    async with open_road(tls=Tls()) as road:
        for index in range(20):
            await road.browser.send(voice(index))
            await road.upstream.receive_json()
    assert road.short["up"] > 10
trio.run(talk)
"""


def test_what_c_encrypts_is_searched_too(tmp_path: Path) -> None:
    uplink = Uplink("f32le", RATE_HZ)
    lengths = [len(uplink.push(voice(index))) for index in range(20)]
    head = b"\x81\xfe" + lengths[-1].to_bytes(2, "big")  # what a frame begins with: all else is masked
    report = tmp_path / "report"
    watch = {b"CANARY_NEVER": head, b"CANARY_REPORT": os.fsencode(report), b"LD_PRELOAD": os.fsencode(built_watch())}
    subprocess.run([sys.executable, "-c", TALK], env=os.environb | watch, cwd=ROOT, check=True)
    assert report.read_bytes().count(head + b" in TLS\n") == lengths.count(lengths[-1])


def test_a_relay_that_keeps_its_secrets_passes(tmp_path: Path) -> None:
    run_and_ask("", Certificate.issue(tmp_path))


def test_a_relay_that_dies_leaves_no_core_dump() -> None:
    with relay_process("--upstream", "simulator") as relay:
        limits = Path(f"/proc/{relay.process.pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits)
