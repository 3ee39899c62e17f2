from __future__ import annotations

import json

import pytest

from relay.core.client import ClientSettings
from relay.core.relay_v1 import RelayV1


def started(rate_hz: int) -> RelayV1:
    client = RelayV1(ClientSettings("relay_test", 24_000, 24_000, "server_vad", 1_000))
    one = {"encoding": "f32le", "rate_hz": rate_hz}
    client.message(json.dumps({"type": "relay.start", "audio": {"input": one, "output": one}}), 0.0)
    return client


def hear(client: RelayV1, kind: str, **fields: object) -> list[str]:
    """Let the upstream say something; return the types of what the browser is told."""
    told = client.event(json.dumps({"type": kind, "event_id": "e", **fields}), 0.0).browser
    return [json.loads(text)["type"] for text in told]


@pytest.mark.parametrize(("said", "told"), [("relay.interrupt", []), ("response.cancel", ["error"])])
def test_an_answer_that_ends_at_the_moment_of_an_interruption_is_an_error_only_to_who_cancelled_it(
    said: str, told: list[str]
) -> None:
    client = started(48_000)
    hear(client, "response.created", response={"id": "resp_1"})
    assert json.loads(client.message(json.dumps({"type": said}), 0.0).upstream[0]) == {"type": "response.cancel"}
    assert hear(client, "response.done", response={"id": "resp_1", "status": "completed"}) == ["response.done"]
    error = {"type": "invalid_request_error", "code": "response_cancel_not_active", "message": "no", "event_id": None}
    assert hear(client, "error", error=error) == told
    client.close()


def test_frames_of_one_sample_count_with_their_whole_length() -> None:
    client = started(192_000)
    audio = [part for _ in range(960) for part in client.message(bytes(4), 0.0).audio]
    assert 0 < len(audio) <= 120, "eight samples at 192 kHz are one at 24 kHz"
    assert sum(audio_ms for _, audio_ms in audio) == pytest.approx(5.0, abs=0.1)
    client.close()
