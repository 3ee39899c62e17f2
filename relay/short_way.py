"""The short way: while nothing but audio is said, a session's frames go from socket to socket inside C.

Theory of operation. The careful way takes a frame through the WebSocket, the language, a queue and another WebSocket,
in four turns of Trio's loop. native/way.c passes on frames that are exactly what they should be, in one call for both
sockets, and touches nothing else: all other bytes stay where they are, for the reader (way_stream.py). What passed is
counted there, and the session takes note of it later, in one piece. With TLS, what came for the reader waits decrypted
(tls_way.py).

Order is kept by one rule: a direction is open only while its reader is parked and nothing of the session is under way
in it, and whoever changes the session, or decides by its accounts, shuts both first (`shut`, which brings them up to
date) and lets them open again afterwards (`rest`). Bringing them up to date alone (`collect`) shuts nothing. A way that
never opens is a session that is carried carefully, as one is whose audio somebody has to convert or translate as JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol, cast

from relay import wire
from relay._buffer import shared_buffer
from relay._native import ffi, lib
from relay.core.passing import MAX_UNCOUNTED_S, AudioPath, EventPath, Passed, SpokenItem
from relay.core.playout import FRAME_MS
from relay.log import get_logger
from relay.pump import Pump
from relay.tls_way import CAREFUL, NONE, STUCK, TlsWork
from relay.way_stream import TlsWayStream, WayStream

log = get_logger(__name__)

BROWSER: Final[int] = lib.RELAY_WAY_BROWSER
UPSTREAM: Final[int] = lib.RELAY_WAY_UPSTREAM
MAX_ID_CHARS: Final[int] = lib.RELAY_WAY_ID_CHARS

Streams = tuple[WayStream, WayStream]
"""By leg."""


class Owner(Protocol):
    """What the short way asks of its session. Neither of these raises."""

    def may_open_up(self) -> bool:
        """Whether nothing is under way from the browser to the upstream."""

    def spoken(self) -> SpokenItem | None:
        """The item whose audio may pass, if nothing else is under way from the upstream to the browser."""

    def passed(self, passed: Passed) -> None:
        """Take note of what passed."""

    def stuck(self) -> None:
        """A socket did not take a whole frame: let the writers of both legs write what is left."""

    def broken(self, error: Exception) -> None:
        """There is a fault in the short way itself."""


def open_short_way(
    pump: Pump | None, owner: Owner, path: AudioPath | EventPath, browser: wire.WebSocket, upstream: wire.WebSocket
) -> ShortWay | None:
    """Give a session that stands its short way, if its streams and the process have one; else all is carried."""
    streams = browser.stream, upstream.stream
    if pump is None or not all(isinstance(stream, WayStream) for stream in streams):
        return None
    try:
        way = ShortWay(pump, owner, cast(Streams, streams), path, browser.message_bytes)
    except NoWay as problem:
        log.warning("short_way.none", problem=str(problem))
        return None
    for leg, socket in ((BROWSER, browser), (UPSTREAM, upstream)):
        cast(WayStream, socket.stream).join(way, leg, socket)
    return way


class NoWay(Exception):
    """There can be no short way."""


class ShortWay:
    """The short way of one session, between two streams that are not closed yet. Making one raises NoWay."""

    def __init__(
        self, pump: Pump, owner: Owner, streams: Streams, path: AudioPath | EventPath, longest_up_bytes: int
    ) -> None:
        self._pump = pump
        self._owner = owner
        self._streams = streams
        self._path = path
        self._buffer = shared_buffer()
        self._counts = ffi.new("relay_way_counts *")
        self._is_open = [False, False]
        self._was_open = False
        self._name = pump.enter(self)
        self._handle = lib.relay_way_new(pump.handle, _ends(self._name, streams, path, longest_up_bytes))
        if not self._handle:
            pump.leave(self._name)
            raise NoWay("no memory, or a socket that cannot be waited for")
        self._tls = TlsWork(pump.handle, self._handle, streams)

    def rest(self) -> None:
        """Nothing more is to be done for the moment: open what may be open."""
        if not self._handle or not all(stream.may_pass for stream in self._streams):
            return
        browser, upstream = self._streams
        if upstream.is_parked and not self._is_open[UPSTREAM]:
            item = self._owner.spoken()
            if item is not None and _fits(item):
                unheard_ns = round(item.unheard_s * 1e9)
                self._open(UPSTREAM, partial(lib.relay_way_open_down, self._handle, _item(item), unheard_ns))
        if browser.is_parked and not self._is_open[BROWSER] and self._owner.may_open_up():
            self._open(BROWSER, partial(lib.relay_way_open_up, self._handle))

    def _open(self, leg: int, open_leg: Callable[[], int]) -> None:
        self._is_open[leg] = self._was_open = True
        self._take(leg, open_leg())
        if self._is_open[leg]:
            self._take(leg, self._tls.let_through(leg))

    def is_open(self, leg: int) -> bool:
        """Whether frames from that leg take the short way now."""
        return self._is_open[leg]

    def watch(self, leg: int) -> None:
        """Wake the reader of that leg when anything comes."""
        if self._handle:
            self._take(leg, lib.relay_way_watch(self._handle, leg))

    def shut(self) -> None:
        """Somebody looks at the session: shut both directions, and tell it what passed meanwhile."""
        if not self._was_open:
            return
        self._was_open = False
        self._is_open = [False, False]
        lib.relay_way_shut(self._handle, self._counts)
        self._tell()

    @property
    def note_every_s(self) -> float:
        """How often the session wants to know what passed."""
        return self._path.note_every_s

    def collect(self) -> None:
        """Tell the session what passed, for the pump, whom no fault of one session may reach."""
        if not self._was_open:
            return
        try:
            lib.relay_way_count(self._handle, self._counts)
            stalled = self._counts.stalled
            self._tell()
            self._read_parts(stalled)
        except Exception as error:
            self._owner.broken(error)

    def _read_parts(self, stalled: int) -> None:
        """Let the readers take what part of a frame has waited for the rest: it may be what keeps the rest away."""
        for leg, stream in enumerate(self._streams):
            if stalled >> leg & 1:
                stream.wake()

    def hear(self, leg: int, news: int) -> bool:
        """Take what the C side has to say, for the pump; return whether a task may have been woken."""
        try:
            return self._take(leg, news)
        except Exception as error:
            self._owner.broken(error)
            return True

    def next_bytes(self, leg: int) -> int:
        """Length of the frame that comes next in that leg's socket, 0 if it is not known."""
        return int(lib.relay_way_next_bytes(self._handle, leg)) if self._handle else 0

    def close(self) -> None:
        """End the short way; the streams go on without it. Idempotent."""
        if not self._handle:
            return
        try:
            self.shut()
        finally:
            self._pump.leave(self._name)
            lib.relay_way_free(self._handle)
            self._handle = ffi.NULL
            for stream in self._streams:
                stream.leave()

    def _take(self, leg: int, news: int) -> bool:
        """Do what the news ask for; return whether a task may have been woken."""
        news = self._tls.do(leg, news)
        if news == CAREFUL:
            self._is_open[leg] = False
            self._streams[leg].wake()
        elif news == STUCK:
            for each, stream in enumerate(self._streams):
                stream.rest += self._take_rest(each)
            self.shut()
            self._owner.stuck()
        return news != NONE

    def _tell(self) -> None:
        if self._counts.up_bytes or self._counts.played_samples:
            self._streams[BROWSER].heard()
        if self._counts.down_events:
            self._streams[UPSTREAM].heard()
        self._owner.passed(self._passed())

    def _take_rest(self, leg: int) -> bytes:
        n = lib.relay_way_rest(self._handle, leg, self._buffer.chars, self._buffer.room)
        if n < 0:
            raise RuntimeError("what was left of a frame is lost")
        return bytes(self._buffer.bytes[:n])

    def _passed(self) -> Passed:
        counts, path = self._counts, self._path
        return Passed(
            up_samples=counts.up_bytes // path.input_sample_bytes,
            up_events=counts.up_events,
            down_events=counts.down_events,
            down_samples=counts.down_samples,
            down_s=counts.down_samples / path.upstream_rate_hz,
            sent_samples=counts.sent_samples,
            played_samples=counts.played_samples,
            unheard_s=counts.heard_in_ns / 1e9,
        )


def _ends(name: int, streams: Streams, path: AudioPath | EventPath, longest_up_bytes: int) -> Any:
    ends = ffi.new("relay_way_ends *")
    ends.token = name
    ends.fds = [stream.socket.fileno() for stream in streams]
    for leg, stream in enumerate(streams):
        if isinstance(stream, TlsWayStream):
            ends.has_tls[leg], ends.ssl[leg] = True, stream.tls.handle
            ends.records[leg] = stream.tls.records or ffi.NULL
    ends.is_json = isinstance(path, EventPath)
    ends.longest_up_bytes = longest_up_bytes
    ends.uncounted_up_bytes = round(MAX_UNCOUNTED_S * path.input_rate_hz) * path.input_sample_bytes
    ends.uncounted_down_samples = round(MAX_UNCOUNTED_S * path.upstream_rate_hz)
    if isinstance(path, AudioPath):
        _set_audio(ends, path)
    return ends


def _set_audio(ends: Any, path: AudioPath) -> None:
    ends.uplink, ends.downlink = path.uplink.handle, path.downlink.handle
    ends.lead_ns = round(path.lead_s * 1e9)
    ends.rate_hz, ends.sample_bytes = path.output_rate_hz, path.output_sample_bytes
    ends.longest_delta_samples = path.upstream_rate_hz * FRAME_MS // 1000


def _fits(item: SpokenItem) -> bool:
    return all(each.isascii() and len(each) <= MAX_ID_CHARS for each in (item.item_id, item.response_id))


def _item(item: SpokenItem) -> Any:
    found = ffi.new("relay_way_item *")
    found.number, found.content_index = item.number, item.content_index
    found.sent_samples, found.played_samples = item.sent_samples, item.played_samples
    found.item_id_chars, found.response_id_chars = len(item.item_id), len(item.response_id)
    ffi.memmove(found.item_id, item.item_id.encode(), len(item.item_id))
    ffi.memmove(found.response_id, item.response_id.encode(), len(item.response_id))
    return found
