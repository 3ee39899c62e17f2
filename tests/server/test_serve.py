"""A real `relay serve`, a real socket, the simulator: a spoken sentence is answered, and a signal ends it well."""

from __future__ import annotations

import signal
import socket

import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.processes import relay_process
from tests.server.talker import Talker, handshake, open_talker, similarity, speech


async def listen_until_done(talker: Talker) -> None:
    await talker.expect("relay.audio.done")


async def test_a_spoken_sentence_is_answered_with_the_same_sentence() -> None:
    said, rate_hz = speech()
    with relay_process("--upstream", "simulator") as relay:
        async with open_talker(relay.port, rate_hz) as talker, trio.open_nursery() as nursery:
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


async def test_typed_text_is_answered_aloud() -> None:
    with relay_process("--upstream", "simulator") as relay:
        async with open_talker(relay.port, 24_000) as talker:
            with trio.fail_after(20):
                await talker.start()
                await talker.write("good morning")
                done = await talker.expect("relay.audio.done")
        assert done["samples"] == len(talker.answer) > 24_000 // 4
        assert abs(talker.answer).max() > 0.05


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_tells_the_sessions_and_ends_the_process_cleanly(signal_number: int) -> None:
    with relay_process("--upstream", "simulator") as relay:
        async with open_talker(relay.port) as talker:
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
def test_an_idle_connection_does_not_hold_up_the_end(request_first: bool) -> None:
    with (
        relay_process("--upstream", "simulator") as relay,
        socket.create_connection(("127.0.0.1", relay.port)) as connection,
    ):
        if request_first:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        assert relay.stop(signal.SIGTERM, deadline_s=5) == 0


async def test_over_the_cap_a_session_is_refused_with_503_and_a_place_is_given_back() -> None:
    with relay_process("--upstream", "simulator", "--max-sessions", "1") as relay, trio.fail_after(20):
        async with open_talker(relay.port) as first:
            await first.start()
            assert await handshake_status(relay.port) == 503
        statuses = [await handshake_status(relay.port)]
        while statuses[-1] == 503:  # the place comes back when the first has said goodbye to both sides
            await trio.sleep(0.05)
            statuses.append(await handshake_status(relay.port))
        assert statuses[-1] == 101


async def handshake_status(port: int) -> int:
    return int((await handshake(port)).split(" ")[1])
