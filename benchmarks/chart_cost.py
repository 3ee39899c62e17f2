"""Two charts of relay's cost: of what pieces a frame's time is made, and how it grows with the sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.chart import INK

COLOURS = {
    "recv": "#0b3c5d",
    "send": "#1f6f8b",
    "waiting": "#6aa6b8",
    "other calls": "#a9c9d3",
    "frames and audio in C": "#d98f2b",
    "TLS": "#b5541c",
    "turns of Trio's loop": "#8a9a5b",
    "Python and the rest": "#c9cdd2",
    "program": "#dfe2e5",
}
DARK = ("recv", "send", "TLS")
LABELLED_US = 3.0


def draw_breakdown(results: Mapping[str, Any], target: Path) -> None:
    """One stacked bar for each contender."""
    mpl.rcParams["svg.hashsalt"] = "relay"  # the same data gives the same file
    cases = results["cases"]
    figure = Figure(figsize=(11, 0.75 * len(cases) + 1.6), layout="constrained")
    axes = figure.subplots()
    for name in reversed(cases):
        left = _stack(axes, name, cases[name]["rows"])
        axes.text(left + 0.8, name, f"{cases[name]['cpu_us']:.0f} µs", va="center", fontsize=9, color=INK)
    drawn = {row["name"] for case in cases.values() for row in case["rows"] if row["us"] > 0}
    handles = [mpl.patches.Patch(color=colour, label=name) for name, colour in COLOURS.items() if name in drawn]
    axes.legend(handles=handles, ncols=5, loc="upper left", bbox_to_anchor=(0, -0.02), frameon=False, fontsize=8)
    axes.set_title("processor time of a frame there and back, 75 sessions", loc="left", fontsize=10, color=INK)
    _bare(axes)
    figure.savefig(target, metadata={"Date": None})


def _stack(axes: Any, name: str, rows: Sequence[Mapping[str, Any]]) -> float:
    """Draw one bar of pieces, the larger ones with their figure; return where it ends."""
    left = 0.0
    for row in rows:
        width = max(0.0, row["us"])
        axes.barh(name, width, left=left, color=COLOURS[row["name"]], height=0.6)
        if width > LABELLED_US:
            colour = "white" if row["name"] in DARK else INK
            middle = left + width / 2
            axes.text(middle, name, f"{width:.0f}", ha="center", va="center", fontsize=8, color=colour)
        left += width
    return left


def draw_scale(results: Mapping[str, Any], target: Path) -> None:
    """What a frame costs, what that is of a core, how late it is, and what a session takes in memory, over sessions."""
    mpl.rcParams["svg.hashsalt"] = "relay"
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    row = figure.subplots(1, 4)
    figures = (
        ("cpu_us", "processor time of a frame, µs"),
        ("core", "share of a core"),
        ("added_p99_ms", "added delay, p99 (dotted: p50), ms"),
        ("rss_mib", "memory, MiB"),
    )
    for axes, (name, title) in zip(row, figures, strict=True):
        _curves(axes, name, results["upstreams"])
        axes.set_title(title, loc="left", fontsize=10, color=INK)
    row[2].set_ylim(0, 12)
    row[0].legend(frameon=False, fontsize=9)
    figure.savefig(target, metadata={"Date": None})


def _curves(axes: Any, figure: str, upstreams: Mapping[str, Any]) -> None:
    for (name, points), colour in zip(upstreams.items(), ("#1f6f8b", "#b5541c"), strict=False):
        sessions = [one["sessions"] for one in points]
        axes.plot(sessions, [one[figure] for one in points], "o-", color=colour, markersize=3, label=name)
        if figure == "added_p99_ms":
            axes.plot(sessions, [one["added_p50_ms"] for one in points], ":", color=colour)
    axes.set_xlabel("sessions", fontsize=9, color=INK)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _bare(axes: Any) -> None:
    axes.tick_params(left=False, bottom=False, labelbottom=False, labelsize=9)
    axes.margins(x=0.08)
    for spine in axes.spines.values():
        spine.set_visible(False)
