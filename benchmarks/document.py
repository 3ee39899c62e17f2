"""Puts the recorded tables into docs/performance.md: `python -m benchmarks.document`.

There, a line `<!-- results: FILE, TITLE -->` stands before each table and `<!-- end -->` behind it; the title "machine"
stands for what was measured on. Everything between is written anew from results/FILE.json.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.records import markdown

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
PLACE = re.compile(r"(<!-- results: (\w+), (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """The text with each table as it is recorded."""

    def fill(place: re.Match[str]) -> str:
        before, file, title, after = place.groups()
        results = json.loads((RESULTS / f"{file}.json").read_text())
        return f"{before}{recorded(results, title)}\n{after}"

    return PLACE.sub(fill, text)


def recorded(results: Mapping[str, Any], title: str) -> str:
    """What stands under that title."""
    if title == "machine":
        return machine_line(results["machine"])
    rows = results["tables"].get(title)
    return markdown(rows) if rows else f"({title}: not recorded yet)"


def machine_line(machine: Mapping[str, Any]) -> str:
    """Processor, kernel and versions as a sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    system = f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}"
    return f"{system}; {versions}."


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    DOCUMENT.write_text(filled(DOCUMENT.read_text()))
