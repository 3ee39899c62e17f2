"""docs/configuration.md lists what there is, no more and no less, with the defaults that hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from relay.config import DEFAULTS, ENVIRONMENT_ONLY, FIELDS, variable

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "configuration.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", PAGE, flags=re.MULTILINE))


def test_the_page_lists_exactly_the_settings_that_exist() -> None:
    assert sorted(ROWS) == sorted(FIELDS)


@pytest.mark.parametrize("field", FIELDS)
def test_the_page_gives_the_default(field: str) -> None:
    default = getattr(DEFAULTS, field)
    if field == "instructions":
        assert ROWS[field] == "a friendly voice assistant"
    elif field == "instructions_file" or default in (None, ()):
        assert ROWS[field] == "none"
    else:
        shown = str(default).lower() if isinstance(default, bool) else default
        assert ROWS[field] == f"`{shown}`" if default != "" else '`""`'


@pytest.mark.parametrize("field", ENVIRONMENT_ONLY)
def test_the_page_names_the_variable_of_each_key(field: str) -> None:
    assert f"`{variable(field)}`" in PAGE
