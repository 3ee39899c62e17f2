"""What the benchmarks leave behind: a table to read, and every figure in a JSON file with the machine it belongs to."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import machine


class Table:
    """A title, columns, and rows with a name each."""

    def __init__(self, title: str, columns: Sequence[str]) -> None:
        self.title = title
        self.rows: list[Sequence[str]] = [("", *columns)]

    def add(self, *cells: str) -> None:
        """Add a row: its name, and one cell for each column."""
        if len(cells) != len(self.rows[0]):
            raise ValueError(f"{cells} does not fit {self.rows[0]}")
        self.rows.append(cells)

    def text(self) -> str:
        """For a terminal."""
        widths = [max(map(len, column)) for column in zip(*self.rows, strict=True)]
        lines = []
        for name, *cells in self.rows:
            right = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
            lines.append("  ".join([name.ljust(widths[0]), *right]).rstrip())
        return "\n".join([self.title, *lines])


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a table, the first one its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---|" + "--:|" * (len(rows[0]) - 1), *lines[1:]])


@dataclass(frozen=True)
class Part:
    """One part of a benchmark: where its figures belong in the file, the table, and the figures."""

    section: str
    table: Table
    values: Any


def put(path: Path, part: Part, libraries: Sequence[str]) -> dict[str, Any]:
    """Put the figures into the file, beside the other parts, and return all of it."""
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    results["machine"] = machine(libraries)
    results.setdefault(part.section, {})[part.table.title] = _finite(part.values)
    results.setdefault("tables", {})[part.table.title] = part.table.rows
    path.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
    return results


def _finite(value: Any) -> Any:
    """JSON knows no infinity: the delay of frames that never came is null."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
