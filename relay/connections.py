"""Who may have a connection at all, before one byte of it is read: how many there are, from where, how fast they come.

Rules: one object for the process, no awaiting in any decision. A connection costs a file descriptor, and a process
without descriptors serves nobody; so their number is bounded, and the process's limit is raised to it before the first
one comes (`make_room`). Loopback and the trusted proxies are not counted per address: from there comes the machine's
own user, or a proxy, which counts for itself. The table of addresses is bounded; the one that was idle longest is
forgotten first.

When all places are taken, the connection that has waited longest for its client, to say something or to read what it
asked for, is hung up on, and the newcomer has its place: otherwise a few addresses could hold them all with connections
on which nothing is ever said or read. One with a session, or at whose request relay is at work, is never hung up on; if
there is no other, the newcomer is.
"""

from __future__ import annotations

import math
import random
import resource
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from relay.addresses import is_loopback, network_of
from relay.config import Config
from relay.errors import ConfigError
from relay.log import Sparingly, get_logger
from relay.proxies import TrustedProxies

log = get_logger(__name__)

BURST_S = 10.0
"""How many seconds of its rate an address may use up at once: whoever opens the page needs some connections."""

MAX_ADDRESSES = 10_000
"""Addresses whose rate is remembered, 2 MB in all. Forgetting one gives it a new burst."""

OWN_FILES = 64
"""Descriptors for everything that is no connection: listeners, the loop, log, files, name lookups."""

SPREAD_S = 10.0
"""Who is told to come back is told a time of its own, as far apart as this: those who were refused together would
otherwise be refused together again."""

ANSWER = b"HTTP/1.1 %d %s\r\nretry-after: %d\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

Choose = Callable[[float, float], float]


class NoRoom(Exception):
    """There is no room, or this address comes too often: `status` in HTTP's words, and when to come back."""

    def __init__(self, status: int, setting: str, retry_after_s: float) -> None:
        super().__init__(setting)
        self.status = status
        self.setting = setting
        self.retry_after_s = retry_after_s

    @property
    def answer(self) -> bytes:
        """The whole answer to a request that was not read."""
        return ANSWER % (self.status, HTTPStatus(self.status).phrase.encode(), math.ceil(self.retry_after_s))


@dataclass(slots=True)
class _Bucket:
    """What is left of an address's burst at a moment."""

    left: float
    at_s: float


class Place:
    """What one connection holds. While it waits for its client it may lose it to a newcomer."""

    __slots__ = ("_waiting", "hang_up")

    def __init__(self, waiting: OrderedDict[Place, None], hang_up: Callable[[], None]) -> None:
        self._waiting = waiting
        self.hang_up = hang_up
        self.waits()

    def waits(self) -> None:
        """The client's turn: to speak, to read, or to say goodbye. Time counts from here, whatever trickles in."""
        self._waiting[self] = None

    def works(self) -> None:
        """Our turn; or there is a session."""
        self._waiting.pop(self, None)


class Connections:
    """The connections of this process."""

    def __init__(self, config: Config, max_connections: int, *, choose: Choose = random.uniform) -> None:
        self._choose = choose
        self._max_connections = max_connections
        self._max_per_address = config.max_connections_per_address
        self._proxies = TrustedProxies(config.trusted_proxies)
        self._rate_per_s = config.connects_per_s_per_address
        self._by_address: Counter[str] = Counter()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._waiting: OrderedDict[Place, None] = OrderedDict()
        self._complaints, self._losses = Sparingly(), Sparingly()
        self.connections = 0

    @contextmanager
    def place(self, peer: str, now_s: float, hang_up: Callable[[], None]) -> Iterator[Place]:
        """Hold a place for a connection from `peer`, an IP address. Raises NoRoom.

        `hang_up` closes its socket, at once, and makes whoever reads from it end.
        """
        network = "" if is_loopback(peer) or peer in self._proxies else network_of(peer)
        try:
            self._check(network, now_s)
        except NoRoom as refusal:
            if count := self._complaints.count(now_s):
                log.warning("connection.refused", peer=peer, limit=refusal.setting, refused=count)
            raise
        self.connections += 1
        self._by_address[network] += 1
        place = Place(self._waiting, hang_up)
        try:
            yield place
        finally:
            place.works()
            self.connections -= 1
            self._by_address[network] -= 1
            if not self._by_address[network]:
                del self._by_address[network]

    def _check(self, network: str, now_s: float) -> None:
        """Refuse, or see to it that there is room. Who comes too often takes nobody's place."""
        if network and self._max_per_address and self._by_address[network] >= self._max_per_address:
            raise self._no_room(429, "max_connections_per_address")
        if network and self._rate_per_s and (wait_s := self._take(network, now_s)):
            raise self._no_room(429, "connects_per_s_per_address", wait_s)
        if self.connections >= self._max_connections:
            self._make_way(now_s)

    def _make_way(self, now_s: float) -> None:
        """Hang up on the connection that has waited longest; it is still counted until its task has ended."""
        if not self._waiting:
            raise self._no_room(503, "spare_connections")
        loser, _ = self._waiting.popitem(last=False)
        loser.hang_up()
        if count := self._losses.count(now_s):
            log.warning("connection.made_way", limit="spare_connections", connections=count)

    def _no_room(self, status: int, setting: str, wait_s: float = 1.0) -> NoRoom:
        return NoRoom(status, setting, wait_s + self._choose(0.0, SPREAD_S))

    def _take(self, network: str, now_s: float) -> float:
        """Take one connection out of an address's bucket, which fills at its rate; return how long to wait for one."""
        full = max(1.0, self._rate_per_s * BURST_S)
        bucket = self._buckets.pop(network, None) or _Bucket(full, now_s)
        bucket.left = min(full, bucket.left + (now_s - bucket.at_s) * self._rate_per_s)
        bucket.at_s = now_s
        self._buckets[network] = bucket
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        if bucket.left < 1.0:
            return (1.0 - bucket.left) / self._rate_per_s
        bucket.left -= 1.0
        return 0.0


def make_room(config: Config) -> int:
    """Raise the limit on open files to what the settings may need; return how many connections it allows.

    Raises ConfigError if it does not even allow the sessions.
    """
    beside = OWN_FILES + config.max_sessions * (2 if config.upstream_kind == "simulator" else 1)
    wanted = config.max_sessions + config.spare_connections
    soft, hard = (limit if limit >= 0 else 1 << 30 for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    if soft < beside + wanted and soft < hard:
        soft = min(beside + wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    allowed = min(wanted, soft - beside)
    if allowed <= config.max_sessions:
        raise ConfigError(
            f"max_sessions: {config.max_sessions} sessions need {beside + config.max_sessions + 1} open files or more, "
            f"and this process may have {soft}; lower it, or raise the limit (ulimit -n)"
        )
    if allowed < wanted:
        log.warning("server.few_open_files", limit=soft, connections=allowed, wanted=wanted)
    return allowed
