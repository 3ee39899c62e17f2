"""Tokens from a command: fetched once, renewed in time, shared by all sessions, and never shown."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from relay import credentials, log
from relay.config import Config, Secret
from relay.credentials import StaticKey, TokenCommand
from relay.errors import UpstreamNoToken

NOW_S = 1_700_000_000.0


class Clock:
    """The time of day, as a test says it is."""

    now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


class Program:
    """A program that prints what it is told to, and notes that it ran."""

    def __init__(self, folder: Path) -> None:
        self.path, self._runs = folder / "give-token", folder / "runs"
        self._runs.touch()

    def does(self, script: str) -> None:
        self.path.write_text(f"#!/bin/sh\necho run >> '{self._runs}'\n{script}\n")
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)

    def prints(self, text: str) -> None:
        self.does(f"cat <<'END'\n{text}\nEND")

    def prints_token(self, token: str, *, left_s: float) -> None:
        self.prints(json.dumps({"accessToken": token, "expires_on": int(NOW_S + left_s)}))

    def fails(self) -> None:
        self.does("echo canary-output; echo canary-complaint >&2; exit 7")

    @property
    def runs(self) -> int:
        return len(self._runs.read_text().splitlines())


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


async def token_of(command: TokenCommand) -> str:
    secret = await command.current()
    assert secret is not None
    return secret.reveal()


async def test_a_token_is_fetched_once_and_renewed_before_it_expires(program: Program) -> None:
    clock = Clock()
    command = TokenCommand(str(program.path), now_s=clock)
    program.prints_token("first", left_s=3_600)
    assert [await token_of(command), await token_of(command)] == ["first", "first"]
    assert program.runs == 1
    program.prints_token("second", left_s=7_200)
    clock.now_s += 3_600 - credentials.REFRESH_AHEAD_S - 1
    assert await token_of(command) == "first"
    clock.now_s += 2
    assert await token_of(command) == "second"
    assert program.runs == 2


@pytest.mark.parametrize(
    ("printed", "left_s"),
    [
        ('{"accessToken": "tok", "expires_on": 1700003600, "expiresOn": "2023-11-14 23:13:20.000000"}', 3_600),
        ('{"access_token": "tok", "expires_on": "1700003600", "expires_in": "86399"}', 3_600),
        ('{"access_token": "tok", "expires_in": 3599, "token_type": "Bearer"}', 3_599),
        ('{"accessToken": "tok", "expires_on": "tomorrow"}', credentials.UNKNOWN_LIFE_S),
        ('{"access_token": "tok", "expires_on": "inf", "expires_in": "nan"}', credentials.UNKNOWN_LIFE_S),
        ('{"access_token": "tok", "expires_in": 1' + 400 * "0" + "}", credentials.UNKNOWN_LIFE_S),
        ("  tok\n", credentials.UNKNOWN_LIFE_S),
    ],
)
async def test_json_of_azure_or_of_oauth_and_a_bare_token_are_understood(
    program: Program, printed: str, left_s: float
) -> None:
    clock = Clock()
    command = TokenCommand(str(program.path), now_s=clock)
    program.prints(printed)
    assert await token_of(command) == "tok"
    clock.now_s += left_s - credentials.REFRESH_AHEAD_S - 1
    assert await token_of(command) == "tok"
    assert program.runs == 1
    clock.now_s += 2
    await token_of(command)
    assert program.runs == 2


@pytest.mark.parametrize(
    "printed", ["", "two words", "{", "[1]", '{"accessToken": 5}', "{}", '{"accessToken": "über"}', "x" * 20_000]
)
async def test_what_is_no_token_is_refused_and_not_repeated(program: Program, printed: str) -> None:
    program.prints(printed)
    with pytest.raises(UpstreamNoToken) as failed:
        await TokenCommand(str(program.path)).current()
    assert "upstream_token_command printed" in failed.value.detail
    assert len(printed) < 3 or printed not in failed.value.detail


async def test_arguments_are_passed_as_they_are_written_and_no_shell_reads_them(program: Program) -> None:
    program.does('test "$1" = "two words" && test "$2" = \'$HOME;\' && echo tok')
    assert await token_of(TokenCommand(f"'{program.path}' 'two words' '$HOME;'")) == "tok"


async def test_sessions_that_come_together_share_one_run(program: Program, tmp_path: Path) -> None:
    command = TokenCommand(str(program.path), now_s=Clock())
    gate = fifo(tmp_path)
    program.does(f"read line < '{gate}'; echo tok")
    tokens: list[str] = []

    async def ask() -> None:
        tokens.append(await token_of(command))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
        await opened(gate)
    assert tokens == ["tok"] * 5
    assert program.runs == 1


async def test_sessions_that_wait_for_a_run_share_its_failure(program: Program, tmp_path: Path) -> None:
    command = TokenCommand(str(program.path), now_s=Clock())
    gate = fifo(tmp_path)
    program.does(f"read line < '{gate}'; exit 1")
    failures: list[UpstreamNoToken] = []

    async def ask() -> None:
        with pytest.raises(UpstreamNoToken) as failed:
            await command.current()
        failures.append(failed.value)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
        await opened(gate)
    assert len({failure.detail for failure in failures}) == 1
    assert len({id(failure) for failure in failures}) == 5, "each session writes its own time to wait on its own"
    assert program.runs == 1


async def test_nobody_waits_for_a_new_token_while_the_old_one_holds(program: Program, tmp_path: Path) -> None:
    clock = Clock()
    command = TokenCommand(str(program.path), now_s=clock)
    program.prints_token("first", left_s=3_600)
    await command.current()
    clock.now_s += 3_500
    gate = fifo(tmp_path)
    program.does(f"read line < '{gate}'; echo second")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(command.current)
        await trio.testing.wait_all_tasks_blocked()
        assert await token_of(command) == "first"
        await opened(gate)
    assert await token_of(command) == "second"


async def test_who_leaves_during_the_run_takes_nothing_from_the_others(program: Program, tmp_path: Path) -> None:
    command = TokenCommand(str(program.path), now_s=Clock())
    gate = fifo(tmp_path)
    program.does(f"echo running > '{gate}'; exec sleep 60")
    with trio.CancelScope() as leaving:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(command.current)
            await trio.to_thread.run_sync(gate.read_text)
            leaving.cancel()
    program.prints("tok")
    assert await token_of(command) == "tok"


async def test_a_failure_leaves_the_old_token_in_use_while_it_holds(program: Program) -> None:
    clock = Clock()
    command = TokenCommand(str(program.path), now_s=clock)
    program.prints_token("first", left_s=3_600)
    await command.current()
    program.fails()
    clock.now_s += 3_500
    with capture_logs() as logs:
        assert [await token_of(command) for _ in range(3)] == ["first"] * 3
    assert [line["event"] for line in logs] == ["upstream.no_token"], "one attempt in ten seconds"
    assert "canary" not in str(logs)
    assert program.runs == 2
    clock.now_s += 100
    with pytest.raises(UpstreamNoToken) as failed:
        await command.current()
    assert failed.value.detail == (
        "upstream_token_command (give-token) ended with exit code 7; run it by hand to see what it says"
    )
    program.prints_token("second", left_s=7_200)
    assert await token_of(command) == "second"


async def test_a_command_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UpstreamNoToken) as failed:
        await TokenCommand(f"{tmp_path}/absent --secret canary").current()
    assert failed.value.detail == "upstream_token_command (absent) cannot be run: No such file or directory"


async def test_a_command_that_hangs_is_killed_at_its_deadline(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "COMMAND_DEADLINE_S", 0.2)
    program.does("trap '' TERM; exec sleep 60")
    with trio.fail_after(10), pytest.raises(UpstreamNoToken) as failed:
        await TokenCommand(str(program.path)).current()
    assert failed.value.detail == "upstream_token_command (give-token) did not end within 0.2 s"


async def test_a_token_that_has_expired_when_it_comes_is_not_used(program: Program) -> None:
    program.prints_token("old", left_s=-1)
    with pytest.raises(UpstreamNoToken) as failed:
        await TokenCommand(str(program.path), now_s=Clock()).current()
    assert "printed a token that has expired" in failed.value.detail


async def test_a_token_that_was_refused_is_asked_for_anew(program: Program) -> None:
    command = TokenCommand(str(program.path), now_s=Clock())
    program.prints_token("first", left_s=3_600)
    first = await command.current()
    program.prints_token("second", left_s=3_600)
    command.refused(Secret("another"))
    assert await token_of(command) == "first"
    command.refused(first)
    assert await token_of(command) == "second"


async def test_the_log_hides_the_tokens_in_use_and_forgets_those_of_yesterday(program: Program) -> None:
    clock = Clock()
    command = TokenCommand(str(program.path), now_s=clock)
    for day, token in enumerate(("token-of-day-1", "token-of-day-2", "token-of-day-3"), start=1):
        program.prints_token(token, left_s=86_400 * day)
        await command.current()
        clock.now_s += 86_400
    assert [log.redact(f"token-of-day-{day}") for day in (1, 2, 3)] == ["token-of-day-1", log.MASK, log.MASK]


async def test_whatever_the_key_comes_from_asking_is_a_checkpoint(program: Program) -> None:
    command = TokenCommand(str(program.path), now_s=Clock())
    program.prints_token("tok", left_s=3_600)
    await command.current()
    for one in (command, StaticKey(Config().upstream_key)):
        with trio.testing.assert_checkpoints():
            await one.current()


def fifo(folder: Path) -> Path:
    """Make a gate at which a program and its test meet: whoever opens one end waits for the other."""
    path = folder / "gate"
    os.mkfifo(path)
    return path


async def opened(gate: Path) -> None:
    """Let the program that reads the gate go on."""
    await trio.to_thread.run_sync(gate.write_text, "go\n")
