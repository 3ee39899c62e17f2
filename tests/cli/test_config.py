"""Where a setting comes from, what is refused, and in which words."""

from __future__ import annotations

import copy
import json
import pickle
import string
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.addresses import OPENAI_HOSTS
from relay.cli import serve
from relay.config import (
    DEFAULT_INSTRUCTIONS,
    ENVIRONMENT_ONLY,
    FIELDS,
    Config,
    Secret,
    flag,
    variable,
)
from relay.config_sources import INSTRUCTIONS_LIMIT_BYTES, load
from relay.errors import ConfigError
from relay.prices import prices_at

CANARY = "sk-canary-0123456789abcdef"
KEY = {"OPENAI_API_KEY": CANARY}
LIMITS = {"max_session_s": 900.0, "max_usd": 1.0}
TOKEN, SECRET = "token-0123456789abcdef0123456789abcdef", "secret-0123456789abcdef0123456789abcdef"
TICKETS = {"RELAY_SERVER_TOKEN": TOKEN, "RELAY_TICKET_SECRET": SECRET}


COMMAND_LINE = {str(option.name): None for option in serve.params}
"""Nothing was typed."""


def refusal(argv: dict[str, Any] | None = None, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as refused:
        load({**COMMAND_LINE, **(argv or {})}, environ or {})
    text = refused.value.public
    assert "\n" not in text
    assert text.isprintable()
    return text


def toml(folder: Path, text: str) -> str:
    path = folder / "relay.toml"
    path.write_text(text)
    return str(path)


# Where a setting comes from


def test_nothing_given_means_the_defaults_and_the_simulator() -> None:
    config = load({}, {})
    assert config == Config()
    assert (config.host, config.port, config.model, config.voice) == ("127.0.0.1", 8000, "gpt-realtime-2.1", "marin")
    assert config.upstream_kind == "simulator"
    assert config.upstream_url == ""


def test_flags_beat_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = toml(tmp_path, 'voice = "file"\nmodel = "file"\nport = 1\nlead_ms = 400\n')
    environ = {"RELAY_VOICE": "environment", "RELAY_MODEL": "environment", "RELAY_CONFIG": file}
    config = load({"voice": "flag", "model": None}, environ)
    assert (config.voice, config.model, config.port, config.lead_ms) == ("flag", "environment", 1, 400)
    assert config.drain_s == 8.0


def test_the_config_flag_beats_its_variable(tmp_path: Path) -> None:
    assert load({"config": toml(tmp_path, "port = 9")}, {"RELAY_CONFIG": "/does/not/exist"}).port == 9


@pytest.mark.parametrize("field", [name for name in FIELDS if name not in ENVIRONMENT_ONLY])
def test_every_field_can_be_set_by_its_variable(field: str, tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("hello")
    tools = tmp_path / "tools.json"
    tools.write_text("[]")
    samples = {
        "allow_origin": "https://a.example",
        "trusted_proxies": "",
        "upstream": "simulator",
        "instructions_file": str(prompt),
        "tools_file": str(tools),
        "upstream_lacks": "",
        "client_may": "",
    }
    text = samples.get(field, str(getattr(Config(), field)))
    assert getattr(load({}, {variable(field): text}), field) is not None


def test_several_origins_in_one_variable_are_separated_by_commas() -> None:
    config = load({}, {"RELAY_ALLOW_ORIGIN": "https://a.example, https://b.example:8443"})
    assert config.allow_origin == ("https://a.example", "https://b.example:8443")


def test_a_key_alone_chooses_openai_and_a_named_upstream_wins_over_it() -> None:
    assert load({}, KEY).upstream_kind == "openai"
    assert load({}, KEY).upstream_url == "wss://api.openai.com/v1/realtime"
    assert load({"upstream": "simulator"}, KEY).upstream_kind == "simulator"
    assert load({"upstream": "wss://voice.example/v1/realtime"}, KEY).upstream_kind == "url"


def test_white_space_around_a_key_is_not_part_of_it() -> None:
    key = load({}, {"OPENAI_API_KEY": f" {CANARY}\r\n"}).openai_api_key
    assert key == Secret(CANARY)


def test_an_empty_key_is_no_key() -> None:
    assert load({}, {"OPENAI_API_KEY": "", "RELAY_UPSTREAM_KEY": " "}) == Config()


def test_captions_can_be_turned_off_with_an_empty_name() -> None:
    assert load({}, {"RELAY_TRANSCRIPTION_MODEL": ""}).transcription_model == ""


# The prompt


def test_instructions_are_read_from_the_file() -> None:
    assert load({}, {}).instructions == DEFAULT_INSTRUCTIONS


def test_a_prompt_file_is_utf_8_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    for text in ("Grüß Gott".encode(), b"\xef\xbb\xbf" + "Grüß Gott".encode()):
        path.write_bytes(text)
        assert load({"instructions_file": str(path)}, {}).instructions == "Grüß Gott"


def test_a_prompt_file_named_in_the_configuration_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("From beside the file.")
    file = toml(tmp_path, 'instructions_file = "prompt.txt"')
    assert load({"config": file}, {}).instructions == "From beside the file."


def test_the_prompt_given_later_replaces_the_one_given_before_in_either_form(tmp_path: Path) -> None:
    file = toml(tmp_path, 'instructions_file = "prompt.txt"')
    assert load({"config": file}, {"RELAY_INSTRUCTIONS": "typed"}).instructions == "typed"
    (tmp_path / "prompt.txt").write_text("filed")
    flags = {"instructions_file": str(tmp_path / "prompt.txt")}
    assert load(flags, {"RELAY_INSTRUCTIONS": "typed"}).instructions == "filed"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b" \n", "is empty"),
        (b"x" * (INSTRUCTIONS_LIMIT_BYTES + 1), "longer than 65536 bytes"),
    ],
)
def test_a_prompt_file_that_cannot_be_a_prompt_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "prompt.txt"
    path.write_bytes(content)
    text = refusal({"instructions_file": str(path)})
    assert text.startswith("--instructions-file: ")
    assert complaint in text


# What is refused, and in which words


@pytest.mark.parametrize(
    ("environ", "begins"),
    [
        ({"RELAY_PORT": "65536"}, "RELAY_PORT: expected a whole number from 0 to 65535, got '65536'"),
        ({"RELAY_PORT": ""}, "RELAY_PORT: expected a whole number"),
        ({"RELAY_PORT": "8000.5"}, "RELAY_PORT: expected a whole number"),
        ({"RELAY_VAD_THRESHOLD": "nan"}, "RELAY_VAD_THRESHOLD: expected a number from 0 to 1"),
        ({"RELAY_SEND_DEADLINE_S": "inf"}, "RELAY_SEND_DEADLINE_S: expected a number"),
        ({"RELAY_CLOSE_DEADLINE_S": "0"}, "RELAY_CLOSE_DEADLINE_S: expected a number from 0.05"),
        ({"RELAY_LOG_FORMAT": "xml"}, "RELAY_LOG_FORMAT: expected one of text, json"),
        ({"RELAY_TURN_DETECTION": "semantic"}, "RELAY_TURN_DETECTION: expected one of server_vad, semantic_vad, none"),
        ({"RELAY_MODEL": "two words"}, "RELAY_MODEL: expected a short text without spaces"),
        ({"RELAY_MODEL": "a\nb"}, "RELAY_MODEL: "),
        ({"RELAY_VOICE": "a b"}, "RELAY_VOICE: "),
        ({"RELAY_HOST": "a b"}, "RELAY_HOST: expected a host name or an IP address"),
        ({"RELAY_PROT": "8000"}, "RELAY_PROT: no such setting; did you mean RELAY_PORT?"),
        ({"RELAY_Port": "8000"}, "RELAY_Port: no such setting; did you mean RELAY_PORT?"),
        ({"RELAY_OPENAI_API_KEY": CANARY}, "RELAY_OPENAI_API_KEY: no such setting; did you mean OPENAI_API_KEY?"),
        ({"RELAY_\x1b[31m": ""}, "RELAY_\\x1b[31m: no such setting"),
        ({"RELAY_CONFIG": "/does/not/exist"}, "RELAY_CONFIG: cannot read '/does/not/exist': No such file"),
        ({"RELAY_INSTRUCTIONS_FILE": "/"}, "RELAY_INSTRUCTIONS_FILE: cannot read '/': Is a directory"),
        ({"RELAY_INSTRUCTIONS": "\udcff"}, "RELAY_INSTRUCTIONS: is not UTF-8 text"),
        ({"OPENAI_API_KEY": "two words"}, "OPENAI_API_KEY: this is not a key"),
        ({"RELAY_UPSTREAM_KEY": "ключ"}, "RELAY_UPSTREAM_KEY: this is not a key"),
        ({"RELAY_LEAD_MS": "5000", "RELAY_DOWNLINK_QUEUE_MS": "4000"}, "RELAY_LEAD_MS: must be at most downlink_"),
        ({"RELAY_PING_INTERVAL_S": "25"}, "RELAY_SILENCE_DEADLINE_S: must be more than ping_interval_s"),
        ({"RELAY_COOLDOWN_MAX_S": "0.1"}, "RELAY_COOLDOWN_MAX_S: must be at least cooldown_base_s (0.5)"),
        ({"RELAY_SILENCE_DEADLINE_S": "3"}, "RELAY_SILENCE_DEADLINE_S: must be at least ping_interval_s (10)"),
    ],
)
def test_a_wrong_variable_is_named_with_what_would_be_right(environ: dict[str, str], begins: str) -> None:
    assert refusal({}, environ).startswith(begins)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("port = 70000", "port: expected a whole number from 0 to 65535, got 70000"),
        ('port = "8000"', "port: expected a whole number"),
        ("port = true", "port: expected a whole number"),
        ("prot = 1", "prot: no such setting; did you mean port?"),
        ("allow_origin = 5", "allow_origin: expected a list of origins"),
        ("trusted_proxies = 5", "trusted_proxies: expected a list of addresses"),
        ("vad_threshold = nan", "vad_threshold: expected a number from 0 to 1"),
        (f'openai_api_key = "{CANARY}"', "openai_api_key: keys are read from the environment only (OPENAI_API_KEY)"),
        (f'upstream_key = "{CANARY}"', "upstream_key: keys are read from the environment only (RELAY_UPSTREAM_KEY)"),
        ('instructions = "a"\ninstructions_file = "b"', "instructions_file: cannot be given together with"),
        ("port = ", "Invalid value"),
        ("[port]\nx = 1", "port: expected a whole number"),
    ],
)
def test_a_wrong_line_in_the_file_is_named_with_the_file(tmp_path: Path, text: str, says: str) -> None:
    file = toml(tmp_path, text)
    refused = refusal({"config": file})
    assert says in refused
    assert "relay.toml" in refused or "…" in refused
    assert CANARY not in refused


def test_a_wrong_flag_is_named_as_a_flag() -> None:
    assert refusal({"max_sessions": "0"}) == "--max-sessions: expected a whole number from 1 to 100000, got '0'"


def test_a_prompt_and_a_prompt_file_from_the_same_place_contradict_each_other() -> None:
    text = refusal({"instructions": "a", "instructions_file": "b"})
    assert text == "--instructions-file: cannot be given together with --instructions"


def test_openai_without_a_key_is_refused() -> None:
    for upstream in ("openai", "wss://eu.api.openai.com/v1/realtime"):
        assert refusal({"upstream": upstream}) == "--upstream: OpenAI needs a key; set OPENAI_API_KEY"


def test_the_dialect_of_the_upstream_is_ga_unless_a_variable_or_the_file_says_beta(tmp_path: Path) -> None:
    upstream = {"RELAY_UPSTREAM": "wss://voice.example/v1/realtime"}
    assert load({}, upstream).upstream_profile.dialect == "ga"
    assert load({}, upstream | {"RELAY_UPSTREAM_DIALECT": "beta"}).upstream_profile.dialect == "beta"
    file = toml(tmp_path, 'upstream_dialect = "beta"')
    assert load({"config": file}, upstream).upstream_profile.dialect == "beta"
    assert refusal({}, {"RELAY_UPSTREAM_DIALECT": "gamma"}) == (
        "RELAY_UPSTREAM_DIALECT: expected one of ga, beta, xai, got 'gamma'"
    )


@pytest.mark.parametrize("upstream", ["", "openai", *(f"wss://{host}/v1/realtime" for host in sorted(OPENAI_HOSTS))])
def test_beta_is_refused_for_openais_own_hosts(upstream: str) -> None:
    environ = KEY | {"RELAY_UPSTREAM": upstream, "RELAY_UPSTREAM_DIALECT": "beta"}
    assert refusal({}, environ) == (
        "RELAY_UPSTREAM_DIALECT: OpenAI refuses beta since 2026-05-12; its hosts are spoken to in ga"
    )


@pytest.mark.parametrize("upstream", ["", "simulator"])
def test_beta_is_refused_for_the_simulator(upstream: str) -> None:
    text = refusal({}, {"RELAY_UPSTREAM": upstream, "RELAY_UPSTREAM_DIALECT": "beta"})
    assert text == (
        "RELAY_UPSTREAM_DIALECT: the simulator follows its profile; name the upstream that this is for (--upstream)"
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "relay.example", "127.1", "0"])
def test_a_host_that_others_can_reach_needs_an_origin(host: str) -> None:
    assert refusal({"host": host}).startswith(f"--host: {host} can be reached from outside")
    assert load({"host": host, "allow_origin": ("https://voice.example",), **LIMITS}, TICKETS).host == host


def test_a_proxy_that_brings_strangers_asks_for_the_same_as_a_host_that_they_can_reach() -> None:
    proxies = {"RELAY_TRUSTED_PROXIES": "10.0.0.5, 10.1.0.0/24"}
    begins = "RELAY_TRUSTED_PROXIES: a proxy brings strangers; "
    assert refusal({}, proxies) == begins + "say whose pages may connect (--allow-origin)"
    origin = {"RELAY_ALLOW_ORIGIN": "https://voice.example"}
    assert refusal({}, proxies | origin).startswith(begins + "set max_session_s and max_usd")
    limits = {f"RELAY_{name.upper()}": str(value) for name, value in LIMITS.items()}
    assert refusal({}, proxies | origin | limits).startswith(begins + "set RELAY_SERVER_TOKEN")
    assert load({}, proxies | origin | limits | TICKETS).trusted_proxies == ("10.0.0.5", "10.1.0.0/24")


def test_a_proxy_is_named_by_its_address() -> None:
    text = refusal({}, {"RELAY_TRUSTED_PROXIES": "proxy.example"})
    assert text.startswith("RELAY_TRUSTED_PROXIES: expected IP addresses or networks of proxies, such as 10.0.0.5")


@pytest.mark.parametrize(
    ("limits", "missing"),
    [
        ({}, "max_session_s and max_usd, max_usd_per_day or max_tokens"),
        ({"RELAY_MAX_SESSION_S": "900"}, "max_usd, max_usd_per_day or max_tokens"),
        ({"RELAY_MAX_USD": "1", "RELAY_MAX_TOKENS": "1"}, "max_session_s"),
        ({"RELAY_MAX_SESSION_S": "900", "RELAY_MAX_IDLE_S": "60"}, "max_usd, max_usd_per_day or max_tokens"),
    ],
)
def test_a_host_that_others_can_reach_needs_limits(limits: dict[str, str], missing: str) -> None:
    environ = {"RELAY_HOST": "0.0.0.0", "RELAY_ALLOW_ORIGIN": "https://voice.example", **limits}
    expected = f"RELAY_HOST: 0.0.0.0 can be reached from outside; set {missing} (docs/limits.md)"
    assert refusal({}, environ) == expected


@pytest.mark.parametrize("name", ["MAX_USD", "MAX_USD_PER_DAY", "MAX_TOKENS"])
def test_a_host_that_others_can_reach_starts_with_a_limit_on_time_and_one_on_money_or_tokens(name: str) -> None:
    environ = {"RELAY_HOST": "0.0.0.0", "RELAY_ALLOW_ORIGIN": "https://voice.example", **TICKETS}
    assert load({}, {**environ, "RELAY_MAX_SESSION_S": "900", f"RELAY_{name}": "5"}).max_session_s == 900


@pytest.mark.parametrize("given", [{}, {"RELAY_TICKETS": "required"}])
def test_a_host_that_others_can_reach_needs_tickets(given: dict[str, str]) -> None:
    flags = {"host": "0.0.0.0", "allow_origin": ("https://voice.example",), **LIMITS}
    source = "RELAY_TICKETS" if given else "--host"
    assert refusal(flags, given) == (
        f"{source}: 0.0.0.0 can be reached from outside; set RELAY_SERVER_TOKEN and RELAY_TICKET_SECRET, "
        'or tickets = "off" (docs/tickets.md)'
    )
    assert load(flags, {**given, **TICKETS}).needs_tickets


def test_only_a_typed_word_lets_strangers_in_without_tickets() -> None:
    flags = {"host": "0.0.0.0", "allow_origin": ("https://voice.example",), **LIMITS}
    assert not load(flags, {"RELAY_TICKETS": "off"}).needs_tickets


def test_on_loopback_tickets_are_needed_where_they_are_set_up() -> None:
    assert not load({}, {}).needs_tickets
    assert load({}, TICKETS).needs_tickets
    assert not load({}, {**TICKETS, "RELAY_TICKETS": "off"}).needs_tickets
    assert refusal({}, {"RELAY_TICKETS": "required"}).startswith("RELAY_TICKETS: set RELAY_SERVER_TOKEN and ")


@pytest.mark.parametrize("alone", TICKETS)
def test_server_token_and_ticket_secret_belong_together(alone: str) -> None:
    text = refusal({}, {alone: TICKETS[alone]})
    assert text.startswith("RELAY_TICKETS: RELAY_SERVER_TOKEN and RELAY_TICKET_SECRET belong together")


def test_server_token_and_ticket_secret_differ() -> None:
    assert "must differ" in refusal({}, {"RELAY_SERVER_TOKEN": SECRET, "RELAY_TICKET_SECRET": f"{'x' * 32},{SECRET}"})


@pytest.mark.parametrize("name", TICKETS)
def test_a_token_that_could_be_guessed_is_refused_without_being_shown(name: str) -> None:
    text = refusal({}, {**TICKETS, name: "correct-horse"})
    assert text == f"{name}: shorter than 32 characters (openssl rand -hex 32 makes a good one)"
    assert "32 characters" in refusal({}, {**TICKETS, "RELAY_TICKET_SECRET": f"{SECRET},short"})


def test_several_ticket_secrets_are_separated_by_commas() -> None:
    config = load({}, {**TICKETS, "RELAY_TICKET_SECRET": f"{SECRET}, {SECRET}2,"})
    assert config.ticket_secret == (Secret(SECRET), Secret(SECRET + "2"))


@pytest.mark.parametrize("url", ["https://evil.example/", "//evil.example", "/ticket?key=1", "ticket", "/a b", "/a/"])
def test_the_page_fetches_its_ticket_from_its_own_origin_and_without_a_query(url: str) -> None:
    assert refusal({}, {"RELAY_TICKET_URL": url}).startswith("RELAY_TICKET_URL: ")
    assert load({}, {"RELAY_TICKET_URL": "/voice/ticket"}).ticket_url == "/voice/ticket"


@pytest.mark.parametrize("limit", ["RELAY_MAX_USD", "RELAY_MAX_USD_PER_DAY"])
@pytest.mark.parametrize("setting", ["model", "transcription_model"])
def test_a_limit_in_money_needs_a_model_whose_price_is_known(limit: str, setting: str) -> None:
    text = refusal({setting: "no-such-model"}, {limit: "1"})
    assert text.startswith(f"--{setting.replace('_', '-')}: no price is known for no-such-model as of 2")
    assert "max_tokens" in text
    assert load({setting: "no-such-model"}, {"RELAY_MAX_TOKENS": "1"}).max_tokens == 1


def test_the_model_that_is_priced_is_the_one_that_the_upstreams_url_names() -> None:
    url = "wss://voice.example/v1/realtime?model=no%20such"
    assert load({"upstream": url}, {}).requested_model == "no such"
    gateway = {"upstream": url, "profile": "openai"}
    assert "no price is known for no such as of" in refusal(gateway, {"RELAY_MAX_USD": "1"})
    assert load({"upstream": "wss://voice.example/"}, {"RELAY_MODEL": "mine"}).requested_model == "mine"


GIVEN_NAMES = {"model": "gpt-realtime-2.1", "transcription_model": "gpt-transcribe"}


@pytest.mark.parametrize(
    "settings",
    [
        {"profile": "xai"},
        {"profile": "qwen"},
        {"profile": "localai"},
        {"profile": "speaches", "upstream": "ws://127.0.0.1:9000"},
        {"upstream": "wss://voice.example/v1/realtime"},
        {"upstream": "wss://api.x.ai/v1/realtime", "profile": "custom"},
        {"upstream": "simulator", "profile": "localai"},
    ],
)
def test_a_model_elsewhere_that_has_the_name_of_one_of_openais_has_no_known_price(settings: dict[str, str]) -> None:
    limited = GIVEN_NAMES | settings
    text = refusal(limited, {"RELAY_MAX_USD": "1"})
    assert text.partition(": ")[0] == "--profile"
    kind = settings["profile"] if settings.get("profile") not in (None, "custom") else "custom"
    assert f"no price is known for an upstream of the kind {kind} as of 2" in text
    assert "max_tokens" in text
    assert load(limited, {"RELAY_MAX_TOKENS": "1"}).max_tokens == 1
    assert prices_at(load(limited, {})) is None


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"upstream": "openai"},
        {"upstream": "wss://eu.api.openai.com/v1/realtime", "profile": "custom"},
        {"upstream": "wss://gateway.example/v1/realtime", "profile": "openai"},
        {"upstream": "wss://mine.openai.azure.com"},
    ],
)
def test_openais_prices_hold_at_openai_at_azure_and_where_the_operator_says_that_it_is_openai(
    settings: dict[str, str],
) -> None:
    keys = {"OPENAI_API_KEY": "sk-x"} if "openai.com" in str(settings) or settings.get("upstream") == "openai" else {}
    keys |= {"RELAY_UPSTREAM_KEY": "k"} if "azure" in str(settings) else {}
    assert load(GIVEN_NAMES | settings, keys | {"RELAY_MAX_USD": "1"}).max_usd == 1


def test_captions_by_a_model_that_knows_no_turn_detection_need_it_off() -> None:
    captions = {"transcription_model": "gpt-realtime-whisper"}
    for upstream in ("wss://voice.example", "simulator"):
        for detection in ("server_vad", "semantic_vad"):
            text = refusal(captions, {"RELAY_TURN_DETECTION": detection, "RELAY_UPSTREAM": upstream})
            assert text.startswith("--transcription-model: gpt-realtime-whisper")
            assert 'turn_detection = "none"' in text
        assert load(captions, {"RELAY_TURN_DETECTION": "none", "RELAY_UPSTREAM": upstream})


def test_without_captions_their_price_does_not_matter() -> None:
    assert load({"transcription_model": ""}, {"RELAY_MAX_USD": "1"}).max_usd == 1


def test_a_switch_is_true_or_false() -> None:
    assert load({}, {"RELAY_TELL_USAGE": "true"}).tell_usage
    assert refusal({}, {"RELAY_TELL_USAGE": "perhaps"}) == "RELAY_TELL_USAGE: expected true or false, got 'perhaps'"


@pytest.mark.parametrize(
    "url",
    [
        "voice.example",
        "http://voice.example",
        "ws://voice.example/v1/realtime",
        "ws://127.0.0.1.evil.example/",
        "wss://user@voice.example/",
        "wss://user:password@voice.example/",
        "wss://voice.example/#part",
        "wss://voice.example:0/",
        "wss://voice.example:99999/",
        "wss://voice.example\\@api.openai.com/",
        "wss://voice.example/a b",
        "wss://voice.example/\n",
        "wss://",
        "wss://[::1",
        "wss://[1:2]/",
        "WSS://voice.example/",
    ],
)
def test_an_upstream_that_is_not_plainly_safe_is_refused_without_repeating_it(url: str) -> None:
    text = refusal({"upstream": url})
    assert text.startswith("--upstream: ")
    assert "password" not in text.replace("no user or password", "")
    assert "evil" not in text


@pytest.mark.parametrize("url", ["ws://localhost:8001/v1/realtime", "ws://[::1]:1/", "ws://127.0.0.1/x?y=z", "wss://h"])
def test_tls_to_anywhere_and_plain_to_this_machine_are_upstreams(url: str) -> None:
    assert load({"upstream": url}, {}).upstream_url == url


# Who may connect


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://*.example",
        "voice.example",
        "https://voice.example/",
        "https://voice.example/path",
        "https://Voice.example",
        "https://voice.example:443",
        "http://voice.example:80",
        "https://voice.example:0",
        "https://voice.example:65536",
        "https://user@voice.example",
        "null",
        "",
    ],
)
def test_an_origin_that_no_browser_would_send_exactly_so_is_refused(origin: str) -> None:
    assert refusal({"allow_origin": (origin,)}).startswith("--allow-origin: ")


def test_on_loopback_the_own_page_may_connect_under_each_of_its_names() -> None:
    own = {"http://127.0.0.1:8123", "http://localhost:8123", "http://[::1]:8123"}
    assert load({"port": "0"}, {}).allowed_origins(8123) == own
    assert load({"allow_origin": ("https://a.example",)}, {}).allowed_origins(8123) == own | {"https://a.example"}


def test_browsers_leave_out_port_80_and_so_do_the_origins() -> None:
    assert "http://localhost" in Config().allowed_origins(80)


def test_with_a_certificate_the_own_page_is_served_over_https(tmp_path: Path) -> None:
    file = toml(tmp_path, 'tls_certificate_file = "chain.pem"\ntls_key_file = "/etc/relay/key.pem"')
    config = load({"config": file}, {})
    assert (config.tls_certificate_file, config.tls_key_file) == (str(tmp_path / "chain.pem"), "/etc/relay/key.pem")
    assert config.allowed_origins(8123) == {f"https://{name}:8123" for name in ("127.0.0.1", "localhost", "[::1]")}
    assert "https://localhost" in config.allowed_origins(443)
    assert "https://localhost:80" in config.allowed_origins(80)


@pytest.mark.parametrize(("given", "other"), [("certificate", "key"), ("key", "certificate")])
def test_a_certificate_and_its_key_are_named_together(given: str, other: str) -> None:
    text = refusal({}, {f"RELAY_TLS_{given.upper()}_FILE": "/etc/relay/x.pem"})
    assert text == f"RELAY_TLS_{given.upper()}_FILE: needs tls_{other}_file as well"


def test_beyond_loopback_only_the_named_origins_may_connect() -> None:
    config = load({"host": "0.0.0.0", "allow_origin": ("https://voice.example",), **LIMITS}, TICKETS)
    assert config.allowed_origins(8000) == {"https://voice.example"}


# Keys


HOST_NAMES = st.one_of(
    st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,30}[a-z0-9])?", fullmatch=True),
    st.sampled_from(sorted(OPENAI_HOSTS)).flatmap(
        lambda host: st.sampled_from(
            [
                f"{host}.evil.example",
                f"evil-{host}",
                f"x.{host}",
                f"{host}.",
                f"evil.example/{host}",
                f"evil.example?{host}",
                f"evil.example#@{host}",
                f"{host}@evil.example",
                f"evil.example\\@{host}",
                f"{host}\n.evil.example",
                f"{host}%2eevil.example",
                f"{host}\t",
                host.replace(".", "。"),
            ]
        )
    ),
    st.text(alphabet=string.printable, max_size=40),
)


@given(HOST_NAMES, st.sampled_from(["ws://", "wss://", "https://", "WSS://", ""]))
def test_openais_key_goes_to_no_other_host(host: str, scheme: str) -> None:
    config = Config(openai_api_key=Secret(CANARY), upstream_key=Secret("other"))
    for url in (f"{scheme}{host}", f"{scheme}{host}/v1/realtime"):
        if config.key_for(url) == Secret(CANARY):
            parts = urlsplit(url)  # another reader of URLs than ours
            assert (parts.scheme, parts.username) == ("wss", None)
            assert parts.hostname in OPENAI_HOSTS


@pytest.mark.parametrize("host", sorted(OPENAI_HOSTS))
def test_openais_hosts_get_openais_key_and_never_the_other(host: str) -> None:
    both = Config(openai_api_key=Secret(CANARY), upstream_key=Secret("other"))
    assert both.key_for(f"wss://{host}/v1/realtime?model=m") == Secret(CANARY)
    assert both.key_for(f"wss://{host.upper()}/v1/realtime") == Secret(CANARY)
    assert Config(upstream_key=Secret("other")).key_for(f"wss://{host}/v1/realtime") is None


def test_any_other_upstream_gets_its_own_key_or_none() -> None:
    url = "wss://voice.example/v1/realtime"
    assert Config(openai_api_key=Secret(CANARY)).key_for(url) is None
    assert Config(upstream_key=Secret("other")).key_for(url) == Secret("other")


def test_a_secret_shows_itself_to_nobody_who_does_not_ask() -> None:
    secret = Secret(CANARY)
    config = Config(openai_api_key=secret)
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret:>40}", f"{[secret]}", repr(config), str(config)):
        assert CANARY not in shown
    assert secret.reveal() == CANARY


def test_a_secret_cannot_be_serialised() -> None:
    config = Config(openai_api_key=Secret(CANARY))
    for serialise in (msgspec.json.encode, msgspec.msgpack.encode, pickle.dumps, json.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            serialise(config.openai_api_key)
    with pytest.raises(TypeError):
        msgspec.json.encode(config)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Config().port = 1  # type: ignore[misc]


@pytest.mark.parametrize("field", FIELDS)
def test_a_name_says_its_unit(field: str) -> None:
    kind = str(FIELDS[field])
    counted = {
        "port",
        "ticket_uses",
        "max_sessions",
        "max_sessions_per_address",
        "spare_connections",
        "max_connections_per_address",
        "connects_per_s_per_address",
        "max_tokens",
        "max_output_tokens",
        "speed",
        "vad_threshold",
        "simulator_seed",
    }
    if ("int" in kind or "float" in kind) and field not in counted and "str" not in kind:
        assert field.endswith(("_s", "_ms", "_hz", "_bytes", "_usd", "_usd_per_day"))


def test_flags_and_variables_are_derived_from_the_field() -> None:
    assert flag("max_sessions") == "--max-sessions"
    assert variable("max_sessions") == "RELAY_MAX_SESSIONS"
    assert variable("openai_api_key") == "OPENAI_API_KEY"
