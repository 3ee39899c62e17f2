"""TLS to the upstream (relay/tls_stream.py): what is wrong with it is wrong for both, who reads and who writes."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from relay.tls_stream import TlsStream
from tests.peers import loopback_pair
from tests.session.road import BAD_RECORD, Tls


@asynccontextmanager
async def secured() -> AsyncIterator[TlsStream]:
    """relay's end of a connection whose two ends have shaken hands."""
    tls, streams = Tls(), []
    async with loopback_pair() as (near, far):

        async def dial() -> None:
            streams.append(await tls.dial(near))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(dial)
            nursery.start_soon(tls.serve(far).do_handshake)
        yield streams[0]


async def is_broken(stream: TlsStream) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"word")
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()


async def test_after_a_fault_in_what_was_read_the_stream_is_broken() -> None:
    async with secured() as stream:
        stream.decrypt(BAD_RECORD)
        await is_broken(stream)


async def test_after_a_fault_of_writing_the_stream_is_broken() -> None:
    async with secured() as stream:
        with suppress(ssl.SSLWantReadError):
            stream._tls.unwrap()  # who has said goodbye may not write
        await is_broken(stream)
