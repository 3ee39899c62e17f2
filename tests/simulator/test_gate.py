"""Who is let in, and how the others are told."""

from __future__ import annotations

import pytest

from relay.simulator.gate import Denied, Handshake

TARGET = "/v1/realtime?model=gpt-realtime-2.1"


def handshake(target: str = TARGET, *subprotocols: str, **headers: str) -> Handshake:
    return Handshake(
        target, [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()], subprotocols
    )


def denial(shake: Handshake, key: str | None = None) -> tuple[int, str]:
    with pytest.raises(Denied) as denied:
        shake.admit(key)
    return denied.value.close_code, denied.value.refusal.close_reason


def test_anybody_is_let_in_when_no_key_is_set() -> None:
    assert handshake().admit(None) == "gpt-realtime-2.1"
    assert handshake(authorization="Bearer whatever").admit(None) == "gpt-realtime-2.1"


def test_the_key_is_taken_from_the_header_or_the_subprotocol() -> None:
    assert handshake(authorization="Bearer sk-1").admit("sk-1")
    assert handshake(TARGET, "realtime", "openai-insecure-api-key.sk-1").admit("sk-1")


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer sk-2", "Basic sk-1", "Bearer sk-1x", "sk-1", "Bearer sk-\xe9"]
)
def test_a_wrong_key_is_closed_with_3000(authorization: str) -> None:
    expected = (3_000, "invalid_request_error.invalid_api_key")
    assert denial(handshake(authorization=authorization), "sk-1") == expected


def test_the_beta_is_closed_with_4000_by_header_and_by_subprotocol() -> None:
    expected = (4_000, "invalid_request_error.beta_api_shape_disabled")
    assert denial(handshake(OpenAI_Beta="realtime=v1")) == expected
    assert denial(handshake(TARGET, "realtime", "openai-beta.realtime-v1")) == expected


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "missing_model"),
        ("?model=", "missing_model"),
        ("?intent=transcription", "missing_model"),
        ("?model=gpt-4o-realtime-preview-2024-10-01", "invalid_model"),
        ("?model=nonsense", "invalid_model"),
    ],
)
def test_a_session_needs_a_model_that_exists(query: str, code: str) -> None:
    assert denial(handshake(f"/v1/realtime{query}")) == (4_000, f"invalid_request_error.{code}")


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        ((), None),
        (("realtime",), "realtime"),
        (("openai-insecure-api-key.k",), None),
        (("openai-insecure-api-key.k", "realtime"), "realtime"),
    ],
)
def test_realtime_is_selected_if_offered_and_a_key_never(offered: tuple[str, ...], selected: str | None) -> None:
    assert handshake(TARGET, *offered).subprotocol == selected


def test_no_message_repeats_a_key() -> None:
    with pytest.raises(Denied) as denied:
        handshake(authorization="Bearer sk-secret").admit("sk-right")
    assert "secret" not in denied.value.refusal.message
