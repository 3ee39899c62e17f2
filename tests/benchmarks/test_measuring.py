"""The arithmetic of the benchmarks: where a mistake would mislead whoever reads a table."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.awake import nice_of_autogroup
from benchmarks.bars import CASES, Bar, judge
from benchmarks.load import Result
from benchmarks.measuring import Cost, largest, middle, ratio
from benchmarks.records import Part, Table, markdown, put

COST = Cost(cpu_us=50.0, added_p50_ms=0.1, added_p99_ms=1.0, rss_mib=40.0, lost=0, load_busy=0.3)


def result(delays_ms: list[float], *, sent: int, unsent: int = 0) -> Result:
    return Result(sent, len(delays_ms), unsent, 0, 0, 0.1, np.array(sorted(delays_ms)))


def test_a_quantile_counts_lost_frames_as_the_latest() -> None:
    delays_ms = [float(n) for n in range(90)]
    assert result(delays_ms, sent=90).quantile_ms(0.5) == 45.0
    assert result(delays_ms, sent=100).quantile_ms(0.5) == 50.0
    assert result(delays_ms, sent=90, unsent=10).quantile_ms(0.89) == 89.0
    assert result(delays_ms, sent=100).quantile_ms(0.9) == math.inf
    assert result([], sent=0).quantile_ms(0.5) == math.inf


def test_what_could_not_even_be_sent_is_lost() -> None:
    assert result([1.0] * 7, sent=10, unsent=2).lost == 5


def test_a_ratio_compares_inside_a_round() -> None:
    ours = [replace(COST, cpu_us=us) for us in (10.0, 40.0, 90.0)]
    theirs = [replace(COST, cpu_us=us) for us in (20.0, 40.0, 90.0)]
    assert ratio({"a": ours, "b": theirs}, "a", "b") == 1.0
    assert ratio({"a": ours, "b": theirs[:1] * 3}, "a", "b") == 2.0
    with pytest.raises(ValueError, match="shorter"):
        ratio({"a": ours, "b": theirs[:1]}, "a", "b")


def test_the_middle_of_rounds_is_the_median_of_each_figure_and_all_that_was_lost() -> None:
    rounds = [replace(COST, cpu_us=us, added_p99_ms=-us, lost=1) for us in (9.0, 1.0, 5.0)]
    assert middle(rounds) == replace(COST, cpu_us=5.0, added_p99_ms=-5.0, lost=3)


@pytest.mark.parametrize("limit", range(13))
def test_the_largest_step_is_found_wherever_it_lies(limit: int) -> None:
    steps, asked = range(1, 12), []

    def holds(step: int) -> bool:
        asked.append(step)
        return step <= limit

    assert largest(holds, steps) == min(limit, 11)
    assert len(asked) == len(set(asked)) <= 4


def bars(**worse: Cost) -> dict[str, bool]:
    """Which bars hold if everybody costs the same in all rounds, but for those named."""
    names = dict(zip(("relay", "tls", "both", "aiohttp", "envoy"), (case.name for case in CASES), strict=True))
    costs = {"relay": COST, "tls": COST, "both": COST, "aiohttp": replace(COST, cpu_us=100.0), "envoy": COST} | worse
    usual = {names[key]: [costs[key]] * 3 for key in names}
    many = {names["relay"]: [costs.get("many", COST)] * 3}
    return {bar.name: bar.holds for bar in judge(usual, many)}


@pytest.mark.parametrize(
    ("who", "figures", "missed"),
    [
        ("relay", {"cpu_us": 76.0}, ["to Envoy's"]),
        ("aiohttp", {"cpu_us": 62.0}, ["to aiohttp's"]),
        ("relay", {"added_p50_ms": 0.16}, ["added p50"]),
        ("relay", {"added_p99_ms": 2.01}, ["added p99, 75"]),
        ("many", {"added_p99_ms": 10.01}, ["added p99, 300"]),
        ("many", {"added_p99_ms": math.inf}, ["added p99, 300"]),
        ("many", {"lost": 1}, ["lost"]),
        ("tls", {"lost": 1}, ["lost"]),
        ("envoy", {"lost": 1}, []),
        ("tls", {"cpu_us": 68.0}, ["TLS upstream"]),
        ("both", {"cpu_us": 88.0}, ["TLS on both sides"]),
        ("both", {"lost": 1}, ["lost"]),
    ],
)
def test_each_bar_is_missed_by_what_it_is_about_and_by_nothing_else(
    who: str, figures: dict[str, float], missed: list[str]
) -> None:
    base = replace(COST, cpu_us=100.0) if who == "aiohttp" else COST
    judged = bars(**{who: replace(base, **figures)})  # type: ignore[arg-type]  # of several types
    names = [name for name, holds in judged.items() if not holds]
    assert len(names) == len(missed)
    assert all(part in name for part, name in zip(missed, names, strict=True))


def test_a_bar_that_was_not_measured_does_not_hold() -> None:
    assert Bar("exact", 2.0, 2.0).holds
    assert not Bar("unknown", math.nan, 2.0).holds


def test_parts_are_put_beside_each_other_as_json_that_everybody_reads(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    put(path, Part("parts", Table("one", ("a",)), {"late_ms": [1.0, math.inf]}), ["trio"])
    put(path, Part("parts", Table("two", ("a",)), {"late_ms": 2.0}), ["trio"])

    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    kept = json.loads(path.read_text(), parse_constant=refuse)["parts"]
    assert kept == {"one": {"late_ms": [1.0, None]}, "two": {"late_ms": 2.0}}


def test_a_table_reads_the_same_in_a_terminal_and_in_markdown() -> None:
    table = Table("title", ("CPU us", "lost"))
    table.add("relay", "51.2", "0")
    assert table.text().split() == ["title", "CPU", "us", "lost", "relay", "51.2", "0"]
    assert markdown(table.rows) == "|  | CPU us | lost |\n|---|--:|--:|\n| relay | 51.2 | 0 |"
    with pytest.raises(ValueError, match="does not fit"):
        table.add("relay", "51.2")


@pytest.mark.parametrize(("text", "nice"), [("/autogroup-2964 nice -10\n", -10), ("", None), (None, None)])
def test_a_session_without_an_autogroup_can_be_measured(tmp_path: Path, text: str | None, nice: int | None) -> None:
    file = tmp_path / "autogroup"
    if text is not None:
        file.write_text(text)
    assert nice_of_autogroup(file) == nice
