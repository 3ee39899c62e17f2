"""Every code path that this machine has, not only the one that it would choose."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from relay._native import lib
from relay.audio import native_info

LEVELS = {"c": lib.RELAY_SIMD_C, "sse2": lib.RELAY_SIMD_SSE2, "neon": lib.RELAY_SIMD_NEON, "avx2": lib.RELAY_SIMD_AVX2}
BEST = LEVELS[native_info().simd]
HERE = [name for name, level in LEVELS.items() if lib.relay_init(level) == level]
lib.relay_init(BEST)


@pytest.fixture(params=HERE)
def simd(request: pytest.FixtureRequest) -> Iterator[str]:
    """Force one level for the handles made inside the test."""
    name: str = request.param
    lib.relay_init(LEVELS[name])
    yield name
    lib.relay_init(BEST)
