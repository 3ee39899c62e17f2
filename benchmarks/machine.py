"""What was measured on: stands in every results file, without names or paths."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from pathlib import Path

from relay.audio import native_info


def machine(libraries: Sequence[str]) -> dict[str, object]:
    """Return processor, kernel and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(models),
        "simd": native_info().simd,
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in libraries},
    }
