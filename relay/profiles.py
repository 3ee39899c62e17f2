"""What each kind of upstream wants: its address, how it is told the key, its words, its rates, and what it cannot do.

A `Profile` is a row of facts, and `PROFILES` the table of those that relay knows. Which of them is meant follows from
the operator's settings (config.py), which may also put other values in the place of a row's: an upstream that relay has
never heard of is `custom` with its facts in the configuration file. docs/profiles.md is the page for people.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Name = Literal["openai", "azure", "xai", "qwen", "localai", "speaches", "custom"]

Dialect = Literal["ga", "beta", "xai"]
"""The API's names of today, those that OpenAI switched off on 2026-05-12, or today's with a session of xAI's shape."""

Auth = Literal["bearer", "api-key", "none"]
"""`Authorization: Bearer ...`, `api-key: ...`, or no key at all."""

Lack = Literal[
    "cancel", "truncate", "retrieve", "delete", "clear", "recordings", "transcription", "noise_reduction", "speed"
]
"""What an upstream may be without. The first five are client events (core/supports.py), `recordings` are user items
with audio in them, the last three are fields of the session."""

OPENAI_RATE_HZ = 24_000
"""OpenAI's PCM has this rate and no other, in both directions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kind of upstream.

    `url` is where it is unless the operator says otherwise, "" if only they know; `path` completes a URL that has none.
    `hosts` matches the host names by which it is recognised. `defaults` are settings that are not relay's usual ones
    while the operator says nothing, `needs` are settings that the operator must name. `takes_user`: it wants to know by
    a hash which user a session is for; others need not learn it. `openai_prices`: it charges what prices.toml says.
    """

    name: Name
    url: str = ""
    path: str = ""
    hosts: str = ""
    dialect: Dialect = "ga"
    auth: Auth = "bearer"
    input_rate_hz: int = OPENAI_RATE_HZ
    output_rate_hz: int = OPENAI_RATE_HZ
    lacks: frozenset[Lack] = frozenset()
    takes_user: bool = False
    openai_prices: bool = False
    min_silence_ms: int = 0
    max_silence_ms: int = 10_000
    defaults: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


_NO_NAMES = {"voice": "", "transcription_model": ""}
"""OpenAI's names mean nothing elsewhere: without a word of the operator's, the upstream speaks as it likes."""

PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            name="openai",
            url="wss://api.openai.com/v1/realtime",
            path="/v1/realtime",
            hosts=r"(?:[a-z]{2}\.)?api\.openai\.com",
            takes_user=True,
            openai_prices=True,
        ),
        Profile(
            name="azure",
            path="/openai/v1/realtime",
            hosts=r"[a-z0-9-]+\.(?:openai|services\.ai)\.azure\.com",
            auth="api-key",
            takes_user=True,
            openai_prices=True,
            needs=("model",),
        ),
        Profile(
            name="xai",
            url="wss://api.x.ai/v1/realtime",
            path="/v1/realtime",
            hosts=r"api\.x\.ai",
            dialect="xai",
            lacks=frozenset({"noise_reduction", "speed"}),
            defaults={"model": "grok-voice-latest", **_NO_NAMES},
        ),
        Profile(
            name="qwen",
            url="wss://dashscope.aliyuncs.com/api-ws/v1/realtime",
            path="/api-ws/v1/realtime",
            hosts=r"dashscope(?:-[a-z0-9]+)*\.aliyuncs\.com|(?:[a-z0-9-]+\.)+maas\.aliyuncs\.com",
            dialect="beta",
            input_rate_hz=16_000,
            lacks=frozenset({"noise_reduction", "speed"}),
            min_silence_ms=200,
            max_silence_ms=6_000,
            defaults={"model": "qwen3-omni-flash-realtime", **_NO_NAMES},
        ),
        Profile(
            name="localai",
            url="ws://127.0.0.1:8080/v1/realtime",
            path="/v1/realtime",
            defaults=_NO_NAMES,
            needs=("model",),
        ),
        Profile(
            name="speaches",
            path="/v1/realtime",
            dialect="beta",
            lacks=frozenset({"cancel", "truncate", "recordings"}),
            defaults=_NO_NAMES,
            needs=("model",),
        ),
        Profile(name="custom"),
    )
}

WITH_URL = tuple(profile.name for profile in PROFILES.values() if profile.url)
"""Those that can be named without a URL."""


def profile_of_host(host: str) -> Name | None:
    """Return the profile by which a host (lower case) is known, or None."""
    found = (profile.name for profile in PROFILES.values() if profile.hosts and re.fullmatch(profile.hosts, host))
    return next(found, None)
