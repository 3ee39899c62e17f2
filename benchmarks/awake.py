"""Keeps the cores of a measurement from halting, and others from taking them.

A core that has nothing to do halts. In a virtual machine it is then the host that wakes it, and that can take
milliseconds: frames wait, come in heaps, and are cheaper by the dozen than one by one. Whether it happens changes from
one second to the next, and hits whoever is measured at that time. So something runs on each core, whenever nobody else
wants to (awake.c). On a machine of its own it also keeps the clock rate up.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SOURCE = Path(__file__).parent / "awake.c"
URGENCY = -10  # nice(2)
AUTOGROUP = Path("/proc/self/autogroup")


@contextmanager
def urgent() -> Iterator[None]:
    """Let what is started in the block be more urgent than the rest of the machine, where that is permitted (root).

    A time slice of somebody else is 3 ms of delay. With autogroups (sched(7)) it is the session's urgency that counts.
    """
    nice = nice_of_autogroup()
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, URGENCY)
    with suppress(OSError):
        AUTOGROUP.write_text(str(URGENCY))
    try:
        yield
    finally:
        if nice is not None:
            with suppress(OSError):
                AUTOGROUP.write_text(str(nice))


def nice_of_autogroup(file: Path = AUTOGROUP) -> int | None:
    """How nice this session is to others, or None where it has no autogroup.

    The file is missing from a kernel without autogroups, and empty where nobody has begun a session (setsid(2)), as in
    some containers.
    """
    try:
        words = file.read_text().split()
    except OSError:
        return None
    return int(words[-1]) if words else None


@contextmanager
def cores_awake() -> Iterator[None]:
    """Keep all cores that this process may use awake for the length of the block."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "awake"
        subprocess.run(["cc", "-O2", str(SOURCE), "-o", str(program)], check=True)
        keepers = [subprocess.Popen([program, str(core)]) for core in sorted(os.sched_getaffinity(0))]
        try:
            yield
        finally:
            for keeper in keepers:
                keeper.kill()
                keeper.wait()
