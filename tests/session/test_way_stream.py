"""TLS under the short way (relay/way_stream.py): what the pump hears of a socket whose bytes Python decrypts."""

from __future__ import annotations

import ssl

import pytest
import trio
import trustme

from relay.tls_stream import TlsStream
from relay.way_stream import READS, TlsWayStream
from tests.peers import loopback_pair

RECORD_HEAD = b"\x17\x03\x03"


class FakeWay:
    """A way whose C side lets all pass, until it has got so many bytes: then a frame is stuck."""

    def __init__(self, received: list[bytes], stuck_at: int | None = None) -> None:
        self.received = received
        self.passed = 0
        self._stuck_at = stuck_at

    def rest(self) -> None: ...

    def shut(self) -> None: ...

    def close(self) -> None: ...

    def is_open(self, leg: int) -> bool:
        return self._stuck_at is None or self.passed < self._stuck_at

    def watch(self, leg: int) -> None: ...

    def next_bytes(self, leg: int) -> int:
        return 0

    def receive(self) -> bytes | None:
        return self.received.pop(0) if self.received else None

    @property
    def is_drained(self) -> bool:
        return False

    def let_through(self, plain: bytes) -> int:
        self.passed += len(plain)
        return len(plain)


class Far:
    """The other end of a TLS connection, in memory."""

    def __init__(self, near: trio.SocketStream) -> None:
        ca = trustme.CA()
        trusting, serving = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.num_tickets = 0  # else they come first
        ca.configure_trust(trusting)
        ca.issue_cert("localhost").configure_cert(serving)
        self.tls = TlsStream(near, trusting, "localhost")
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = serving.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def shake_hands(self, far: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.tls.do_handshake)
            while True:
                try:
                    self._tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await far.send_all(self._outgoing.read())
                    self._incoming.write(await far.receive_some())
            await far.send_all(self._outgoing.read())

    def say(self, plain: bytes) -> bytes:
        """Return what is in the socket then."""
        self._tls.write(plain)
        return self._outgoing.read()


async def test_writers_that_a_stuck_frame_has_woken_are_told_of() -> None:
    async with loopback_pair() as (far, near):
        peer = Far(near)
        await peer.shake_hands(far)
        stream = TlsWayStream(peer.tls)
        assert not stream.hear(FakeWay([peer.say(b"audio")]))
        assert stream.hear(FakeWay([peer.say(b"audio")], stuck_at=5))


async def test_an_upstream_that_floods_does_not_keep_the_others_waiting() -> None:
    async with loopback_pair() as (far, near):
        peer = Far(near)
        await peer.shake_hands(far)
        stream = TlsWayStream(peer.tls)
        way = FakeWay([peer.say(b"audio") for _ in range(READS + 10)])
        assert stream.hear(way)
        assert len(way.received) == 10
        assert way.passed == READS * len(b"audio")


async def test_the_end_of_the_stream_wakes_the_reader_behind_what_passed() -> None:
    async with loopback_pair() as (far, near):
        peer = Far(near)
        await peer.shake_hands(far)
        stream = TlsWayStream(peer.tls)
        way = FakeWay([peer.say(b"audio"), b"", b""])
        assert stream.hear(way)
        assert (way.passed, way.received) == (5, [b""])


@pytest.mark.parametrize("data", [RECORD_HEAD + b"\x00\x20" + bytes(32)])
async def test_after_a_fault_of_tls_the_stream_is_broken_for_writers_as_for_readers(data: bytes) -> None:
    async with loopback_pair() as (far, near):
        peer = Far(near)
        await peer.shake_hands(far)
        peer.tls.decrypt(data)
        with pytest.raises(trio.BrokenResourceError):
            await peer.tls.send_all(b"word")
        with pytest.raises(trio.BrokenResourceError):
            await peer.tls.receive_some()
