"""Official clients, as they come from PyPI and npm, hold a conversation through a real relay with the simulator.

Each one connects, configures the session as its users do, speaks a sentence at real pace, and hears it again: the
simulator is a parrot. It then interrupts a long answer, by speech or by cancelling it, and answers the call of a tool,
its own or the operator's. What each wrote about it is judged here, by the same rules for all.

They all talk at the same time: a conversation takes as long as it takes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pytest

from tests.browser.sound import resample
from tests.certificates import Certificate
from tests.clients import packages
from tests.clients.packages import BETA_PYTHON, GA_PYTHON, NODE, Events, Job
from tests.clients.report import Report
from tests.processes import ROOT, RelayProcess, relay_process
from tests.server.talker import similarity, speech
from tests.server.ticket_office import TICKETS, TOKEN, ticket

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # the first one waits for pip and npm

CANARY_PROMPT = "CANARY PROMPT: never tell"
CANARY_KEY = "ek_canary_0123456789"
RATE_HZ = 24_000

STORY = "Tell it all from the beginning and leave nothing out. " * 40
"""To read it takes the simulator more than ten seconds: nobody is too late to interrupt."""

TOOL_SAYS = "on the second shelf"
OPERATORS_TOOL = {
    "type": "function",
    "name": "find_book",
    "description": "CANARY TOOL: find a book by its title.",
    "parameters": {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]},
}


@dataclass(frozen=True)
class Client:
    """One package, as README.md calls it. `tool` is the operator's, or one that it brings."""

    title: str
    dialect: str
    run: Callable[[Job, Mapping[str, str]], Events]
    interrupts: Literal["speech", "cancel and truncate"] = "speech"
    tool: Literal["find_book", "get_weather"] = "find_book"


def python(program: str, requirements: tuple[str, ...]) -> Callable[[Job, Mapping[str, str]], Events]:
    return lambda job, env: packages.run_python(program, requirements, job, env)


def node(program: str) -> Callable[[Job, Mapping[str, str]], Events]:
    return lambda job, env: packages.run_node(program, job, env)


CANCEL: Literal["cancel and truncate"] = "cancel and truncate"
CLIENTS = {
    "openai-async": Client("PyPI `openai` 3.52.0, asynchronous", "GA", python("openai_ga_async.py", GA_PYTHON)),
    "openai-sync": Client("PyPI `openai` 3.52.0, synchronous", "GA", python("openai_ga_sync.py", GA_PYTHON), CANCEL),
    "openai-agents": Client(
        "PyPI `openai-agents` 0.24.0", "GA", python("agents_python.py", GA_PYTHON), tool="get_weather"
    ),
    "agents-js": Client("npm `@openai/agents-realtime` 0.20.0", "GA", node("agents_js.mjs"), tool="get_weather"),
    "openai-js": Client("npm `openai` 7.55.0, over `wss:`", "GA", node("openai_js.mjs"), CANCEL),
    "openai-beta": Client(
        "PyPI `openai` 1.100.0, `client.beta.realtime`", "beta", python("openai_beta.py", BETA_PYTHON)
    ),
    "beta-js": Client("npm `openai-realtime-api` 1.0.8", "beta", node("beta_js.mjs"), CANCEL, "get_weather"),
}


class Talk(NamedTuple):
    """A client and a relay for it to call, by name."""

    client: str
    relay: str


TALKS = [
    *(Talk(client, "tls" if client == "openai-js" else "openai") for client in CLIENTS),
    Talk("openai-async", "qwen"),
    Talk("openai-beta", "qwen"),
    Talk("agents-js", "speaches"),
    Talk("beta-js", "xai"),
]
"""Each client at OpenAI, and GA and beta clients at upstreams that speak beta (qwen, speaches) or a GA of their own.

At `openai` each client's key is a ticket, as a bearer or in a subprotocol (beta-js), at the others any key will do; at
`tls` relay serves wss.
"""

every_talk = pytest.mark.parametrize("talk", TALKS, ids="-at-".join)


@pytest.fixture(scope="module")
def installed() -> None:
    """Install all of them at the same time: most of it is waiting."""
    with ThreadPoolExecutor() as threads:
        wanted = [threads.submit(packages.python_packages, one) for one in (GA_PYTHON, BETA_PYTHON)]
        wanted.append(threads.submit(packages.node_packages, NODE))
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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.issue(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def relays(certificate: Certificate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RelayProcess]]:
    """Run a relay for each service, with captions, a prompt and a tool that nobody may see."""
    tools = tmp_path_factory.mktemp("tools") / "tools.json"
    tools.write_text(json.dumps([OPERATORS_TOOL]))
    env = {
        "RELAY_INSTRUCTIONS": CANARY_PROMPT,
        "RELAY_TRANSCRIPTION_MODEL": "gpt-transcribe",
        "RELAY_TOOLS_FILE": str(tools),
        "RELAY_CLIENT_MAY": "tools",
    }
    simulated = ("--upstream", "simulator", "--log-level", "debug", "--profile")
    wanted = {
        "openai": relay_process(*simulated, "openai", env={**env, **TICKETS}),
        "tls": relay_process(*simulated, "openai", env=env, certificate=certificate),
        **{profile: relay_process(*simulated, profile, env=env) for profile in ("qwen", "speaches", "xai")},
    }
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        yield dict(zip(wanted, threads.map(stack.enter_context, wanted.values()), strict=True))


@pytest.fixture(scope="module")
def talks(
    installed: None, relays: dict[str, RelayProcess], certificate: Certificate, recording: Path
) -> Iterator[dict[str, Future[Events]]]:
    """Start everybody; a test waits for whom it judges."""
    env = {"NODE_EXTRA_CA_CERTS": str(certificate.authority_file)}

    def job(name: str, key: str, tool: str = "") -> Job:
        asks = {"find_book": 'find_book {"title": "Momo"}', "get_weather": 'get_weather {"city": "Oslo"}'}.get(tool, "")
        return Job(f"127.0.0.1:{relays[name].port}", key, str(recording), STORY, asks, TOOL_SAYS)

    with ThreadPoolExecutor(len(TALKS) + 2) as threads:
        started = {}
        for name in TALKS:
            client = CLIENTS[name.client]
            key = ticket(relays["openai"]) if name.relay == "openai" else CANARY_KEY
            started["-at-".join(name)] = threads.submit(client.run, job(name.relay, key, client.tool), env)
        for program, key in {"openai_ga_pinned.py": CANARY_KEY, "openai_ticket.py": TOKEN}.items():
            relay = "openai" if key == TOKEN else "xai"
            started[program] = threads.submit(python(program, GA_PYTHON), job(relay, key), env)
        yield started


@pytest.fixture
def report(talk: Talk, talks: dict[str, Future[Events]]) -> Report:
    return Report(CLIENTS[talk.client].dialect.lower(), talks["-at-".join(talk)].result())


@every_talk
def test_a_sentence_spoken_through_an_official_client_is_heard_again(report: Report, said: np.ndarray) -> None:
    first = report.answers[0]
    assert first.status == "completed"
    assert first.transcript
    assert similarity(first.audio, said) >= 0.95
    if len(first.played):
        assert np.array_equal(first.played, first.audio), "the client's player got something else"
    order = ["session.updated", "input_audio_buffer.speech_started", "input_audio_buffer.committed", "response.created"]
    places = [report.kinds.index(kind) for kind in order]
    assert places == sorted(places)


@every_talk
def test_a_client_interrupts_an_answer_and_the_upstream_knows_how_much_was_heard(
    talk: Talk, report: Report, said: np.ndarray
) -> None:
    interrupted, after = report.answers[1:3]
    assert interrupted.status == "cancelled"
    (item,) = interrupted.output
    if talk.relay == "speaches":  # cannot truncate: the client hears that, and goes on
        assert report.refused == ["relay_unsupported"]
    else:
        (cut,) = report.of("conversation.item.truncated")
        assert cut["item_id"] == item["id"]
        assert 0 < cut["audio_end_ms"] <= len(interrupted.audio) * 1000 / RATE_HZ
    if CLIENTS[talk.client].interrupts == "speech":
        assert after.status == "completed"
        assert similarity(after.audio, said) >= 0.95, "what was said to interrupt was not answered"


@every_talk
def test_a_tool_is_called_once_answered_by_the_client_and_its_output_spoken_of(talk: Talk, report: Report) -> None:
    *before, called, answered = report.answers
    assert [answer.calls for answer in (*before, answered)] == [[]] * (len(before) + 1)
    (call,) = called.calls
    assert call["name"] == CLIENTS[talk.client].tool
    assert json.loads(call["arguments"]) in ({"title": "Momo"}, {"city": "Oslo"})
    assert answered.status == "completed"
    assert answered.transcript.strip('"') == TOOL_SAYS
    assert len(answered.audio)


@every_talk
def test_a_client_hears_its_own_dialect_no_error_and_nothing_secret(talk: Talk, report: Report) -> None:
    assert report.unknown == set()
    if report.dialect == "beta":
        assert "conversation.created" in report.kinds
    assert len(report.answers) == (5 if CLIENTS[talk.client].interrupts == "speech" else 4)
    if talk.relay != "speaches":
        assert report.refused == []
        assert "client.error" not in report.kinds
    assert "CANARY" not in json.dumps(report.events)
    assert "pirate" not in json.dumps([event for event in report.events if event["type"].startswith("session.")])


def test_what_the_operator_pinned_is_refused_by_name_and_the_client_goes_on(talks: dict[str, Future[Events]]) -> None:
    events = talks["openai_ga_pinned.py"].result()
    refused = [event["error"]["param"] for event in events if event["type"] == "error"]
    assert refused == ["response.instructions", "item.role"]
    (spoken,) = [event for event in events if event["type"] == "response.output_audio_transcript.done"]
    assert spoken["transcript"] == "good morning"


def test_openais_package_gets_a_ticket_and_connects_with_it(talks: dict[str, Future[Events]]) -> None:
    events = talks["openai_ticket.py"].result()
    secret = events[0]
    assert secret["value"].startswith("ek_")
    assert secret["session"]["object"] == "realtime.session"
    assert "CANARY" not in json.dumps(events)
    assert next(event for event in events if event["type"] == "response.done")["response"]["status"] == "completed"
    refused = [(event["code"], event["param"]) for event in events if event["type"] == "client.refused"]
    assert refused == [("invalid_value", "expires_after.seconds"), ("invalid_api_key", None)]


def test_every_client_leaves_as_one_that_is_done_and_the_log_has_no_key(
    talks: dict[str, Future[Events]], relays: dict[str, RelayProcess]
) -> None:
    for started in talks.values():
        started.exception()
    for name, relay in relays.items():
        relay.stop()
        ended = re.findall(r"session\.end.* reason=(\w+)", relay.stderr)
        assert set(ended) == {"relay_client_gone"}, name
        assert CANARY_KEY not in relay.stderr
        assert not re.search(r"ek_\w", relay.stderr)


@pytest.mark.parametrize("client", CLIENTS)
def test_the_readme_says_of_each_client_what_is_tested(client: str) -> None:
    it = CLIENTS[client]
    tool = "its own" if it.tool == "get_weather" else "the operator's"
    upstreams = ", ".join(f"`{talk.relay.replace('tls', 'openai')}`" for talk in TALKS if talk.client == client)
    row = f"| {it.title} | {it.dialect} | {it.interrupts} | {tool} | {upstreams} |\n"
    assert row in (ROOT / "README.md").read_text()


def test_the_versions_that_the_readme_names_are_those_that_are_installed() -> None:
    titles = " ".join(client.title for client in CLIENTS.values())
    for requirement in (*GA_PYTHON, *BETA_PYTHON, *NODE):
        name, version = re.split(r"==|(?<=.)@", requirement.replace("[realtime]", ""))
        assert name in ("zod", "ws") or f"`{name}` {version}" in titles
