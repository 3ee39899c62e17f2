"""Secrets that an upstream repeats do not come further than its leg."""

from __future__ import annotations

import base64
import json
import os

import pytest

from relay.config import Secret
from relay.mask import Mask


@pytest.mark.parametrize(
    "secret", ["sk-canary-0123456789", "onlyletters0123", 'odd/"quoted"\\text', "a.b.c_d", "+/=+/=+/="]
)
def test_a_secret_is_taken_out_wherever_it_stands(secret: str) -> None:
    text = json.dumps({"type": "x", "a": f"Bearer {secret}", "b": [secret]})
    shown = json.loads(Mask([None, Secret("another-one"), Secret(secret)])(text))
    assert shown == {"type": "x", "a": "Bearer [hidden]", "b": ["[hidden]"]}


def test_a_slash_may_be_escaped() -> None:
    assert Mask([Secret("a/b/c/d/e")])(r'"a\/b\/c\/d\/e"') == '"[hidden]"'


@pytest.mark.parametrize("secret", ["a&b-0123456789", "<only>letters&0123", "&&&&&&&&"])
def test_what_html_minds_may_be_escaped_as_go_does(secret: str) -> None:
    text = json.dumps({"a": secret})
    for character in "&<>":
        text = text.replace(character, f"\\u{ord(character):04x}")
    assert json.loads(text) == {"a": secret}
    assert Mask([Secret(secret)])(text) == '{"a": "[hidden]"}'


def test_a_secret_that_holds_another_is_hidden_whole() -> None:
    assert Mask([Secret("sk-abcdefgh"), Secret("sk-abcdefgh-longer")])('"sk-abcdefgh-longer"') == '"[hidden]"'


def test_audio_passes_as_it_came() -> None:
    text = json.dumps({"delta": base64.b64encode(os.urandom(1_200)).decode()})
    assert Mask([Secret("sk-canary-0123456789"), Secret("onlyletters0123")])(text) == text
