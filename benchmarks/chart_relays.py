"""The chart of relay_path: what a frame costs each relay, how late it makes it, and how many sessions it carries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.chart import INK, bars

SHOWN_SESSIONS = 75
LATE_MS = 10.0  # a longer bar would make the others invisible; its label says how long it is


def draw_relays(results: Mapping[str, Any], target: Path) -> None:
    """A row for each kind of upstream: processor time, added p50 and p99; below, the most sessions."""
    mpl.rcParams["svg.hashsalt"] = "relay"  # the same data gives the same file
    parts = {name: part for name, part in results.get("parts", {}).items() if part["sessions"] == SHOWN_SESSIONS}
    most = results.get("most", {})
    rows = len(parts) + bool(most)
    if not rows:
        return
    figure = Figure(figsize=(12, 3.2 * rows), layout="constrained")
    grid = figure.subplots(rows, 3, squeeze=False)
    for row, (title, part) in zip(grid, parts.items(), strict=False):
        _part(row, title, part["costs"])
    if most:
        _most(grid[-1], most)
    figure.savefig(target, metadata={"Date": None})


def _part(row: Any, title: str, costs: Mapping[str, Any]) -> None:
    cpu = {name: median(one["cpu_us"] for one in rounds) for name, rounds in costs.items()}
    names = sorted(cpu, key=cpu.__getitem__, reverse=True)
    bars(row[0], names, [cpu[name] for name in names], [f"{cpu[name]:.0f} µs" for name in names])
    _title(row[0], f"{title}\nprocessor time of a frame there and back")
    for axes, figure in ((row[1], "p50"), (row[2], "p99")):
        late = [_late_ms(costs[name], f"added_{figure}_ms") for name in names]
        labels = [f"{value:.2f} ms" if value < LATE_MS else f"{value:.0f} ms" for value in late]
        bars(axes, names, [min(value, LATE_MS) for value in late], labels)
        axes.set_yticklabels([])
        cut = f" (bars end at {LATE_MS:.0f} ms)" if max(late) > LATE_MS else ""
        _title(axes, f"added delay, {figure}{cut}")


def _late_ms(rounds: Sequence[Mapping[str, Any]], figure: str) -> float:
    """The median; a delay that is null was that of frames that never came."""
    return max(0.0, median(math.inf if one[figure] is None else one[figure] for one in rounds))


def _most(row: Any, most: Mapping[str, Any]) -> None:
    for axes, (title, part) in zip(row, most.items(), strict=False):
        names = sorted(part["most"], key=part["most"].__getitem__)
        values = [part["most"][name] for name in names]
        bars(axes, names, values, [str(value) for value in values])
        _title(axes, f"{title}\n(p99 below 10 ms, nothing lost)")
    for axes in row[len(most) :]:
        axes.set_axis_off()


def _title(axes: Any, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=10, color=INK)
