"""The pump: one wait for the sockets of all sessions that take the short way (short_way.py, native/pump.c).

A turn of Trio's loop costs ten times what a frame of audio does. So the pump lingers: after it has served what was
ready it waits for more, up to LINGER_S, inside C and without the GIL. All other tasks come that much later, so it
lingers only if Trio had nothing to do when the frames came.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn, Protocol

import trio

from relay._native import ffi, lib

LINGER_S: Final = 0.001
COLLECT_S: Final = 0.1
READ_BYTES: Final = 65_536


class Passenger(Protocol):
    """What the pump asks of the short way of a session. None of these raises."""

    def hear(self, leg: int, news: int) -> None:
        """Take what the C side has to say of a leg."""

    def collect(self) -> None:
        """Bring the accounts of the session up to date."""


class _Idle(trio.abc.Instrument):
    """Whether Trio had nothing to do before the wait that it comes from."""

    def __init__(self) -> None:
        self.was_idle = True

    def before_io_wait(self, timeout: float) -> None:
        self.was_idle = timeout > 0


class Pump:
    """The short ways of the process. `run` is its task."""

    def __init__(self) -> None:
        handle = lib.relay_pump_new()
        if not handle:
            raise MemoryError("no memory, or no file descriptor, for the audio of sessions")
        self.handle = ffi.gc(handle, lib.relay_pump_free)
        self.room: Any = ffi.new("char[]", READ_BYTES)
        self._passengers: dict[int, Passenger] = {}
        self._names = 0
        self._collect_at_s = 0.0

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._passengers)

    def enter(self, passenger: Passenger) -> int:
        """Take one in; return its name, which no other had."""
        self._names += 1
        self._passengers[self._names] = passenger
        return self._names

    def leave(self, name: int) -> None:
        """Forget one. Idempotent."""
        self._passengers.pop(name, None)

    async def run(self) -> NoReturn:
        """Serve them for ever."""
        idle = _Idle()
        token, leg, news = ffi.new("uint64_t *"), ffi.new("int *"), ffi.new("int *")
        fd, linger_ns = lib.relay_pump_fd(self.handle), round(LINGER_S * 1e9)
        trio.lowlevel.add_instrument(idle)
        try:
            while True:
                await trio.lowlevel.wait_readable(fd)
                until_ns = lib.relay_now_ns() + (linger_ns if idle.was_idle else 0)
                while lib.relay_pump_next(self.handle, until_ns, token, leg, news):
                    self._passengers[token[0]].hear(leg[0], news[0])
                    until_ns = 0  # somebody is awake now: let it run
                self._collect(trio.current_time())
        finally:
            trio.lowlevel.remove_instrument(idle)

    def _collect(self, now_s: float) -> None:
        """Limits and levels hang on the accounts: look at them a few times a second."""
        if now_s < self._collect_at_s:
            return
        self._collect_at_s = now_s + COLLECT_S
        for passenger in list(self._passengers.values()):
            passenger.collect()
