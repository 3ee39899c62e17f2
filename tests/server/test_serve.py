"""A real `relay serve`, a real socket, the simulator: a spoken sentence is answered, and a signal ends it well.

All of it on plain HTTP and over TLS.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.certificates import Certificate
from tests.processes import RelayProcess, relay_process
from tests.server.talker import Talker, handshake, open_talker, similarity, speech


@pytest.fixture(params=["plain", "tls"])
def certificate(request: pytest.FixtureRequest, tmp_path: Path) -> Certificate | None:
    return Certificate.issue(tmp_path) if request.param == "tls" else None


async def listen_until_done(talker: Talker) -> None:
    await talker.expect("relay.audio.done")


async def test_a_spoken_sentence_is_answered_with_the_same_sentence(certificate: Certificate | None) -> None:
    said, rate_hz = speech()
    with relay_process("--upstream", "simulator", certificate=certificate) as relay:
        async with open_talker(relay.port, rate_hz, trust=relay.trust) as talker, trio.open_nursery() as nursery:
            with trio.fail_after(30):
                ready = await talker.start()
                assert ready["turn_detection"] == "server_vad"
                nursery.start_soon(listen_until_done, talker)
                await talker.say(said)
                await talker.be_silent(1.0)
                while nursery.child_tasks:
                    await talker.be_silent(0.1)
        assert similarity(talker.answer, said) >= 0.95
        kinds = [event["type"] for event in talker.events]
        assert kinds.index("input_audio_buffer.speech_started") < kinds.index("input_audio_buffer.speech_stopped")
        assert kinds.index("response.created") < kinds.index("relay.audio.started") < kinds.index("relay.audio.done")


async def test_typed_text_is_answered_aloud(certificate: Certificate | None) -> None:
    with relay_process("--upstream", "simulator", certificate=certificate) as relay:
        async with open_talker(relay.port, 24_000, trust=relay.trust) as talker:
            with trio.fail_after(20):
                await talker.start()
                await talker.write("good morning")
                done = await talker.expect("relay.audio.done")
        assert done["samples"] == len(talker.answer) > 24_000 // 4
        assert abs(talker.answer).max() > 0.05


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_tells_the_sessions_and_ends_the_process_cleanly(
    certificate: Certificate | None, signal_number: int
) -> None:
    with relay_process("--upstream", "simulator", certificate=certificate) as relay:
        async with open_talker(relay.port, trust=relay.trust) as talker:
            with trio.fail_after(20):
                await talker.start()
                relay.process.send_signal(signal_number)
                error = await talker.expect("error")
                assert error["error"]["code"] == "relay_shutting_down"
                with pytest.raises(ConnectionClosed) as closed:
                    await talker.expect("nothing")
                assert closed.value.reason is not None
                assert closed.value.reason.code == 1012
        assert relay.process.wait(5) == 0
        assert "Traceback" not in relay.stderr


@pytest.mark.parametrize("request_first", [False, True])
def test_an_idle_connection_does_not_hold_up_the_end(certificate: Certificate | None, request_first: bool) -> None:
    with (
        relay_process("--upstream", "simulator", certificate=certificate) as relay,
        relay.connect() as connection,
    ):
        if request_first:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        assert relay.stop(signal.SIGTERM, deadline_s=5) == 0


async def test_over_the_cap_a_session_is_refused_with_503_and_a_place_is_given_back(
    certificate: Certificate | None,
) -> None:
    with (
        relay_process("--upstream", "simulator", "--max-sessions", "1", certificate=certificate) as relay,
        trio.fail_after(20),
    ):
        async with open_talker(relay.port, trust=relay.trust) as first:
            await first.start()
            assert await handshake_status(relay) == 503
        statuses = [await handshake_status(relay)]
        while statuses[-1] == 503:  # the place comes back when the first has said goodbye to both sides
            await trio.sleep(0.05)
            statuses.append(await handshake_status(relay))
        assert statuses[-1] == 101


async def handshake_status(relay: RelayProcess) -> int:
    return int((await handshake(relay.port, trust=relay.trust)).split(" ")[1])
