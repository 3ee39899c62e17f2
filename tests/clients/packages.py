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
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any, NoReturn

import pytest

from tests.processes import ROOT, clean_environment

CACHE = ROOT / "build" / "clients"
PROGRAMS = Path(__file__).resolve().parent / "programs"
INSTALL_DEADLINE_S = 240.0
TALK_DEADLINE_S = 90.0

GA_PYTHON = ("openai[realtime]==3.52.0", "openai-agents==0.24.0")
BETA_PYTHON = ("openai[realtime]==1.100.0",)
NODE = ("@openai/agents-realtime@0.20.0", "openai-realtime-api@1.0.8", "openai@7.55.0", "ws@8.23.0", "zod@4")

Events = list[dict[str, Any]]


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


@dataclass(frozen=True)
class Job:
    """What a program is to do: whom to call with which key, and what to say there.

    `speech` is a file of PCM16 at 24 kHz; `story` a text whose reading takes long; `asks` a text that names a tool, and
    `tool_says` what the tool returns.
    """

    host: str
    key: str
    speech: str
    story: str = ""
    asks: str = ""
    tool_says: str = ""


def run_python(program: str, requirements: tuple[str, ...], job: Job, env: Mapping[str, str] | None = None) -> Events:
    """Run programs/PROGRAM with these packages; give what it wrote, one JSON object a line."""
    folder = python_packages(requirements)
    command = [sys.executable, str(PROGRAMS / program)]
    return _talk(command, job, {"PYTHONPATH": str(folder), **(env or {})})


def run_node(program: str, job: Job, env: Mapping[str, str] | None = None) -> Events:
    """Run programs/PROGRAM with the packages beside it, where node looks for them."""
    with tempfile.TemporaryDirectory(prefix="relay-client-") as folder:
        for file in PROGRAMS.glob("*.mjs"):
            shutil.copy(file, folder)
        Path(folder, "node_modules").symlink_to(node_packages(NODE) / "node_modules")
        return _talk([_beside_python("node"), str(Path(folder, program))], job, env or {})


def _beside_python(tool: str) -> str:
    """Give the path of a program that was installed with the Python that runs the tests."""
    return str(Path(sys.executable).with_name(tool))


def _talk(command: list[str], job: Job, extra: Mapping[str, str]) -> Events:
    with tempfile.NamedTemporaryFile("w", prefix="relay-job-", suffix=".json") as file:
        json.dump(asdict(job), file)
        file.flush()
        env = {**clean_environment(), **extra}
        talk = subprocess.Popen(
            [*command, file.name], stdout=PIPE, stderr=PIPE, env=env, text=True, start_new_session=True
        )
        try:
            output, errors = talk.communicate(timeout=TALK_DEADLINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(talk.pid, signal.SIGKILL)  # node is started by a program that waits for it
            output, errors = talk.communicate()
    tail = "\n".join(line[:300] for line in output.splitlines()[-10:])
    assert talk.returncode == 0, f"exit code {talk.returncode}: {errors[-4_000:]}\nafter:\n{tail}"
    return [json.loads(line) for line in output.splitlines()]


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
