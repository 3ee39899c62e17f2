"""The single file from `make binary` is relay: it serves the page and carries a voice session through the C path."""

from __future__ import annotations

import json
import os
import re
import ssl
import struct
import subprocess
import urllib.request
import wave
from pathlib import Path

import numpy as np
import pytest
import trio

from tests.certificates import Certificate
from tests.peers import FakeBrowser
from tests.processes import ROOT, RelayProcess, clean_environment, relay_process
from tests.server.upstreams import open_browser, open_upstream_server, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

RATE_HZ = 16_000
FRAME_S = 0.02
HEADER = struct.Struct("<BBHIQ")
SPEECH = ROOT / "tests" / "fixtures" / "speech_16k.wav"


@pytest.fixture(scope="module")
def binary() -> Path:
    """dist/relay, built again if anything in it has changed."""
    done = subprocess.run(
        ["make", "binary"], cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return ROOT / "dist" / "relay"


def spoken() -> bytes:
    with wave.open(str(SPEECH)) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (RATE_HZ, 2, 1)
        samples: bytes = file.readframes(file.getnframes())
        return samples


async def speak(browser: FakeBrowser, samples: bytes) -> None:
    """Talk as a microphone does: a frame every 20 ms, and silence when nothing is said."""
    size = int(RATE_HZ * FRAME_S) * 2
    said_at = trio.current_time()
    for number in range(60 * 50):
        frame = samples[number * size : (number + 1) * size]
        await browser.send(frame.ljust(size, b"\0"))
        await trio.sleep_until(said_at + (number + 1) * FRAME_S)


async def hear_one_answer(browser: FakeBrowser) -> tuple[bytes, int]:
    """Collect the audio of the first answer; say how many samples relay says there were."""
    heard = b""
    while True:
        message = await browser.receive()
        if isinstance(message, bytes):
            kind, _, _, item, first_sample = HEADER.unpack_from(message)
            assert (kind, item, first_sample) == (1, 1, len(heard) // 2)
            heard += message[HEADER.size :]
            await browser.send_json({"type": "relay.played", "item": 1, "samples": len(heard) // 2})
            continue
        event = json.loads(message)
        assert event["type"] != "error", event
        if event["type"] == "relay.audio.done":
            return heard, event["samples"]


async def converse(relay: RelayProcess, samples: bytes) -> tuple[bytes, int]:
    """Open a voice session, say `samples`, and give what came back."""
    stream = await trio.open_tcp_stream("127.0.0.1", relay.port)
    origin = relay.url.rstrip("/")
    async with stream, trio.open_nursery() as nursery:
        browser = await FakeBrowser.dial(stream, host=f"127.0.0.1:{relay.port}", headers=[("Origin", origin)])
        assert browser.subprotocol == "relay.v1"
        audio = {"encoding": "s16le", "rate_hz": RATE_HZ}
        await browser.send_json({"type": "relay.start", "audio": {"input": audio, "output": audio}})
        nursery.start_soon(speak, browser, samples)
        answer = await hear_one_answer(browser)
        nursery.cancel_scope.cancel()
    return answer


def likeness(one: bytes, other: bytes) -> float:
    """Correlate two recordings where they match best: 1.0 for the same sound, whatever its delay and its loudness."""
    a, b = (np.frombuffer(samples, "<i2").astype(float) for samples in (one, other))
    size = len(a) + len(b)
    product = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)), size)
    return float(product.max() / np.sqrt((a @ a) * (b @ b)))


def test_the_binary_runs_where_there_is_no_python_and_brings_the_c_path(binary: Path, tmp_path: Path) -> None:
    env = {"PATH": "/nowhere", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run([binary, "--version"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"relay \S+ \(C audio path: (avx2|sse2|neon|c)\)\n", done.stdout)


def test_the_binary_serves_the_page_and_completes_a_voice_session(binary: Path) -> None:
    assert os.access(binary, os.X_OK)
    with relay_process(program=[str(binary)], env={"PYTHONPATH": ""}, start_deadline_s=60.0) as relay:
        page = urllib.request.urlopen(relay.url, timeout=10).read()
        assert page == (ROOT / "static" / "index.html").read_bytes()
        heard, samples = trio.run(converse, relay, spoken())
        assert len(heard) == samples * 2
        assert likeness(heard, spoken()) > 0.95
        assert relay.stop() == 0
        assert "Traceback" not in relay.stderr


async def test_the_binary_verifies_an_upstream_with_tls_and_brings_openssl_for_c(binary: Path, tmp_path: Path) -> None:
    certificate = Certificate.issue(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate_file, certificate.key_file)
    env = {"PYTHONPATH": "", "SSL_CERT_FILE": str(certificate.authority_file)}
    async with open_upstream_server(tls=context) as url:
        with relay_process("--upstream", url, program=[str(binary)], env=env, start_deadline_s=60.0) as relay:
            async with open_browser(relay) as browser:
                await start(browser)
            assert relay.stop() == 0
            assert "session.ended" in relay.stderr
            assert "openssl.not_found" not in relay.stderr
