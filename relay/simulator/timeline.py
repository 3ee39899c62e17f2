"""Things that take time, as generators, and the order in which they happen.

A generator yields seconds to wait (float) or events to send (list), one after another. The time it is asked at is the
time at which its code runs, so what it changes changes together with what it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from relay.simulator.conversation import Event

Step = float | list[Event]
Steps = Iterator[Step]


@dataclass(slots=True, eq=False)
class Run:
    """One generator under way."""

    steps: Steps
    due_s: float
    is_over: bool = field(default=False, init=False)


def rest_of(steps: Steps) -> list[Event]:
    """All events that are left, without the waits."""
    return [sent for step in steps if isinstance(step, list) for sent in step]


class Timeline:
    """All generators under way; whoever is due first goes first."""

    def __init__(self) -> None:
        self._runs: list[Run] = []

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def next_due_s(self) -> float:
        """When something happens next; infinity when nothing does."""
        return min((run.due_s for run in self._runs), default=float("inf"))

    def start(self, run: Run) -> None:
        """From now on `run` happens."""
        self._runs.append(run)

    def drop(self, run: Run) -> None:
        """It does not happen any more."""
        run.is_over = True
        self._runs.remove(run)

    def happen(self, now_s: float) -> Iterator[tuple[Run, list[Event]]]:
        """What has become due by `now_s`, in order; with `run.is_over` and no events when one comes to its end."""
        while self.next_due_s <= now_s:
            run = min(self._runs, key=lambda run: run.due_s)
            step = next(run.steps, None)
            if isinstance(step, float):
                run.due_s += step
            elif step is not None:
                yield run, step
            else:
                self.drop(run)
                yield run, []
