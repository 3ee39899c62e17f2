"""The same promises over real loopback sockets and real TLS, against a peer of another make."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
import trio
import trio.testing
import trio_websocket
import trustme

from relay.wire import (
    Closed,
    HandshakeFailed,
    HandshakeRefused,
    MessageTooBig,
    ProtocolViolation,
    SendTimeout,
    WebSocket,
    WireLimits,
    connect,
)
from tests.peers import CLOSE, FakeBrowser, FakeUpstream, PeerEnded, Role, close_payload, loopback_pair, unframe
from tests.wire.link import LIMITS

QUICK = WireLimits(message_bytes=65_536, send_deadline_s=0.2, close_deadline_s=0.2)
PATIENT = replace(LIMITS, send_deadline_s=20.0, close_deadline_s=20.0)
AT_ONCE_S = 5.0
"""So much less than the deadlines of PATIENT that none of them was waited for, on a busy machine too."""


@asynccontextmanager
async def tls_pair(
    hostname: str = "api.test",
) -> AsyncIterator[tuple[trio.SSLStream[trio.SocketStream], trio.SSLStream[trio.SocketStream]]]:
    """A client that verifies, and a server with a certificate for api.test; TLS handshakes are left to the streams."""
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("api.test").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    async with loopback_pair() as (near, far):
        yield (
            trio.SSLStream(near, client_context, server_hostname=hostname),
            trio.SSLStream(far, server_context, server_side=True),
        )


async def echo(request: trio_websocket.WebSocketRequest) -> None:
    ws = await request.accept(subprotocol="realtime")
    try:
        while True:
            await ws.send_message(await ws.get_message())
    except trio_websocket.ConnectionClosed:
        return


async def test_our_client_and_trio_websockets_server_understand_each_other() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, echo, "127.0.0.1", 0, None)
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        ws = await connect(
            stream,
            host=f"127.0.0.1:{server.port}",
            target="/",
            headers=[("X-Key", "k")],
            subprotocols=["realtime"],
            limits=PATIENT,
            deadline_s=5,
        )
        assert ws.subprotocol == "realtime"
        for message in ("text", "", b"", "κόσμε", bytes(range(256)) * 256):
            await ws.send(message)
            assert await ws.receive() == message
        began_s = trio.current_time()
        await ws.aclose(1000)
        assert trio.current_time() - began_s < AT_ONCE_S
        assert stream.socket.fileno() == -1
        nursery.cancel_scope.cancel()


async def test_our_server_and_trio_websockets_client_understand_each_other() -> None:
    async with loopback_pair() as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(serve_echo, near)
        client = await trio_websocket.wrap_client_stream(nursery, far, "h", "/", max_message_size=1 << 20)
        for message in ("text", "", b"", "κόσμε", bytes(range(256)) * 256):
            await client.send_message(message)
            assert await client.get_message() == message
        await client.ping(b"p")
        with trio.fail_after(AT_ONCE_S):
            await client.aclose(4000, "done")
        assert client.closed is not None
        assert client.closed.code == 4000


async def serve_echo(stream: trio.SocketStream) -> None:
    await FakeUpstream.accept(stream)
    ws = WebSocket(stream, role="server", limits=PATIENT)
    try:
        while True:
            await ws.send(await ws.receive())
    except Closed:
        await ws.aclose()


async def test_a_session_over_tls_works_and_ends_at_once() -> None:
    async with tls_pair() as (near, far), trio.open_nursery() as nursery:
        messages: list[str | bytes] = []

        async def serve() -> None:
            ws_far = await FakeUpstream.accept(far)
            messages.append(await ws_far.receive())
            await ws_far.send("y" * 60_000)
            await ws_far.close(1001, "bye")
            await ws_far.hang_up()

        nursery.start_soon(serve)
        ws = await connect(near, host="api.test", target="/", headers=[], limits=PATIENT, deadline_s=5)
        await ws.send("x" * 300_000)
        assert await ws.receive() == "y" * 60_000
        with pytest.raises(Closed) as error:
            await ws.receive()
        assert (error.value.code, error.value.reason) == (1001, "bye")
        began_s = trio.current_time()
        await ws.aclose()
        assert trio.current_time() - began_s < AT_ONCE_S
        assert near.transport_stream.socket.fileno() == -1
    assert messages == ["x" * 300_000]


async def test_a_receive_over_tls_that_waits_is_ended_by_a_close_and_by_an_abort() -> None:
    for end in (WebSocket.aclose, WebSocket.abort):
        async with tls_pair() as (near, far), trio.open_nursery() as nursery:
            nursery.start_soon(far.do_handshake)
            await near.do_handshake()
            ws = WebSocket(near, role="client", limits=QUICK)
            async with trio.open_nursery() as inner:
                inner.start_soon(expect_closed, ws)
                await trio.testing.wait_all_tasks_blocked()
                await end(ws)
            assert near.transport_stream.socket.fileno() == -1


async def expect_closed(ws: WebSocket) -> None:
    with pytest.raises(Closed):
        await ws.receive()


async def test_a_close_over_tls_says_so_in_tls_too() -> None:
    async with tls_pair() as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(far.do_handshake)
        await near.do_handshake()
        ws = WebSocket(far, role="server", limits=LIMITS)
        nursery.start_soon(ws.aclose)
        browser = FakeBrowser(near)
        with pytest.raises(PeerEnded):
            await browser.receive()
        assert await near.receive_some() == b""  # an end without close_notify would be a BrokenResourceError


@pytest.mark.parametrize("hostname", ["other.test"])
async def test_a_certificate_for_another_name_fails_the_handshake_and_says_so(hostname: str) -> None:
    async with tls_pair(hostname) as (near, far), trio.open_nursery() as nursery:

        async def serve() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await far.do_handshake()

        nursery.start_soon(serve)
        with pytest.raises(HandshakeFailed, match="certificate verify failed"):
            await connect(near, host=hostname, target="/", headers=[], limits=LIMITS, deadline_s=5)
        assert near.transport_stream.socket.fileno() == -1


async def test_tls_that_is_never_answered_ends_at_the_deadline() -> None:
    async with tls_pair() as (near, _far):
        with pytest.raises(HandshakeFailed, match="no answer"):
            await connect(near, host="api.test", target="/", headers=[], limits=LIMITS, deadline_s=0.2)
        assert near.transport_stream.socket.fileno() == -1


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
async def test_a_peer_that_never_reads_is_timed_out_and_the_socket_gone(tls: bool) -> None:
    async with tls_pair() as (near_tls, far_tls):
        if tls:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(far_tls.do_handshake)
                await near_tls.do_handshake()
        near: trio.abc.Stream = near_tls if tls else near_tls.transport_stream
        ws = WebSocket(near, role="client", limits=QUICK)
        began_s = trio.current_time()
        with pytest.raises(SendTimeout):
            await send_for_ever(ws)
        await ws.aclose()
        assert trio.current_time() - began_s < 3
        assert near_tls.transport_stream.socket.fileno() == -1


async def send_for_ever(ws: WebSocket) -> None:
    while True:
        await ws.send(bytes(1 << 20))


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
async def test_a_close_that_nobody_answers_or_reads_is_over_in_its_deadline(tls: bool) -> None:
    async with tls_pair() as (near_tls, far_tls):
        if tls:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(far_tls.do_handshake)
                await near_tls.do_handshake()
        ws = WebSocket(near_tls if tls else near_tls.transport_stream, role="server", limits=QUICK)
        began_s = trio.current_time()
        with trio.move_on_after(0.1):
            await send_for_ever(ws)
        await ws.aclose()
        assert trio.current_time() - began_s < 2
        assert near_tls.transport_stream.socket.fileno() == -1


async def test_a_peer_that_resets_the_connection_is_1006(role: Role) -> None:
    async with loopback_pair() as (near, far):
        ws = WebSocket(near, role=role, limits=LIMITS)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await far.aclose()
        with pytest.raises(Closed) as error:
            await ws.receive()
        assert error.value.code == 1006
        with pytest.raises(Closed):
            await send_for_ever(ws)
        await ws.aclose()
        assert near.socket.fileno() == -1


async def test_a_client_that_ignores_1009_and_goes_on_is_gone_within_the_deadline() -> None:
    async with loopback_pair() as (near, far), trio.open_nursery() as nursery:
        ws = WebSocket(near, role="server", limits=QUICK)

        async def flood() -> None:
            await far.send_all(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"abcd")
            with contextlib.suppress(trio.BrokenResourceError):
                while True:
                    await far.send_all(bytes(100_000))

        nursery.start_soon(flood)
        with pytest.raises(MessageTooBig):
            await ws.receive()
        began_s = trio.current_time()
        await ws.aclose(1009)
        assert trio.current_time() - began_s < 1


async def test_after_a_violation_the_peer_sees_the_code_and_the_end_at_once(role: Role) -> None:
    async with loopback_pair() as (near, far), trio.open_nursery() as nursery:
        ws = WebSocket(near, role=role, limits=PATIENT)
        await far.send_all(b"\xff" * 1000)
        with pytest.raises(ProtocolViolation):
            await ws.receive()
        began_s = trio.current_time()
        nursery.start_soon(ws.aclose, 1002)
        answer = b"".join([bytes(data) async for data in far])
        assert unframe(answer, masked=role == "client") == [(CLOSE, close_payload(1002))]
        await far.aclose()
    assert trio.current_time() - began_s < AT_ONCE_S
    assert near.socket.fileno() == -1


async def test_a_refusal_over_a_real_socket_is_reported_with_its_body() -> None:
    async with loopback_pair() as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(partial(FakeUpstream.refuse, far, 401, body=b'{"error": {}}'))
        with pytest.raises(HandshakeRefused) as refusal:
            await connect(near, host="h", target="/", headers=[], limits=LIMITS, deadline_s=5)
        assert (refusal.value.status, refusal.value.body) == (401, b'{"error": {}}')
        assert near.socket.fileno() == -1
