"""A WebSocket of ours, linked to a peer that knows nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio
import trio.testing

from relay.wire import WebSocket, WireError, WireLimits
from tests.peers import FakeBrowser, FakeUpstream, FaultyStream, Peer, Role, frame, unframe

LIMITS = WireLimits(message_bytes=65_536)
MASK = b"\x37\xfa\x21\x3d"


@dataclass
class Link:
    """`ws` is ours, on `near`; whoever plays the peer holds `far`, or speaks through `peer`."""

    ws: WebSocket
    near: FaultyStream
    far: trio.abc.HalfCloseableStream
    peer: Peer
    role: Role

    def frame(self, opcode: int, payload: bytes = b"", **fields: bool | int | None) -> bytes:
        """A frame as the peer must send it: masked if we are the server."""
        return frame(opcode, payload, mask=MASK if self.role == "server" else None, **fields)  # type: ignore[arg-type]

    def sent(self) -> list[tuple[int, bytes]]:
        """The frames that we have sent."""
        return unframe(bytes(self.near.sent), masked=self.role == "client")


Pair = Callable[[], tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]]


def link(
    role: Role,
    limits: WireLimits = LIMITS,
    *,
    pair: Pair = trio.testing.memory_stream_pair,
    received: bytes = b"",
) -> Link:
    """Both ends of a connection after its handshake; `role` is ours."""
    near, far = pair()
    faulty = FaultyStream(near)
    ws = WebSocket(faulty, role=role, limits=limits, received=received)
    peer = FakeUpstream(far) if role == "client" else FakeBrowser(far)
    return Link(ws, faulty, far, peer, role)


async def receive_all(ws: WebSocket) -> tuple[list[str | bytes], WireError]:
    """All messages until the error that ends them."""
    messages: list[str | bytes] = []
    while True:
        try:
            messages.append(await ws.receive())
        except WireError as exc:
            return messages, exc
