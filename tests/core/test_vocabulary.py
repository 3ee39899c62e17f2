"""The tables of relay/core/vocabulary.py against vocabulary_facts.json: names and fields of OpenAI's own SDK types.

GA as of openai 3.52.0, beta as of openai 1.100.0. What an API is known to send beyond its SDK's types stands apart.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay.core.vocabulary import BETA, GA, Table, Vocabulary

FACTS: dict[str, Any] = json.loads(Path(__file__).with_name("vocabulary_facts.json").read_text())
BEYOND: dict[str, Any] = FACTS["beyond_the_sdk"]


def written(table: Table) -> dict[str, Any]:
    return {
        name: {"required": sorted(fields.required), "optional": sorted(fields.optional)}
        for name, fields in table.items()
    }


@pytest.mark.parametrize(("name", "dialect"), [("ga", GA), ("beta", BETA)])
def test_every_event_has_the_fields_that_the_reference_gives_it(name: str, dialect: Vocabulary) -> None:
    assert written(dialect.client) == FACTS[name]["client"]
    assert written(dialect.server) == FACTS[name]["server"] | BEYOND.get(name, {}).get("server", {})


@pytest.mark.parametrize(("name", "dialect"), [("ga", GA), ("beta", BETA)])
def test_every_object_knows_the_fields_of_all_its_variants(name: str, dialect: Vocabulary) -> None:
    facts = {
        kind: {field for variant in variants.values() for field in variant["required"] + variant["optional"]}
        for kind, variants in FACTS[name]["objects"].items()
    }
    assert {kind: set(fields.known) for kind, fields in dialect.objects.items()} == facts
