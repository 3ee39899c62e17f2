"""The packages of real clients, unmodified, from PyPI and npm, and their programs run as processes.

Installed once into build/clients (`make clean` removes it), one folder for each set of requirements; a folder is there
only when it is complete, so an installation that was interrupted is done again. Node and npm come with the tests' own
requirements. Without a package index the tests are skipped; with CI=true that is an error, for a skipped test would be
one that nobody ran.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.processes import ROOT, RelayProcess, clean_environment

CACHE = ROOT / "build" / "clients"
PROGRAMS = Path(__file__).resolve().parent / "programs"
INSTALL_DEADLINE_S = 240.0
TALK_DEADLINE_S = 40.0

GA_PYTHON = ("openai[realtime]==3.52.0", "openai-agents==0.24.0")
BETA_PYTHON = ("openai[realtime]==1.100.0",)
NODE = ("@openai/agents-realtime@0.20.0", "openai-realtime-api@1.0.8", "openai@7.55.0", "ws@8.23.0", "zod@4")


def python_packages(requirements: tuple[str, ...]) -> Path:
    """Give a folder with these packages and what they need, for PYTHONPATH."""

    def install(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
        _run([*pip, *requirements])

    return _installed(f"python{sys.version_info[0]}.{sys.version_info[1]}", requirements, install)


def node_packages(requirements: tuple[str, ...]) -> Path:
    """Give a folder with these packages in its node_modules."""

    def install(folder: Path) -> None:
        (folder / "package.json").write_text('{"private": true, "type": "module"}')
        _run([_beside_python("npm"), "install", "--no-audit", "--no-fund", "--prefix", str(folder), *requirements])

    return _installed("node", requirements, install)


def run_python(
    program: str, requirements: tuple[str, ...], relay: RelayProcess, speech: Path, env: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Run programs/PROGRAM with these packages; give what it wrote, one JSON object a line."""
    folder = python_packages(requirements)
    return _talk([sys.executable, str(PROGRAMS / program)], relay, speech, {"PYTHONPATH": str(folder), **(env or {})})


def run_node(program: str, relay: RelayProcess, speech: Path) -> list[dict[str, Any]]:
    """Run programs/PROGRAM in the folder of the packages, where node looks for them."""
    folder = node_packages(NODE)
    for file in PROGRAMS.glob("*.mjs"):
        shutil.copy(file, folder)
    return _talk([_beside_python("node"), str(folder / program)], relay, speech, {})


def _beside_python(tool: str) -> str:
    """Give the path of a program that was installed with the Python that runs the tests."""
    return str(Path(sys.executable).with_name(tool))


def _talk(command: list[str], relay: RelayProcess, speech: Path, extra: dict[str, str]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [*command, f"127.0.0.1:{relay.port}", str(speech)],
        capture_output=True,
        env={**clean_environment(), **extra},
        timeout=TALK_DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr.decode()[-4_000:]}\nrelay said:\n{relay.stderr[-2_000:]}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def _installed(kind: str, requirements: tuple[str, ...], install: Callable[[Path], None]) -> Path:
    name = hashlib.sha256(" ".join(requirements).encode()).hexdigest()[:12]
    folder = CACHE / f"{kind}-{name}"
    if not folder.is_dir():
        started = folder.with_name(f"{folder.name}.{os.getpid()}")
        started.mkdir(parents=True)
        try:
            install(started)
            started.rename(folder)
        finally:
            shutil.rmtree(started, ignore_errors=True)
    return folder


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, capture_output=True, check=True, timeout=INSTALL_DEADLINE_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        _missing(f"{' '.join(command)} failed: {(error.stderr or b'').decode()[-1_000:]}")


def _missing(message: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        raise AssertionError(message)
    pytest.skip(message)
