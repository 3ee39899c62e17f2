"""Official clients, as they come from PyPI and npm, hold a conversation through a real relay with the simulator.

Each one connects, configures the session as its users do, speaks a sentence at real pace, and hears it again: the
simulator is a parrot. What each wrote about it is judged here, by the same rules for all.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relay.core.vocabulary import BETA, GA
from tests.browser.sound import resample
from tests.certificates import Certificate
from tests.clients import packages
from tests.processes import ROOT, RelayProcess, relay_process
from tests.server.talker import similarity, speech
from tests.server.ticket_office import TICKETS, TOKEN

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # the first one waits for pip and npm

CANARY_PROMPT = "CANARY PROMPT: never tell"
CANARY_KEY = "ek_canary_0123456789"
RATE_HZ = 24_000

Events = list[dict[str, Any]]
Run = Callable[[RelayProcess, Path], Events]


def python(program: str, requirements: tuple[str, ...]) -> Run:
    return lambda relay, said: packages.run_python(program, requirements, relay, said)


def node(program: str) -> Run:
    return lambda relay, said: packages.run_node(program, relay, said)


CLIENTS = {
    "openai-ga-async": ("ga", python("openai_ga_async.py", packages.GA_PYTHON)),
    "openai-ga-sync": ("ga", python("openai_ga_sync.py", packages.GA_PYTHON)),
    "openai-1.100.0-beta": ("beta", python("openai_beta.py", packages.BETA_PYTHON)),
    "openai-agents": ("ga", python("agents_python.py", packages.GA_PYTHON)),
    "@openai/agents-realtime": ("ga", node("agents_js.mjs")),
    "openai-realtime-api": ("beta", node("beta_js.mjs")),
}
SECURE_CLIENTS = {"openai-npm": ("ga", node("openai_js.mjs"))}
DIALECTS = {"ga": GA, "beta": BETA}
NAMES = {
    "ga": ("response.output_audio.delta", "response.output_audio_transcript.done"),
    "beta": ("response.audio.delta", "response.audio_transcript.done"),
}


@pytest.fixture(scope="module")
def installed() -> None:
    """Install all of them at the same time: most of it is waiting."""
    with ThreadPoolExecutor() as threads:
        wanted = [threads.submit(packages.python_packages, one) for one in (packages.GA_PYTHON, packages.BETA_PYTHON)]
        wanted.append(threads.submit(packages.node_packages, packages.NODE))
    for one in wanted:
        one.exception()  # a test that needs it says what is missing


@pytest.fixture(scope="module")
def said() -> np.ndarray:
    samples, rate_hz = speech()
    return resample(samples, rate_hz, RATE_HZ)


@pytest.fixture(scope="module")
def recording(said: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clients") / "speech_24k.pcm"
    path.write_bytes((said * 32767).astype("<i2").tobytes())
    return path


@contextmanager
def serving(profile: str, certificate: Certificate | None = None) -> Iterator[RelayProcess]:
    """Run relay with the simulator in a profile, with captions in each."""
    env = {"RELAY_INSTRUCTIONS": CANARY_PROMPT, "RELAY_TRANSCRIPTION_MODEL": "gpt-transcribe"}
    flags = ("--upstream", "simulator", "--profile", profile, "--log-level", "debug")
    with relay_process(*flags, env=env, certificate=certificate) as process:
        yield process


@pytest.fixture
def relay() -> Iterator[RelayProcess]:
    with serving("openai") as process:
        yield process


@pytest.mark.parametrize("client", CLIENTS)
def test_a_sentence_spoken_through_an_official_client_is_heard_again(
    client: str, installed: None, relay: RelayProcess, recording: Path, said: np.ndarray
) -> None:
    kinds = converse(client, relay, recording, said)
    is_beta = CLIENTS[client][0] == "beta"
    assert ("conversation.created" in kinds) == is_beta, "the handshake did not show the dialect"


@pytest.mark.parametrize("client", SECURE_CLIENTS)
def test_a_sentence_spoken_through_a_client_that_insists_on_tls_is_heard_again(
    client: str, installed: None, recording: Path, said: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = Certificate.issue(tmp_path)
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(certificate.authority_file))
    with serving("openai", certificate) as relay:
        converse(client, relay, recording, said)


@pytest.mark.parametrize(
    ("client", "profile"),
    [("openai-ga-async", "qwen"), ("openai-realtime-api", "xai"), ("@openai/agents-realtime", "speaches")],
)
def test_official_clients_meet_upstreams_of_other_dialects_and_rates(
    client: str, profile: str, installed: None, recording: Path, said: np.ndarray
) -> None:
    with serving(profile) as relay:
        converse(client, relay, recording, said)


def converse(client: str, relay: RelayProcess, recording: Path, said: np.ndarray) -> list[str]:
    """Let a client say the sentence, judge what it heard, and return the types of it."""
    dialect, run = (CLIENTS | SECURE_CLIENTS)[client]
    audio_delta, transcript_done = NAMES[dialect]
    events = run(relay, recording)
    kinds = [event["type"] for event in events]

    assert {kind for kind in kinds if not kind.startswith("client.")} <= set(DIALECTS[dialect].server) - {"error"}
    assert "client.error" not in kinds
    assert "session.updated" in kinds, "the client's own settings were not answered"
    assert similarity(heard(events, audio_delta), said) >= 0.95
    assert next(event for event in events if event["type"] == transcript_done)["transcript"]
    assert next(event for event in events if event["type"] == "response.done")["response"]["status"] == "completed"
    assert_in_order(kinds, "input_audio_buffer.speech_started", "input_audio_buffer.committed", "response.created")
    assert_nothing_secret(events, relay)
    return kinds


def test_what_the_operator_pinned_is_refused_by_name_and_the_client_goes_on(
    installed: None, relay: RelayProcess, recording: Path
) -> None:
    events = packages.run_python("openai_ga_pinned.py", packages.GA_PYTHON, relay, recording)
    refused = [event["error"]["param"] for event in events if event["type"] == "error"]
    assert refused == ["response.instructions", "item.role"]
    (spoken,) = [event for event in events if event["type"] == "response.output_audio_transcript.done"]
    assert spoken["transcript"] == "good morning"


def test_openais_package_gets_a_ticket_and_connects_with_it(installed: None, recording: Path) -> None:
    with relay_process("--upstream", "simulator", env={**TICKETS, "RELAY_INSTRUCTIONS": CANARY_PROMPT}) as relay:
        env = {"BACK_END_KEY": TOKEN}
        events = packages.run_python("openai_ticket.py", packages.GA_PYTHON, relay, recording, env)
    secret = events[0]
    assert secret["value"].startswith("ek_")
    assert secret["session"]["object"] == "realtime.session"
    assert "CANARY" not in json.dumps(events)
    assert next(event for event in events if event["type"] == "response.done")["response"]["status"] == "completed"
    refused = [(event["code"], event["param"]) for event in events if event["type"] == "client.refused"]
    assert refused == [("invalid_value", "expires_after.seconds"), ("invalid_api_key", None)]


def test_the_page_names_the_versions_that_are_tested() -> None:
    page = (ROOT / "docs" / "openai-clients.md").read_text()
    for requirement in (*packages.GA_PYTHON, *packages.BETA_PYTHON, *packages.NODE):
        name, version = re.split(r"==|(?<=.)@", requirement.replace("[realtime]", ""))
        assert name == "zod" or f"`{name}` {version}" in page


def heard(events: Events, audio_delta: str) -> np.ndarray:
    """Give the answer's audio: as the client's player got it, if it told so, else from its events."""
    told = [event["audio"] for event in events if event["type"] == "client.audio"]
    deltas = told or [event["delta"] for event in events if event["type"] == audio_delta]
    return np.frombuffer(b"".join(base64.b64decode(delta) for delta in deltas), "<i2") / 32768


def assert_in_order(kinds: list[str], *expected: str) -> None:
    places = [kinds.index(kind) for kind in expected]
    assert places == sorted(places)


def assert_nothing_secret(events: Events, relay: RelayProcess) -> None:
    told = json.dumps(events)
    assert "CANARY" not in told
    assert "pirate" not in json.dumps([event for event in events if event["type"].startswith("session.")])
    relay.stop()
    assert CANARY_KEY not in relay.stderr
    assert "reason=relay_client_gone" in relay.stderr
