"""Which upstream is meant, and whether what is said of it fits together.

Rules: a profile's facts are guesses about somebody else's server, so the operator may put others in their place. Only
what cannot work is refused: a contradiction, or something that is known to fail. Each refusal says what would be right.
"""

from __future__ import annotations

import shlex
from collections.abc import Container, Iterator
from typing import Any
from urllib.parse import parse_qs

import msgspec

from relay.addresses import is_openai, parse_upstream
from relay.config import Config
from relay.profiles import OPENAI_RATE_HZ, PROFILES, WITH_URL, profile_of_host

MIN_RATE_HZ = 8_000

NO_URL = {
    "azure": "its address is your resource's: wss://<resource>.openai.azure.com",
    "speaches": "its address is yours: ws://127.0.0.1:<port>, or wss:// on another machine",
    "custom": "its address is yours: wss://host/path, or ws:// on this machine",
}
"""What to say of a profile that is named where a URL is needed."""

WITHOUT_VAD = "gpt-realtime-whisper"
"""A model for captions that OpenAI takes only where nobody but the client ends a turn."""

OVERRIDES = (
    "upstream_dialect",
    "upstream_auth",
    "upstream_input_rate_hz",
    "upstream_output_rate_hz",
    "upstream_lacks",
    "upstream_token_command",
)


def check_upstream(upstream: str) -> None:
    """Raise ValueError unless this can be an upstream."""
    if upstream in NO_URL:
        raise ValueError(f"{upstream} cannot be named without a URL; {NO_URL[upstream]}")
    if upstream not in ("", "simulator", *WITH_URL):
        parse_upstream(upstream)


def check_rate(rate_hz: int) -> None:
    """Raise ValueError unless this is a rate, or 0 for the profile's."""
    if 0 < rate_hz < MIN_RATE_HZ:
        raise ValueError(f"expected 0 (the profile's), or at least {MIN_RATE_HZ} Hz")


def check_command(command: str) -> None:
    """Raise ValueError unless this can be taken apart into a program and its arguments."""
    try:
        words = shlex.split(command)
    except ValueError:
        raise ValueError("a quotation mark is not closed; the command is written as for a shell") from None
    if command and not words:
        raise ValueError("expected a command such as az account get-access-token -o json")


def with_profile_defaults(config: Config, given: Container[str]) -> Config:
    """Return the settings with the profile's own defaults, where nothing was given."""
    if not config.upstream and config.profile in NO_URL:
        return config  # it will be refused
    defaults = PROFILES[config.upstream_profile.name].defaults
    fitting: dict[str, Any] = {name: value for name, value in defaults.items() if name not in given}
    return msgspec.structs.replace(config, **fitting)


def check_profile(config: Config, given: Container[str]) -> Iterator[tuple[str, str]]:
    """Find settings of the upstream that are wrong together: the name of one of them, and what is wrong."""
    yield from _check_session(config)
    if not config.upstream and config.profile in NO_URL:
        yield "profile", f"{config.profile} needs its URL (--upstream); {NO_URL[config.profile]}"
    elif config.upstream_kind == "simulator":
        yield from _check_simulator(config)
    else:
        yield from _check_address(config, given)
        yield from _check_auth(config)
        yield from _check_turns(config)


def _check_session(config: Config) -> Iterator[tuple[str, str]]:
    if config.transcription_model == WITHOUT_VAD and config.turn_detection != "none":
        yield "transcription_model", f'{WITHOUT_VAD} cannot be used with turn detection; say turn_detection = "none"'
    if config.upstream_profile.dialect == "beta" and any(tool["type"] == "mcp" for tool in config.tools.reveal()):
        yield "tools_file", "an upstream that speaks beta knows no MCP servers; leave them out"


def _check_simulator(config: Config) -> Iterator[tuple[str, str]]:
    if config.profile == "custom":
        yield "profile", "the simulator plays every profile but custom"
    for name in OVERRIDES:
        if getattr(config, name):
            yield name, "the simulator follows its profile; name the upstream that this is for (--upstream)"


def _check_address(config: Config, given: Container[str]) -> Iterator[tuple[str, str]]:
    address, profile = parse_upstream(config.upstream_url), config.upstream_profile
    owner = profile_of_host(address.host)
    if owner and config.profile not in ("", "custom", owner):
        yield "profile", f"the upstream's host is {owner}'s; leave the profile out, or name {owner}"
    if is_openai(address) and profile.dialect != "ga":
        yield "upstream_dialect", "OpenAI refuses beta since 2026-05-12; its hosts are spoken to in ga"
    for name in ("upstream_input_rate_hz", "upstream_output_rate_hz"):
        if is_openai(address) and getattr(config, name) not in (0, OPENAI_RATE_HZ):
            yield name, f"OpenAI's audio has {OPENAI_RATE_HZ} Hz and nothing else"
    query = parse_qs(address.target.partition("?")[2], keep_blank_values=True)
    if profile.name == "azure" and not {"api-version", "deployment"}.isdisjoint(query):
        yield (
            "upstream",
            "this is Azure's preview; GA is at /openai/v1/realtime, with the deployment as the model",
        )
    for name in profile.needs:
        if name not in given and name not in query:
            yield name, f"{profile.name} needs a {name}: name what is deployed or installed there"


def _check_auth(config: Config) -> Iterator[tuple[str, str]]:
    auth, has_key = config.upstream_profile.auth, config.upstream_key is not None
    if config.upstream_token_command and is_openai(parse_upstream(config.upstream_url)):
        yield "upstream_token_command", "OpenAI takes the key of OPENAI_API_KEY"
    if config.upstream_token_command and auth != "bearer":
        yield "upstream_auth", f"a token is presented as bearer, not as {auth}"
    if config.upstream_token_command and has_key:
        yield "upstream_token_command", "not together with RELAY_UPSTREAM_KEY: give one or the other"
    if auth == "none" and has_key:
        yield "upstream_auth", "RELAY_UPSTREAM_KEY is set and would not be sent; say bearer or api-key, or unset it"
    if auth != "bearer" and is_openai(parse_upstream(config.upstream_url)):
        yield "upstream_auth", "OpenAI takes its key as bearer"
    if config.upstream_profile.name == "azure" and not has_key and not config.upstream_token_command:
        yield "upstream", "Azure needs a key (RELAY_UPSTREAM_KEY) or a token (upstream_token_command)"


def _check_turns(config: Config) -> Iterator[tuple[str, str]]:
    profile, silence_ms = config.upstream_profile, config.vad_silence_duration_ms
    low, high = profile.min_silence_ms, profile.max_silence_ms
    if config.turn_detection == "server_vad" and not low <= silence_ms <= high:
        yield "vad_silence_duration_ms", f"{profile.name} takes {low} to {high}"
