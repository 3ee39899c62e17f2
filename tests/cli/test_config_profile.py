"""Which upstream is meant by what, what its profile brings along, and what cannot be meant."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from relay.cli import serve
from relay.config import Config, Secret
from relay.config_sources import load
from relay.core.supports import EVENTS, RECORDINGS
from relay.errors import ConfigError
from relay.operators_session import session_update
from relay.profiles import PROFILES, Lack, Name
from relay.target import target_for

OPENAI_KEY = {"OPENAI_API_KEY": "sk-openai"}
KEY = {"RELAY_UPSTREAM_KEY": "upstream-key"}
AZURE = "wss://my-resource.openai.azure.com"
MODEL = {"model": "mine"}


COMMAND_LINE = {str(option.name): None for option in serve.params}
"""Nothing was typed."""


def refusal(flags: dict[str, Any], environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as refused:
        load({**COMMAND_LINE, **flags}, environ or {})
    return refused.value.public


@pytest.mark.parametrize(
    ("flags", "environ", "name"),
    [
        ({}, {}, "openai"),
        ({}, OPENAI_KEY, "openai"),
        ({"upstream": "wss://eu.api.openai.com/v1/realtime"}, OPENAI_KEY, "openai"),
        ({"upstream": AZURE, **MODEL}, KEY, "azure"),
        ({"upstream": "wss://my-resource.services.ai.azure.com/openai/v1/realtime", **MODEL}, KEY, "azure"),
        ({"upstream": "xai"}, {}, "xai"),
        ({"upstream": "wss://API.x.ai/v1/realtime"}, {}, "xai"),
        ({"upstream": "wss://dashscope.aliyuncs.com/api-ws/v1/realtime"}, {}, "qwen"),
        ({"upstream": "wss://dashscope-intl.aliyuncs.com"}, {}, "qwen"),
        ({"upstream": "localai", **MODEL}, {}, "localai"),
        ({"profile": "xai"}, {}, "xai"),
        ({"upstream": "ws://127.0.0.1:8001", "profile": "speaches", **MODEL}, {}, "speaches"),
        ({"upstream": "wss://voice.example/v1/realtime"}, {}, "custom"),
        ({"upstream": "wss://api.x.ai.voice.example/v1/realtime"}, {}, "custom"),
        ({"upstream": "wss://a.openai.azure.com.voice.example/"}, {}, "custom"),
        ({"upstream": "wss://api.x.ai/v1/realtime", "profile": "custom"}, {}, "custom"),
        ({"upstream": "simulator", "profile": "qwen"}, {}, "qwen"),
        ({"upstream": "simulator"}, OPENAI_KEY, "openai"),
    ],
)
def test_the_profile_follows_from_the_name_or_the_host_unless_it_is_named(
    flags: dict[str, Any], environ: dict[str, str], name: str
) -> None:
    assert load(flags, environ).upstream_profile.name == name


def test_every_profile_that_may_be_named_is_in_the_table_under_its_name() -> None:
    assert tuple(PROFILES) == get_args(Name)
    assert all(profile.name == name for name, profile in PROFILES.items())


def test_every_word_for_what_is_lacking_has_an_effect() -> None:
    audio = session_update(Config())["session"]["audio"]
    fields = {"transcription", "noise_reduction", "speed"}
    assert fields <= audio["input"].keys() | audio["output"].keys()
    assert set(get_args(Lack)) == fields | {RECORDINGS, *EVENTS.values()}


PAGE = (Path(__file__).resolve().parents[2] / "docs" / "profiles.md").read_text()
ROWS = re.findall(
    r"^\| `(\w+)` \| (.*) \| (.*) \| `(\w+)`.* \| (\d+) kHz \| (\d+) kHz \| (.*)\|$", PAGE, flags=re.MULTILINE
)


def test_the_page_has_a_row_for_each_profile() -> None:
    assert [row[0] for row in ROWS] == list(PROFILES)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_page_says_of_each_profile_what_the_table_does(row: tuple[str, ...]) -> None:
    name, address, key, dialect, hears, speaks, lacks = row
    profile = PROFILES[name]
    assert (profile.url or profile.path) in address
    assert profile.auth in key
    assert (profile.dialect, profile.input_rate_hz, profile.output_rate_hz) == (
        dialect, int(hears) * 1_000, int(speaks) * 1_000,
    )  # fmt: skip
    assert profile.lacks == set(re.findall(r"`(\w+)`", lacks))


@pytest.mark.parametrize(
    ("upstream", "target"),
    [
        (AZURE, "/openai/v1/realtime?model=mine"),
        (f"{AZURE}/openai/v1/realtime", "/openai/v1/realtime?model=mine"),
        (f"{AZURE}/openai/v1/realtime?model=theirs", "/openai/v1/realtime?model=theirs"),
        ("wss://dashscope-intl.aliyuncs.com", "/api-ws/v1/realtime?model=mine"),
        ("xai", "/v1/realtime?model=mine"),
        ("wss://voice.example", "/?model=mine"),
    ],
)
def test_a_url_without_a_path_gets_that_of_its_profile(upstream: str, target: str) -> None:
    config = load({"upstream": upstream, **MODEL}, KEY)
    assert target_for(config, config.upstream_url).address.target == target


@pytest.mark.parametrize(
    ("flags", "environ", "header"),
    [
        ({"upstream": "openai"}, OPENAI_KEY | KEY, ("Authorization", "Bearer sk-openai")),
        ({"upstream": AZURE, **MODEL}, OPENAI_KEY | KEY, ("api-key", "upstream-key")),
        (
            {"upstream": AZURE, **MODEL},
            KEY | {"RELAY_UPSTREAM_AUTH": "bearer"},
            ("Authorization", "Bearer upstream-key"),
        ),
        ({"upstream": "xai"}, OPENAI_KEY | KEY, ("Authorization", "Bearer upstream-key")),
        ({"upstream": "wss://voice.example"}, KEY | {"RELAY_UPSTREAM_AUTH": "api-key"}, ("api-key", "upstream-key")),
        ({"upstream": "xai"}, OPENAI_KEY, None),
        ({"upstream": "wss://voice.example", "profile": "openai"}, OPENAI_KEY, None),
    ],
)
async def test_each_upstream_is_told_its_own_key_in_its_own_header(
    flags: dict[str, Any], environ: dict[str, str], header: tuple[str, str] | None
) -> None:
    config = load(flags, environ)
    target = target_for(config, config.upstream_url)
    assert target.headers(await target.credentials.current()) == ([] if header is None else [header])


def test_openais_names_are_not_the_defaults_elsewhere_and_what_is_given_stands() -> None:
    xai = load({"upstream": "xai"}, {})
    assert (xai.model, xai.voice, xai.transcription_model) == ("grok-voice-latest", "", "")
    assert "voice" not in session_update(xai)["session"]["audio"]["output"]
    given = load({"upstream": "xai", "voice": "eve"}, {"RELAY_TRANSCRIPTION_MODEL": "some"})
    assert (given.model, given.voice, given.transcription_model) == ("grok-voice-latest", "eve", "some")
    assert session_update(given)["session"]["audio"]["output"]["voice"] == "eve"


def test_what_the_operator_knows_better_takes_the_place_of_the_profile(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(
        'upstream = "wss://voice.example/"\nupstream_dialect = "xai"\nupstream_auth = "api-key"\n'
        "upstream_input_rate_hz = 8000\nupstream_output_rate_hz = 48000\n"
        'upstream_lacks = ["truncate", "transcription"]\n'
    )
    profile = load({"config": str(path)}, {}).upstream_profile
    assert (profile.dialect, profile.auth, profile.input_rate_hz, profile.output_rate_hz, profile.lacks) == (
        "xai", "api-key", 8_000, 48_000, frozenset({"truncate", "transcription"}),
    )  # fmt: skip
    update = session_update(load({"config": str(path)}, {}))["session"]["audio"]
    assert "transcription" not in update["input"]
    assert [update[side]["format"]["rate"] for side in ("input", "output")] == [8_000, 48_000]


def test_lacks_in_the_environment_are_separated_by_commas() -> None:
    environ = {"RELAY_UPSTREAM": "wss://voice.example/", "RELAY_UPSTREAM_LACKS": "cancel, clear"}
    assert load({}, environ).upstream_profile.lacks == {"cancel", "clear"}


def test_a_token_command_makes_azures_auth_bearer() -> None:
    config = load({"upstream": AZURE, **MODEL}, {"RELAY_UPSTREAM_TOKEN_COMMAND": "az account get-access-token"})
    assert config.upstream_profile.auth == "bearer"
    assert target_for(config, AZURE).headers(Secret("tok")) == [("Authorization", "Bearer tok")]


OVERRIDE = "RELAY_UPSTREAM_"


@pytest.mark.parametrize(
    ("flags", "environ", "complaint"),
    [
        ({"upstream": "azure"}, {}, "--upstream: azure cannot be named without a URL; its address is your resource's:"),
        ({"profile": "azure"}, {}, "--profile: azure needs its URL (--upstream); its address is your resource's:"),
        ({"profile": "speaches"}, {}, "--profile: speaches needs its URL (--upstream); its address is yours:"),
        ({"profile": "custom"}, {}, "--profile: custom needs its URL (--upstream); its address is yours:"),
        ({"profile": "custom", "upstream": "simulator"}, {}, "--profile: the simulator plays every profile but custom"),
        ({"profile": "openai"}, {}, "--upstream: OpenAI needs a key; set OPENAI_API_KEY"),
        ({"upstream": "localai"}, {}, "--model: localai needs a model:"),
        ({"upstream": AZURE}, KEY, "--model: azure needs a model:"),
        ({"upstream": AZURE, **MODEL}, {}, "--upstream: Azure needs a key (RELAY_UPSTREAM_KEY) or a token"),
        ({"upstream": f"{AZURE}/openai/realtime?api-version=1", **MODEL}, KEY, "--upstream: this is Azure's preview;"),
        ({"upstream": "wss://api.x.ai/", "profile": "qwen"}, {}, "--profile: the upstream's host is xai's;"),
        ({"upstream": "openai"}, OPENAI_KEY | {f"{OVERRIDE}INPUT_RATE_HZ": "16000"}, "OpenAI's audio has 24000 Hz"),
        ({"upstream": "openai"}, OPENAI_KEY | {f"{OVERRIDE}AUTH": "api-key"}, "OpenAI takes its key as bearer"),
        ({"upstream": "openai"}, OPENAI_KEY | {f"{OVERRIDE}TOKEN_COMMAND": "az"}, "OpenAI takes the key of OPENAI_API"),
        ({"upstream": "xai"}, KEY | {f"{OVERRIDE}AUTH": "none"}, "RELAY_UPSTREAM_KEY is set and would not be sent;"),
        ({"upstream": "xai"}, KEY | {f"{OVERRIDE}TOKEN_COMMAND": "az"}, "not together with RELAY_UPSTREAM_KEY:"),
        (
            {"upstream": "xai"},
            {f"{OVERRIDE}TOKEN_COMMAND": "az", f"{OVERRIDE}AUTH": "api-key"},
            "a token is presented as bearer, not as api-key",
        ),
        ({"upstream": "xai"}, {f"{OVERRIDE}TOKEN_COMMAND": "az 'x"}, "a quotation mark is not closed;"),
        ({"upstream": "xai"}, {f"{OVERRIDE}TOKEN_COMMAND": "  "}, "expected a command such as az"),
        ({"upstream": "xai"}, {f"{OVERRIDE}OUTPUT_RATE_HZ": "7999"}, "expected 0 (the profile's), or at least 8000 Hz"),
        ({"upstream": "xai"}, {f"{OVERRIDE}LACKS": "ears"}, "expected a list of cancel, truncate, retrieve,"),
        ({"upstream": "qwen"}, {"RELAY_VAD_SILENCE_DURATION_MS": "199"}, "qwen takes 200 to 6000"),
        ({"upstream": "qwen"}, {"RELAY_VAD_SILENCE_DURATION_MS": "6001"}, "qwen takes 200 to 6000"),
        ({"upstream": "simulator"}, {f"{OVERRIDE}LACKS": "clear"}, "the simulator follows its profile;"),
    ],
)
def test_what_cannot_work_is_refused_with_what_would(
    flags: dict[str, Any], environ: dict[str, str], complaint: str
) -> None:
    text = refusal(flags, environ)
    assert complaint in text
    assert "\n" not in text


def test_push_to_talk_has_no_pause_that_could_be_too_short() -> None:
    environ = {"RELAY_VAD_SILENCE_DURATION_MS": "100", "RELAY_TURN_DETECTION": "none"}
    assert load({"upstream": "qwen"}, environ).vad_silence_duration_ms == 100
