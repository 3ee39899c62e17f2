"""The charts. What is fast stands beside what it gives for it: a fast resampler that is late has not won."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

OURS, THEIRS, INK = "#1f6f8b", "#b8c4cc", "#223"


def draw(results: dict[str, Any], target: Path) -> None:
    """One row of two bar charts for each case, longest bars at the bottom."""
    mpl.rcParams["svg.hashsalt"] = "relay"  # the same data gives the same file
    cases = results["cases"]
    figure = Figure(figsize=(11, 2.7 * len(cases)), layout="constrained")
    grid = figure.subplots(len(cases), 2, squeeze=False)
    for row, (title, entries) in zip(grid, cases.items(), strict=True):
        names = sorted(entries, key=lambda name: entries[name]["timing"]["ratio"], reverse=True)
        times = [entries[name]["timing"]["median_us"] for name in names]
        delays = [entries[name]["quality"]["delay_ms"] for name in names]
        ratios = [entries[name]["timing"]["ratio"] for name in names]
        bars(row[0], names, times, [f"{t:.1f} µs, {r:.1f} x" for t, r in zip(times, ratios, strict=True)])
        bars(row[1], names, delays, [f"{value:.2f} ms" for value in delays])
        row[0].set_title(f"{title}: time for 20 ms of audio", loc="left", fontsize=10, color=INK)
        row[1].set_title("added delay", loc="left", fontsize=10, color=INK)
        row[1].set_yticklabels([])
    figure.savefig(target, metadata={"Date": None})


def bars(axes: Any, names: list[str], values: list[float], labels: list[str]) -> None:
    """Horizontal bars with their values written out; relay's own are dark."""
    colours = [OURS if name.partition(",")[0] == "relay" else THEIRS for name in names]
    drawn = axes.barh(names, values, color=colours, height=0.7)
    axes.bar_label(drawn, labels, padding=4, fontsize=8, color=INK)
    axes.set_xlim(0, 1.3 * max(values) or 1)
    axes.tick_params(left=False, bottom=False, labelbottom=False, labelsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)
