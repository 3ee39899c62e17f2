"""Sockets that lead through the fault proxy of the tests, for some sessions of the load.

    with open_detour() as detour:
        with load.open(75, port, "relay.v1", detours=[detour] * 15) as sessions:
            detour.browsers.down.bytes_per_s = 1.0      # from now on, these browsers read nothing

The proxy (tests/fault_proxy.py) is Python on Trio, in a thread of its own that has the processor only when the load
does not want it: the other sessions are what is measured.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import trio

from tests.fault_proxy import FaultProxy

LEAST_URGENT = 19  # nice(2)


@dataclass(frozen=True)
class Detour:
    """Two proxies: between browsers and relay, and between relay and upstreams. Their faults may be set at any time."""

    browsers: FaultProxy
    upstreams: FaultProxy
    _token: trio.lowlevel.TrioToken
    _nursery: trio.Nursery

    def browser(self, sock: socket.socket) -> socket.socket:
        """Stand between a browser and the relay."""
        near, far = _tcp_pair()
        self._carry(self.browsers, far, sock)
        return near

    def upstream(self, sock: socket.socket) -> socket.socket:
        """Stand between the relay and the upstream."""
        near, far = _tcp_pair()
        self._carry(self.upstreams, sock, far)
        return near

    def _carry(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        def start() -> None:
            self._nursery.start_soon(proxy.carry, _stream(client), _stream(server))

        trio.from_thread.run_sync(start, trio_token=self._token)


@contextmanager
def open_detour() -> Iterator[Detour]:
    """Run both proxies for the length of the block; what they carry ends with it."""
    opened: queue.SimpleQueue[Detour] = queue.SimpleQueue()
    thread = threading.Thread(target=trio.run, args=(_serve, opened), name="detour")
    thread.start()
    detour = opened.get(timeout=10)
    try:
        yield detour
    finally:
        with suppress(trio.RunFinishedError):
            trio.from_thread.run_sync(detour._nursery.cancel_scope.cancel, trio_token=detour._token)
        thread.join()


async def _serve(opened: queue.SimpleQueue[Detour]) -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LEAST_URGENT)
    async with trio.open_nursery() as nursery:
        opened.put(Detour(FaultProxy(0, 1), FaultProxy(0, 2), trio.lowlevel.current_trio_token(), nursery))
        await trio.sleep_forever()


def _stream(sock: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return near, far
