"""The committed binding is the one that cffi makes of cdef.txt: a build needs no cffi, and nobody edits it by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BINDING = Path(__file__).parents[2] / "native" / "binding"


def test_regenerating_the_binding_changes_nothing(tmp_path: Path) -> None:
    fresh = tmp_path / "binding.c"
    subprocess.run(
        [sys.executable, "-m", "cffi.gen_src", "read-sources", "relay._native"]
        + [str(path) for path in (BINDING / "cdef.txt", BINDING / "csrc.c", fresh)],
        check=True,
        capture_output=True,
    )
    assert fresh.read_text() == (BINDING / "binding.c").read_text(), "run `make -C native binding`"
