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


def test_frames_of_one_sample_count_with_their_whole_length() -> None:
    client = started(192_000)
    audio = [part for _ in range(960) for part in client.message(bytes(4), 0.0).audio]
    assert 0 < len(audio) <= 120, "eight samples at 192 kHz are one at 24 kHz"
    assert sum(audio_ms for _, audio_ms in audio) == pytest.approx(5.0, abs=0.1)
    client.close()
