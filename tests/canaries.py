"""The secrets that every relay under test is given, and the watch that none of them gets out.

Each process that `tests.processes.relay_process` starts has canaries for keys, or the secrets that the test chose for
it. `canary_watch.c`, loaded into it by LD_PRELOAD, searches every byte that it writes, to whatever peer, pipe or file,
by Python or by C, before TLS encrypts it; what was found fails the test when the process has ended.

The upstream is told its key: where relay has dialled, that is no leak. Server token and ticket secret go nowhere.
"""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("canary_watch.c")
BUILT = SOURCE.parent.parent / "build" / "tests" / "canary_watch.so"
SHORTEST = 12
"""A shorter secret could be part of anything."""

OWN = {
    "RELAY_SERVER_TOKEN": "canary-server-token-9c1d7e5a3b2f4860",
    "RELAY_TICKET_SECRET": "canary-ticket-secret-5b8e2a7d4c9f1036",
}
UPSTREAM = {"RELAY_UPSTREAM_KEY": "canary-upstream-key-2f6c8a1e9d7b4035"}
OPENAI = {"OPENAI_API_KEY": "sk-canary-openai-key-7d3b9e5c1a8f2064"}
CREDENTIALS = ("_KEY", "_TOKEN", "_SECRET")


@dataclass(frozen=True)
class Canaries:
    """What one process is given, and where it is reported that one of them got out."""

    secrets: Mapping[str, str]
    report: Path

    def environment(self) -> dict[str, str]:
        """Give what the process needs in its environment."""
        return {
            "CANARY_NEVER": "\n".join(self._watched(is_own=True)),
            "CANARY_UPSTREAM": "\n".join(self._watched(is_own=False)),
            "CANARY_REPORT": str(self.report),
            "LD_PRELOAD": str(built_watch()),
        }

    def _watched(self, *, is_own: bool) -> list[str]:
        texts = [text for name, text in self.secrets.items() if (name in OWN) == is_own]
        return [one for text in texts for one in text.split(",") if len(one) >= SHORTEST]

    def check(self) -> None:
        """Raise AssertionError if one got out."""
        assert not self.report.exists(), f"secrets got out:\n{self.report.read_text()}"


def plant(args: Sequence[str], env: Mapping[str, str], folder: Path) -> tuple[Canaries, dict[str, str]]:
    """Choose canaries for a relay with these arguments and settings; return them, and the settings with them.

    What a test sets itself stays as it is, also if it is empty.
    """
    given = {name: text for name, text in env.items() if name.endswith(CREDENTIALS)}
    planted: dict[str, str] = {}
    if not given.keys() & OWN.keys():
        planted |= OWN | ({} if "RELAY_TICKETS" in env else {"RELAY_TICKETS": "off"})
    planted |= UPSTREAM
    if "--upstream" in args or "RELAY_UPSTREAM" in env:  # without one, a key for OpenAI says who the upstream is
        planted |= OPENAI
    settings = {**planted, **env}
    secrets = {name: text for name, text in settings.items() if name.endswith(CREDENTIALS)}
    canaries = Canaries(secrets, folder / "canaries-that-got-out")
    return canaries, {**settings, **canaries.environment()}


@functools.cache
def built_watch() -> Path:
    """Compile the watch, once; several processes may do it at the same time."""
    if not BUILT.exists() or BUILT.stat().st_mtime < SOURCE.stat().st_mtime:
        BUILT.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT.parent) as folder:
            fresh = Path(folder) / BUILT.name
            compiler = os.environ.get("CC", "cc")
            flags = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror")
            subprocess.run([compiler, *flags, "-o", fresh, SOURCE, "-ldl"], check=True)
            fresh.replace(BUILT)
    return BUILT
