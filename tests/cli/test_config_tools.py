"""The tools file: what is in it is what the upstream gets, what is wrong is named by its place, and no secret shows."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relay.config import Config, Secret, Tools
from relay.config_sources import load
from relay.errors import ConfigError
from relay.operators_session import permissions_for, session_update

CANARY = "crm-canary-0123456789"
FUNCTION = {"type": "function", "name": "look_up", "description": "Looks.", "parameters": {"type": "object"}}
MCP = {
    "type": "mcp",
    "server_label": "crm",
    "server_url": "https://crm.example/mcp",
    "authorization": "${CRM_TOKEN}",
    "headers": {"X-Tenant": "acme", "X-Key": "Key ${CRM_TOKEN}"},
    "require_approval": "never",
}
ENVIRON = {"CRM_TOKEN": CANARY}
BETA = {"upstream_dialect": "beta"}


def loaded(tmp_path: Path, tools: Any, environ: dict[str, str] | None = None, **settings: Any) -> Config:
    file = tmp_path / "tools.json"
    file.write_text(tools if isinstance(tools, str) else json.dumps(tools))
    return load({"tools_file": str(file), **settings}, ENVIRON if environ is None else environ)


def refusal(tmp_path: Path, tools: Any, environ: dict[str, str] | None = None, **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, tools, environ, **settings)
    assert CANARY not in caught.value.public
    return caught.value.public


@pytest.mark.parametrize(
    "upstream",
    [{"profile": "qwen"}, {"profile": "qwen", "upstream": "simulator"}, {"upstream": "wss://x.example", **BETA}],
)
def test_an_upstream_that_knows_no_mcp_servers_is_given_none(tmp_path: Path, upstream: dict[str, Any]) -> None:
    assert refusal(tmp_path, [FUNCTION, MCP], **upstream).startswith("--tools-file: an upstream that speaks beta")
    assert loaded(tmp_path, [FUNCTION], **upstream).tools.reveal() == [FUNCTION]


def test_the_upstream_gets_the_tools_as_they_stand_in_the_file_with_the_credentials(tmp_path: Path) -> None:
    session = session_update(loaded(tmp_path, [FUNCTION, MCP]))["session"]
    assert session["tools"] == [
        FUNCTION,
        {**MCP, "authorization": CANARY, "headers": {"X-Tenant": "acme", "X-Key": f"Key {CANARY}"}},
    ]
    assert session["tool_choice"] == "auto"


def test_the_file_counts_from_the_configuration_files_folder(tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text(json.dumps([FUNCTION]))
    config = tmp_path / "relay.toml"
    config.write_text('tools_file = "tools.json"\ntool_choice = "look_up"\n')
    session = session_update(load({"config": str(config)}, {}))["session"]
    assert session["tools"] == [FUNCTION]
    assert session["tool_choice"] == {"type": "function", "name": "look_up"}


@pytest.mark.parametrize(
    ("tools", "place"),
    [
        ("", "is not JSON"),
        ("[{", "is not JSON"),
        ("[" * 100_000, "tools[0]: Expected `object`"),
        ({}, "tools: Expected `array`"),
        ([7], "tools[0]: Expected `object`"),
        ([{"type": "magic"}], "tools[0].type: Invalid value 'magic'"),
        ([{"type": "function"}], "tools[0]: Object missing required field `name`"),
        ([FUNCTION, {**FUNCTION, "name": 7}], "tools[1].name: Expected `str`"),
        ([{**FUNCTION, "descripton": "x"}], "tools[0]: Object contains unknown field `descripton`"),
        ([FUNCTION, FUNCTION], "tools[1]: this name is taken"),
        ([{"type": "mcp", "server_label": "crm"}], "tools[0]: needs server_url"),
        ([{**MCP, "authorization": "abc"}], "tools[0].authorization: secrets come from the environment"),
        ([{**MCP, "authorization": "${NO_SUCH}"}], "tools[0].authorization: the environment has no NO_SUCH"),
        ([{**MCP, "headers": {"X": "${NO_SUCH}"}}], "tools[0].headers.X: the environment has no NO_SUCH"),
        ([FUNCTION | {"name": f"f{n}"} for n in range(129)], "has 129 tools; 128 is the most"),
        (" " * 262_145, "the file is longer than 262144 bytes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_named_by_its_place(tmp_path: Path, tools: Any, place: str) -> None:
    text = refusal(tmp_path, tools)
    assert text.startswith("--tools-file: ")
    assert place in text
    assert len(text) < 400


@pytest.mark.parametrize("secret", ["", "short", "with space in it", "x" * 4097, "new\nline-is-no-key"])
def test_what_cannot_be_a_secret_is_refused_by_its_variable(tmp_path: Path, secret: str) -> None:
    text = refusal(tmp_path, [MCP], {"CRM_TOKEN": secret})
    assert "CRM_TOKEN" in text
    assert not secret or secret not in text


def test_only_credentials_are_filled_in(tmp_path: Path) -> None:
    plain = {**FUNCTION, "description": "Say ${CRM_TOKEN}."}
    assert session_update(loaded(tmp_path, [plain]))["session"]["tools"] == [plain]


def test_a_choice_that_is_no_tool_is_refused(tmp_path: Path) -> None:
    assert "name of a function in tools_file" in refusal(tmp_path, [FUNCTION], tool_choice="look_down")


def test_tools_show_themselves_to_nobody_who_does_not_ask(tmp_path: Path) -> None:
    config = loaded(tmp_path, [FUNCTION, MCP])
    assert config.tools.secrets == (Secret(CANARY), Secret(CANARY))
    for shown in (repr(config), str(config), repr(config.tools), f"{config.tools}", repr(permissions_for(config))):
        assert CANARY not in shown
        assert "look_up" not in shown
    serialisers: list[Any] = [msgspec.json.encode, pickle.dumps, json.dumps, copy.deepcopy]
    for serialise in serialisers:
        with pytest.raises(TypeError):
            serialise(config.tools)


def test_what_was_revealed_can_be_changed_without_changing_the_tools() -> None:
    tools = Tools([{"type": "function", "name": "a"}])
    tools.reveal()[0]["name"] = "b"
    assert tools.reveal() == [{"type": "function", "name": "a"}]


# --- policy -----------------------------------------------------------------------------------------------------------
def test_clients_are_locked_unless_the_operator_says_otherwise() -> None:
    permissions = permissions_for(load({}, {}))
    assert (permissions.is_open, permissions.may) == (False, frozenset())


def test_grants_are_a_list_in_the_environment_and_an_unknown_one_is_refused() -> None:
    assert permissions_for(load({}, {"RELAY_CLIENT_MAY": "voice, tools"})).may == {"voice", "tools"}
    with pytest.raises(ConfigError, match=r"RELAY_CLIENT_MAY: expected a list of images, .*, got"):
        load({}, {"RELAY_CLIENT_MAY": "voice,model"})


def test_grants_to_an_open_client_are_a_contradiction() -> None:
    with pytest.raises(ConfigError, match="RELAY_CLIENT_MAY: an open client"):
        load({"policy": "open"}, {"RELAY_CLIENT_MAY": "voice"})


@pytest.mark.parametrize(
    ("settings", "place", "value"),
    [
        ({"turn_detection": "semantic_vad", "vad_eagerness": "low"}, ("audio", "input", "turn_detection"),
         {"type": "semantic_vad", "eagerness": "low", "create_response": True, "interrupt_response": True}),
        ({"noise_reduction": "far_field"}, ("audio", "input", "noise_reduction"), {"type": "far_field"}),
        ({"speed": 1.25}, ("audio", "output", "speed"), 1.25),
        ({"max_output_tokens": 500}, ("max_output_tokens",), 500),
    ],
)  # fmt: skip
def test_what_the_operator_pins_is_in_the_session(settings: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    there: Any = session_update(Config(**settings))["session"]
    for key in place:
        there = there[key]
    assert there == value
