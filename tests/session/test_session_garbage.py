"""A session that has ended is gone at once: nothing of it waits in a circle for the garbage collector.

The collector looks at what lives long once in hundreds of sessions. Until then each would keep its buffers and its C
state.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
from trio.testing import MockClock

from relay import wire
from relay.errors import BrowserTooBig, RelayError, UpstreamClosed, let_go
from relay.session import Session
from relay.short_way import ShortWay
from relay.tls_stream import TlsStream
from relay.way_stream import WayStream
from tests.session.rig import Rig, open_rig
from tests.session.road import BAD_RECORD, RESPONSE, Road, Tls, open_road, voice


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def send_too_much(rig: Rig) -> None:
    await rig.browser.send(bytes(65_537))
    await rig.wait_close()


async def break_a_rule(rig: Rig) -> None:
    await rig.browser.stream.send_all(b"\xff" * 20)
    await rig.wait_close()


async def hang_up(rig: Rig) -> None:
    await rig.browser.hang_up()


async def say_goodbye(rig: Rig) -> None:
    await rig.browser.close()


async def lose_the_upstream(rig: Rig) -> None:
    await rig.upstream.hang_up()
    await rig.wait_close()


async def hear_goodbye_from_the_upstream(rig: Rig) -> None:
    await rig.upstream.close(1001)
    await rig.wait_close()


ENDS = [send_too_much, break_a_rule, hang_up, say_goodbye, lose_the_upstream, hear_goodbye_from_the_upstream]


@pytest.mark.parametrize("end", ENDS)
async def test_a_session_that_has_ended_leaves_nothing_to_the_garbage_collector(
    autojump_clock: MockClock, no_collector: None, end: Callable[[Rig], Awaitable[None]]
) -> None:
    async with open_rig() as rig:
        await rig.start()
        await end(rig)
        await rig.ended.wait()
        session = weakref.ref(rig.session)
        del rig.session
        assert session() is None


async def lose_either(road: Road) -> None:
    await road.upstream.hang_up()


async def lose_both(road: Road) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(road.upstream.hang_up)
        nursery.start_soon(road.browser.hang_up)


async def drain_while_the_browser_does_not_read(road: Road) -> None:
    await road.upstream.send_json(RESPONSE)
    with trio.move_on_after(0.5):
        await road.answer(1_000)
    road.session._services.admission.drain(trio.current_time() + 0.2)


@pytest.mark.parametrize("json_client", [False, True])
@pytest.mark.parametrize("end", [lose_either, lose_both, drain_while_the_browser_does_not_read])
async def test_a_session_that_took_the_short_way_leaves_nothing_to_the_garbage_collector(
    no_collector: None, json_client: bool, end: Callable[[Road], Awaitable[None]]
) -> None:
    async with open_road(json_client=json_client) as road:
        await end(road)
        await road.ended.wait()
    del road
    kinds = (Session, ShortWay, WayStream, wire.WebSocket)
    assert [left for left in gc.get_objects() if isinstance(left, kinds)] == []


async def garble_the_browser(road: Road) -> None:
    await garble(road.browser.stream)


async def garble_the_upstream(road: Road) -> None:
    await garble(road.upstream.stream)


async def garble(stream: trio.abc.Stream) -> None:
    assert isinstance(stream, trio.SSLStream)
    await stream.transport_stream.send_all(BAD_RECORD)


@pytest.mark.parametrize("lent", [True, False])
@pytest.mark.parametrize("end", [lose_either, garble_the_browser, garble_the_upstream])
async def test_a_session_with_tls_leaves_nothing_to_the_garbage_collector(
    no_collector: None, lent: bool, end: Callable[[Road], Awaitable[None]]
) -> None:
    async with open_road(https=Tls(lent=lent), tls=Tls(lent=lent)) as road:
        await road.browser.send(voice(0))
        await road.upstream.receive_json()
        await end(road)
        await road.ended.wait()
    del road
    kinds = (Session, ShortWay, WayStream, TlsStream, wire.WebSocket)
    assert [left for left in gc.get_objects() if isinstance(left, kinds)] == []


def test_an_error_that_is_let_go_remembers_neither_where_it_was_raised_nor_what_led_to_it() -> None:
    def fail() -> None:
        try:
            raise BrowserTooBig()
        except BrowserTooBig as error:
            raise UpstreamClosed() from error

    with pytest.raises(UpstreamClosed) as caught:
        fail()
    kept: RelayError = caught.value
    let_go(kept)
    assert kept.__traceback__ is None
    assert kept.__cause__ is not None
    assert kept.__cause__.__traceback__ is None
