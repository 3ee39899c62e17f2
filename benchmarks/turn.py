"""Turns of Trio's loop and nothing else: `python -m benchmarks.turn COUNT` prints the processor time of one, in ns.

A task waits for a descriptor that is always readable, so that each turn arms it, waits for it and runs the task, as a
wake-up for a frame does. breakdown.py takes the system calls off.
"""

from __future__ import annotations

import os
import sys
import time

import trio


async def turns(count: int) -> int:
    """Return how long one takes on the processor, in ns."""
    fd = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        for _ in range(count // 10):
            await trio.lowlevel.wait_readable(fd)
        before_ns = time.thread_time_ns()
        for _ in range(count):
            await trio.lowlevel.wait_readable(fd)
        return (time.thread_time_ns() - before_ns) // count
    finally:
        os.close(fd)


if __name__ == "__main__":
    print(trio.run(turns, int(sys.argv[1])))
