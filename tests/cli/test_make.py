"""When make sets up .venv: asked with --dry-run, in folders that look like a checkout after its first `make serve`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a .venv that was made there, in a place whose name has blanks and an apostrophe in it."""
    here = tmp_path / "Ann's talking machine"
    (here / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", here)
    (here / "pyproject.toml").touch()
    (here / ".venv" / "bin" / "python").touch()
    (here / ".venv" / "pyvenv.cfg").write_text(f"version = 3.11.2\ncommand = python3 -m venv --clear {here}/.venv\n")
    os.utime(here / "pyproject.toml", (0, 0))
    os.utime(here / ".venv" / "bin" / "python", (0, 0))
    (here / ".venv" / ".installed").touch()
    return here


def steps(here: Path, *args: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--dry-run", *args]
    return subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, timeout=20, check=True).stdout


def test_the_second_start_only_starts(checkout: Path) -> None:
    assert steps(checkout, "serve").split() == ["exec", ".venv/bin/relay", "serve"]


def test_a_change_of_what_is_built_installs_again(checkout: Path) -> None:
    os.utime(checkout / "pyproject.toml")
    os.utime(checkout / ".venv" / ".installed", (1, 1))
    assert "pip install" in steps(checkout, "serve")
    assert "-m venv" not in steps(checkout, "serve")


@pytest.mark.parametrize("how", [shutil.move, shutil.copytree])
def test_a_checkout_that_was_moved_or_copied_does_not_use_the_old_place(
    checkout: Path, how: Callable[[Path, Path], object]
) -> None:
    there = checkout.with_name("there")
    how(checkout, there)
    planned = steps(there, "serve")
    assert planned.index("-m venv --clear .venv") < planned.index("pip install") < planned.index("relay serve")


def test_a_venv_that_does_not_say_where_it_was_made_is_left_alone(checkout: Path) -> None:
    (checkout / ".venv" / "pyvenv.cfg").write_text("version = 3.11.2\n")
    assert "-m venv" not in steps(checkout, "serve")
