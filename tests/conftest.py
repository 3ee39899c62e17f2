"""What all tests share: nothing of whoever runs them reaches a test, and nothing of a test reaches the next.

The hard deadline of each test is pytest-timeout's (pyproject.toml). Real processes are in tests/processes.py.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from relay import log

# The same examples in every run: a test passes or fails for what was changed, not by luck, and not because a machine
# was busy. Searching for new examples is the fuzzers' work (make -C native fuzz), or HYPOTHESIS_PROFILE=search.
settings.register_profile(
    "repeat", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("search", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the keys and settings of the person who runs the tests: a test must not depend on them, or use them."""
    for name in list(os.environ):
        if name.startswith(("RELAY_", "OPENAI_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Undo `log.configure` and `log.hide`: both change the whole process."""
    root, warned = logging.getLogger(), logging.getLogger("py.warnings")
    handlers, level, warned_level = list(root.handlers), root.level, warned.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    log.forget()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    warned.setLevel(warned_level)
