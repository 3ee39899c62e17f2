"""What every test here is run over: both roles, and bytes that arrive whole or one by one."""

from __future__ import annotations

import pytest

from tests.peers import Role


@pytest.fixture(params=["server", "client"])
def role(request: pytest.FixtureRequest) -> Role:
    role: Role = request.param
    return role


@pytest.fixture(params=[False, True], ids=["whole", "dripped"])
def dripped(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)
