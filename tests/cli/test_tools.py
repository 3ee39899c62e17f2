"""tools.sh where things are missing: root has them installed, others read one line. The machine is a fake."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.processes import ROOT

PYTHON = """\
case $2 in
    *ensurepip*) [ -e "$HERE/installed-python3.12-venv" ] ;;
    *Python.h*) [ -e "$HERE/installed-python3.12-dev" ] ;;
    *version_info*) echo 3.12 ;;
    *CC*) echo 'fake-cc -pthread' ;;
esac
"""
COMPILER = 'case "$*" in *fsyntax-only*) [ -e "$HERE/installed-libc6-dev" ] ;; esac'
APT_GET = """\
echo "$@" >> "$HERE/asked"
for package; do :; done
[ "$1" = update ] && touch "$HERE/updated"
[ "$1" != install ] || { [ -e "$HERE/updated" ] && : > "$HERE/installed-$package"; }
"""


@dataclass(frozen=True)
class Machine:
    """A Debian with Python and a compiler alone: no headers, no venv module, no package lists yet."""

    here: Path

    def tools(self, *args: str, **settings: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": str(self.here / "bin"), "HERE": str(self.here), "PYTHON": "python3", **settings}
        command = ["/bin/sh", str(ROOT / "tools.sh"), *args]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=False)

    def has(self, program: str, script: str) -> None:
        path = self.here / "bin" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.has("id", "echo 0")
    machine.has("python3", PYTHON)
    machine.has("fake-cc", COMPILER)
    machine.has("apt-get", APT_GET)
    machine.has("touch", ': > "$1"')
    return machine


def test_root_has_what_building_needs_installed(machine: Machine) -> None:
    done = machine.tools("build")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name.removeprefix("installed-") for path in machine.here.glob("installed-*")} == {
        "libc6-dev",
        "python3.12-dev",
        "python3.12-venv",
    }


def test_nothing_is_installed_twice(machine: Machine) -> None:
    machine.tools("build")
    (machine.here / "asked").unlink()
    done = machine.tools("build")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (machine.here / "asked").exists()


@pytest.mark.parametrize(("program", "script"), [("id", "echo 1000"), ("apt-get", "exit 1")])
def test_where_nothing_can_be_installed_one_line_says_how_to_get_it(
    machine: Machine, program: str, script: str
) -> None:
    machine.has(program, script)
    done = machine.tools("build")
    packages = "libc6-dev python3.12-dev python3.12-venv"
    assert done.returncode == 1
    assert done.stderr == f"Missing to build relay: {packages}. Install with: apt-get install {packages}\n"


def test_a_missing_compiler_is_named_too(machine: Machine) -> None:
    machine.has("id", "echo 1000")
    (machine.here / "bin" / "fake-cc").unlink()
    assert "apt-get install gcc libc6-dev python3.12-dev" in machine.tools("build").stderr


def test_tests_without_their_programs_go_on_except_in_ci(machine: Machine) -> None:
    machine.has("id", "echo 1000")
    done = machine.tools("test")
    assert done.returncode == 0
    assert done.stderr.startswith("Missing for the tests: chromium valgrind clang")
    assert machine.tools("test", CI="true").returncode == 1


def test_it_says_whether_a_program_is_there(machine: Machine) -> None:
    assert machine.tools("has", "valgrind").returncode != 0
    machine.has("valgrind", "")
    assert machine.tools("has", "valgrind").returncode == 0
