"""What system calls a program makes while it runs, and the processor time in each: calls.c, and the way to read it.

with CallCounter.prepared() as counter:
    process = subprocess.Popen(..., env=os.environ | counter.environ)
    before = counter.read()
    ...
    spent = counter.read() - before
"""

from __future__ import annotations

import mmap
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent / "calls.c"
KINDS = ("recv", "send", "wait of the event loop", "other waits", "epoll_ctl", "other calls")
FIGURES = 1 + 2 * len(KINDS)


@dataclass(frozen=True)
class Calls:
    """How many of each of KINDS, and their processor time."""

    counts: tuple[int, ...]
    ns: tuple[int, ...]
    clock_ns: int

    def __sub__(self, before: Calls) -> Calls:
        """What came in between."""
        counts = tuple(one - other for one, other in zip(self.counts, before.counts, strict=True))
        return Calls(counts, tuple(one - other for one, other in zip(self.ns, before.ns, strict=True)), self.clock_ns)

    def net_ns(self, kind: str) -> int:
        """Time in calls of that kind, without that of reading the clock, which each contains once."""
        at = KINDS.index(kind)
        return max(0, self.ns[at] - self.counts[at] * self.clock_ns)

    def count(self, kind: str) -> int:
        """How many of that kind."""
        return self.counts[KINDS.index(kind)]

    @property
    def overhead_ns(self) -> int:
        """What counting has cost: the clock is read twice for each call."""
        return 2 * sum(self.counts) * self.clock_ns


class CallCounter:
    """Shared memory that the program writes to."""

    def __init__(self, library: Path, path: Path, memory: mmap.mmap) -> None:
        self.environ = {"LD_PRELOAD": str(library), "BENCHMARK_CALLS": str(path)}
        self._memory = memory

    @classmethod
    @contextmanager
    def prepared(cls) -> Iterator[CallCounter]:
        """Build it."""
        with tempfile.TemporaryDirectory() as name:
            library, path = Path(name) / "calls.so", Path(name) / "counts"
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", str(SOURCE), "-o", str(library), "-ldl"], check=True)
            path.write_bytes(bytes(8 * FIGURES))
            with path.open("r+b") as file, mmap.mmap(file.fileno(), 8 * FIGURES) as memory:
                yield cls(library, path, memory)

    def read(self) -> Calls:
        """What there is until now."""
        clock_ns, *figures = struct.unpack(f"={FIGURES}Q", self._memory[:])
        return Calls(tuple(figures[::2]), tuple(figures[1::2]), clock_ns)
