"""The errors of limits, and the page that explains them to whoever writes a client."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay import errors

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "wire.md").read_text()
LIMITS = errors.LimitReached.__subclasses__()


@pytest.mark.parametrize("leaf", LIMITS)
def test_each_limit_has_a_code_and_a_close_code_of_its_own_and_both_are_documented(
    leaf: type[errors.LimitReached],
) -> None:
    assert f"| {leaf.close_code} | `{leaf.code}` |" in PAGE
    assert len({(other.code, other.close_code) for other in LIMITS}) == len(LIMITS)
    assert leaf.__name__ in (errors.__doc__ or "")


def test_a_limit_is_no_failure_of_the_upstream() -> None:
    assert not issubclass(errors.LimitReached, errors.UpstreamError)
    with pytest.raises(TypeError):
        errors.LimitReached()
