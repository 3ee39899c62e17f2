"""The pump: one wait for the sockets of all sessions that take the short way (short_way.py, native/pump.c).

Theory of operation. A turn of Trio's loop costs ten times what a frame of audio does. So frames are served where no
turn is needed: when Trio has nothing to run and is about to wait for its sockets, the pump waits in its place, inside C
and without the GIL, for the sockets of the short ways and for the descriptor that Trio itself waits for. Frames are
passed on as they come. As soon as Trio's descriptor is readable, its next deadline is due, or a frame turns up that
somebody has to see, the wait is over and Trio goes on as ever: nobody waits longer than without a pump.

Trio calls `before_io_wait` of an instrument at that moment, and says how long it would wait. It would still do so
afterwards; so if a task was woken or a deadline is due, the pump rings its bell, a descriptor that its task waits for,
and Trio's own wait is over at once.

Trio does not tell its descriptor. Linux does: /proc/self/fdinfo lists what each epoll watches, and Trio's watches the
bell. Where /proc says nothing the pump's task serves the frames, a turn of the loop for each wake-up.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn, Protocol

import trio

from relay._native import ffi, lib
from relay.log import get_logger

log = get_logger(__name__)

BEAT_S: Final = 0.05
"""How often accounts are brought up to date: those of all sessions whose turn it is, with one turn of the loop."""

FDINFO: Final = Path("/proc/self/fdinfo")


class Passenger(Protocol):
    """What the pump asks of the short way of a session. None of these raises."""

    def hear(self, leg: int, news: int) -> bool:
        """Take what the C side has to say of a leg; return whether that may have woken a task."""

    @property
    def note_every_s(self) -> float:
        """How often its accounts are to be brought up to date."""

    def collect(self) -> None:
        """Bring the accounts of the session up to date."""


class Pump(trio.abc.Instrument):
    """The short ways of the process. `run` is its task."""

    def __init__(self, fdinfo: Path = FDINFO) -> None:
        handle = lib.relay_pump_new()
        if not handle:
            raise MemoryError("no memory, or no file descriptors, for the audio of sessions")
        self.handle = ffi.gc(handle, lib.relay_pump_free)
        self._fdinfo = fdinfo
        self._bell: int = lib.relay_pump_bell(handle)
        self._found = ffi.new("uint64_t *"), ffi.new("int *"), ffi.new("int *")
        self._passengers: dict[int, Passenger] = {}
        self._names = 0
        self._beats = 0
        self._beat_due_s = 0.0
        self._fault: Exception | None = None

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
        """Serve them for ever. Raises what goes wrong."""
        loop_fd = await _loop_fd(self._bell, self._fdinfo)
        if loop_fd is not None and lib.relay_pump_wait_for(self.handle, loop_fd) == 0:
            await self._run_between_turns()
        log.warning(
            "pump.no_loop_fd", problem="Trio's loop cannot be waited for: a frame of audio costs several times as much"
        )
        await self._run_in_turns()

    async def _run_between_turns(self) -> NoReturn:
        trio.lowlevel.add_instrument(self)
        try:
            while True:
                await trio.lowlevel.wait_readable(self._bell)
                os.eventfd_read(self._bell)
                if self._fault is not None:
                    raise self._fault
        finally:
            trio.lowlevel.remove_instrument(self)

    async def _run_in_turns(self) -> NoReturn:
        while True:
            with trio.move_on_after(BEAT_S):
                await trio.lowlevel.wait_readable(lib.relay_pump_fd(self.handle))
            self._serve(0.0)

    def before_io_wait(self, timeout: float) -> None:
        """Serve frames until Trio has something to do, at the latest in `timeout` seconds."""
        try:
            must_look = self._passengers and self._serve(timeout) and timeout > 0
        except Exception as error:  # Trio would go on without this instrument, and nobody would pass on any audio
            self._fault, must_look = error, True
        if must_look:
            os.eventfd_write(self._bell, 1)

    def _serve(self, wait_s: float) -> bool:
        """Return whether Trio has to look: a task may have been woken, something is due, or a signal came."""
        now_s = trio.current_time()
        was_woken = self._beat(now_s)
        wait_s = 0.0 if was_woken else min(wait_s, self._beat_due_s - now_s)
        until_ns = lib.relay_now_ns() + max(0, round(wait_s * 1e9))
        token, leg, news = self._found
        while (end := lib.relay_pump_next(self.handle, until_ns, token, leg, news)) == lib.RELAY_PUMP_NEWS:
            if self._passengers[token[0]].hear(leg[0], news[0]):
                was_woken, until_ns = True, 0
        return was_woken or bool(end == lib.RELAY_PUMP_TIME)

    def _beat(self, now_s: float) -> bool:
        """If a beat is due, bring the accounts of those whose turn it is up to date; return whether it was."""
        if now_s < self._beat_due_s:
            return False
        self._beat_due_s = now_s + BEAT_S
        self._beats += 1
        for name, passenger in list(self._passengers.items()):
            if (self._beats + name) % max(1, round(passenger.note_every_s / BEAT_S)) == 0:
                passenger.collect()
        return True


async def _loop_fd(bell: int, fdinfo: Path) -> int | None:
    """Return the descriptor that Trio's loop waits for, or None if /proc does not tell."""
    found: list[int | None] = []

    def look() -> None:
        found.append(_epoll_that_watches(bell, fdinfo))
        os.eventfd_write(bell, 1)

    trio.lowlevel.current_trio_token().run_sync_soon(look)  # which it does while this task waits for the bell
    await trio.lowlevel.wait_readable(bell)
    os.eventfd_read(bell)
    return found[0]


def _epoll_that_watches(fd: int, fdinfo: Path) -> int | None:
    """Find it by what proc(5) shows of each epoll: a line `tfd: <descriptor> events: ...` for each that it watches."""
    for entry in fdinfo.glob("*"):
        with suppress(OSError):  # closed meanwhile
            if re.search(rf"^tfd:\s+{fd}\s", entry.read_text(), re.MULTILINE):
                return int(entry.name)
    return None
