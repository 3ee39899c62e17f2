"""The command line as a person or a script meets it: real processes, real exit codes."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from relay import __version__
from tests.processes import relay_process, run_relay

CANARY = "sk-canary-0123456789abcdef"


def test_version_is_one_line_and_says_what_the_audio_runs_on() -> None:
    done = run_relay("--version")
    assert (done.code, done.stderr) == (0, "")
    assert re.fullmatch(rf"relay {re.escape(__version__)} \(C audio path: (avx2|sse2|neon|c)\)\n", done.stdout)


@pytest.mark.parametrize("command", [(), ("serve",), ("simulate",)])
def test_help_is_readable(command: tuple[str, ...]) -> None:
    done = run_relay(*command, "--help")
    assert done.code == 0
    assert done.stderr == ""
    assert max(len(line) for line in done.stdout.splitlines()) <= 110


def test_the_help_of_serve_gives_each_option_its_default_and_its_variable() -> None:
    text = " ".join(run_relay("serve", "--help").stdout.split())
    for expected in ("Where it listens:", "Who answers:", "[8000, RELAY_PORT]", "RELAY_ALLOW_ORIGIN", "OPENAI_API_KEY"):
        assert expected in text


def test_help_and_version_import_no_server() -> None:
    servers = "{'trio', 'quart', 'hypercorn', 'numpy', 'structlog'}"
    code = f"import sys, relay.cli; print(*{servers}.intersection(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.strip() == ""


def test_without_a_command_the_help_is_shown() -> None:
    done = run_relay()
    assert done.code == 2
    assert "Commands:" in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("args", "env", "names"),
    [
        (("serve", "--port", "70000"), {}, "--port: "),
        (("serve", "--port", "http"), {}, "--port: "),
        (("serve", "--port"), {}, "--port"),
        (("serve", "--prot", "1"), {}, "--prot"),
        (("serve", "--host", "0.0.0.0"), {}, "--host: "),
        (("serve", "--upstream", "openai"), {}, "--upstream: "),
        (("serve", "--upstream", "ws://example.com/"), {}, "--upstream: "),
        (("serve", "--allow-origin", "*"), {}, "--allow-origin: "),
        (("serve", "--instructions-file", "/does/not/exist"), {}, "--instructions-file: "),
        (("serve", "--config", "/does/not/exist"), {}, "--config: "),
        (("serve", "--max-sessions", "0"), {}, "--max-sessions: "),
        (("serve", "--log-level", "loud"), {}, "--log-level: "),
        (("serve",), {"RELAY_LEAD_MS": "x"}, "RELAY_LEAD_MS: "),
        (("serve",), {"RELAY_LEED_MS": "1"}, "RELAY_LEED_MS: "),
        (("serve",), {"RELAY_SIMULATOR_FAULTS": "refuse:99"}, "RELAY_SIMULATOR_FAULTS: "),
        (("serve",), {"OPENAI_API_KEY": f"{CANARY} {CANARY}"}, "OPENAI_API_KEY: "),
        (("simulate", "--seed", "-1"), {}, "--seed: "),
        (("simulate", "--port", "x"), {}, "--port: "),
        (("simulate", "--fault", "no-such-fault"), {}, "--fault: "),
        (("sirve",), {}, "sirve"),
        (("ser\nve\x1b[31m",), {}, "No such command"),
        (("serve", "--po\nrt\x1b[31m"), {}, "No such option"),
    ],
)
def test_a_bad_setting_is_one_line_that_names_it_and_exit_code_2(
    args: tuple[str, ...], env: dict[str, str], names: str
) -> None:
    done = run_relay(*args, env=env)
    assert done.code == 2
    assert done.stdout == ""
    assert names in done.stderr
    assert done.stderr.startswith("relay: ")
    assert done.stderr[:-1].isprintable()
    assert CANARY not in done.stderr


def test_a_wrong_setting_in_the_file_names_file_and_key(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text("prot = 8000\n")
    done = run_relay("serve", "--config", str(file))
    assert done.code == 2
    assert done.stderr.endswith("prot: no such setting; did you mean port?\n")


@pytest.mark.parametrize("command", ["serve", "simulate"])
def test_a_port_in_use_is_one_line_and_exit_code_1(command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_relay(command, "--port", str(port))
    assert done.code == 1
    assert done.stderr == f"relay: --port: {port} is in use on 127.0.0.1; choose another, or 0 for a free one\n"


def test_a_host_that_is_not_here_is_one_line_and_exit_code_1() -> None:
    limits = {"RELAY_MAX_SESSION_S": "900", "RELAY_MAX_USD": "1", "RELAY_TICKETS": "off"}
    done = run_relay("serve", "--host", "192.0.2.1", "--allow-origin", "https://a.example", "--port", "0", env=limits)
    assert done.code == 1
    assert done.stderr.startswith("relay: --host: cannot listen on 192.0.2.1: ")
    assert done.stderr.count("\n") == 1


def test_serve_without_a_key_says_that_it_uses_the_simulator_and_ends_with_the_address() -> None:
    with relay_process() as relay:
        assert relay.output == [
            "No OPENAI_API_KEY: using the built-in simulator, which repeats what you say.",
            relay.url,
        ]
        assert relay.url == f"http://127.0.0.1:{relay.port}/"


def test_serve_with_the_simulator_by_choice_does_not_speak_of_a_missing_key() -> None:
    with relay_process("--upstream", "simulator", env={"OPENAI_API_KEY": CANARY}) as relay:
        assert relay.output[0] == "Using the built-in simulator, which repeats what you say."


def test_a_key_is_in_nothing_that_serve_prints_even_at_debug() -> None:
    env = {"OPENAI_API_KEY": CANARY, "RELAY_UPSTREAM_KEY": CANARY + "2"}
    with relay_process("--log-level", "debug", env=env) as relay:
        relay.stop()
        assert CANARY not in relay.stderr
        assert relay.output == [relay.url]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["serve", "simulate"])
def test_a_signal_ends_the_process_cleanly(command: str, number: signal.Signals) -> None:
    with relay_process(command=command) as relay:
        assert relay.stop(number) == 0
        assert "Traceback" not in relay.stderr


def test_simulate_prints_the_address_to_connect_to() -> None:
    with relay_process(command="simulate") as relay:
        assert relay.output == [f"ws://127.0.0.1:{relay.port}/v1/realtime"]
