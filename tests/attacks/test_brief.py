"""`make attack` and `make soak` for a few seconds each: they find what breaks at once, the long runs what adds up."""

from __future__ import annotations

import pytest

from tests.attacks.fuzz import fuzz
from tests.attacks.soak import soak


@pytest.mark.timeout(180)
async def test_mutated_handshakes_and_frames_do_not_kill_a_relay_or_stay_in_it() -> None:
    run = await fuzz(600, seed=1)
    assert run.handshakes >= 50
    assert run.frames >= 400


@pytest.mark.timeout(180)
async def test_sessions_that_come_and_go_give_everything_back() -> None:
    run = await soak(3.0, at_once=10, seed=1)
    assert run.sessions > 100
    assert run.before == run.after
    assert run.growth_mib < 8.0
