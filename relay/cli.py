"""The command line: `relay serve` and `relay simulate`.

It turns argv and environment into one Config, starts what was asked for, and says how it went:

    0  it ran and was stopped       1  it could not run, a port in use for example
    2  a setting is wrong           130  interrupted before it ran

What went wrong is one line on stderr, without traceback, and names the setting. Standard output carries only what a
person or a script waits for: one line about the simulator if it is used, then the address, on a line of its own.
Servers are imported inside their commands, so that `--help` and `--version` answer at once.

What is imported stays. So the garbage collector does not look at it: not while it comes, which took a tenth of a start,
and not later, when each full collection would hold up all sessions for 10 ms and more.
"""

from __future__ import annotations

import errno
import gc
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NoReturn

import click

from relay import __version__
from relay.config import DEFAULTS, Config, flag, help_for, variable
from relay.config_sources import check, load
from relay.errors import ConfigError, RelayError

NO_KEY = "No OPENAI_API_KEY: using the built-in simulator, which repeats what you say."
BY_CHOICE = "Using the built-in simulator, which repeats what you say."


class GroupedOption(click.Option):
    """An option that `--help` lists under a heading."""

    def __init__(self, *args: Any, heading: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heading = heading


class GroupedCommand(click.Command):
    """A command whose `--help` lists options under their headings, in the order of their first appearance."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record:
                groups.setdefault(getattr(parameter, "heading", "Options"), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def setting(field: str, metavar: str, heading: str, **kwargs: Any) -> Callable[[Any], Any]:
    """Make an option of a Config field. Its text goes to `load` unread: one place says what is right."""
    default = getattr(DEFAULTS, field)
    shown = f"{default}, " if default and not field.startswith("instructions") else ""
    text = f"{kwargs.pop('help', help_for(field))}  [{shown}{variable(field)}]"
    return click.option(flag(field), cls=GroupedOption, metavar=metavar, heading=heading, help=text, **kwargs)


def show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    """Say the version, and which machine code the audio path runs on here."""
    if wanted:
        audio: str
        try:
            from relay.audio import native_info

            audio = native_info().simd
        except ImportError as error:
            audio = f"missing: {error}"
        click.echo(f"relay {__version__} (C audio path: {audio})")
        ctx.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="Show the version."
)
def commands() -> None:
    """Put a voice agent on the web, with the API key on the server.

    Start with `relay serve`, open the address that it prints, and talk.
    """


@commands.command(cls=GroupedCommand)
@setting("host", "ADDRESS", "Where it listens")
@setting("port", "PORT", "Where it listens")
@setting("allow_origin", "ORIGIN", "Where it listens", multiple=True)
@setting("tls_certificate_file", "PATH", "Where it listens")
@setting("tls_key_file", "PATH", "Where it listens")
@setting("max_sessions", "N", "Where it listens")
@setting(
    "upstream",
    "WHICH",
    "Who answers",
    help="simulator, openai, xai, qwen, localai, or the URL of a server that speaks the Realtime API. "
    "Without it: the profile's address, else openai if OPENAI_API_KEY is set, else simulator.",
)
@setting("profile", "NAME", "Who answers")
@setting("model", "NAME", "Who answers")
@setting("voice", "NAME", "Who answers")
@setting("transcription_model", "NAME", "Who answers")
@setting("instructions", "TEXT", "What it is told")
@setting("instructions_file", "PATH", "What it is told")
@setting("tools_file", "PATH", "What it is told")
@setting("policy", "WHICH", "What clients may do")
@setting("turn_detection", "HOW", "What it is told")
@setting("log_level", "LEVEL", "Logs and settings")
@setting("log_format", "FORMAT", "Logs and settings")
@click.option(
    "--config",
    cls=GroupedOption,
    metavar="PATH",
    heading="Logs and settings",
    help="File with settings, TOML.  [RELAY_CONFIG]",
)
def serve(**flags: Any) -> None:
    """Serve the page and carry its voice sessions to the Realtime API.

    The keys come from the environment: OPENAI_API_KEY for OpenAI, RELAY_UPSTREAM_KEY for any other upstream. Every
    option can be given as an environment variable, whose name stands in brackets, or in the file; options beat
    environment beats file. More settings: docs/configuration.md.
    """
    for early in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(early, signal.SIG_IGN)  # before relay listens there is nothing to reload or to tell
    config = load(flags, os.environ)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the keys
    _configure_log(config)
    if config.upstream_kind == "simulator":
        name = variable("simulator_faults")
        _check_faults(config.simulator_faults, name if name in os.environ else "simulator_faults")
        _say(BY_CHOICE if config.upstream else NO_KEY)

    from relay.server import serve as serve_relay

    _run(partial(serve_relay, config), config.host, config.port)


FAULTS = """
\b
Faults, separated by commas, each NAME[:ARGUMENT][@POINT][*COUNT]:
  refuse[:STATUS[/RETRY_AFTER_S]]  answer the handshake with this status
  unauthorized                     accept, then say that the key is wrong
  drop                             cut the connection mid-sentence
  stall                            stop reading and sending mid-sentence
  flood[:COUNT]                    send so many events at once
  expire                           say that the session is too old
  malformed[:KIND]                 json, binary, type, base64, huge or frame
  close[:CODE[/REASON]]            close with this code

\b
POINT is request, open, created, updated, speech, response or audio[=MS];
COUNT limits a fault to the first connections: refuse:503*2.
The same in the URL strikes one connection: ?fault=drop@audio=800
"""


@commands.command(cls=GroupedCommand, epilog=FAULTS)
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help=help_for("host"))
@click.option(
    "--port", metavar="PORT", default="8001", show_default=True, help="Port to listen on; 0 takes a free one."
)
@click.option(
    "--profile",
    type=click.Choice(["openai", "azure", "xai", "qwen", "localai", "speaches"]),
    default="openai",
    show_default=True,
    help="The service to play: its path, its key, its dialect, its rates, and what it lacks.",
)
@click.option("--seed", metavar="N", default="0", show_default=True, help="Same seed, same conversation.")
@click.option("--fault", "faults", metavar="SPEC", default="", help="Faults to play (below).")
@click.option("--key", metavar="KEY", help="Accept only this key; without it, any.")
@click.option("--log-level", metavar="LEVEL", default="info", show_default=True, help=help_for("log_level"))
@click.option("--log-format", metavar="FORMAT", default="text", show_default=True, help=help_for("log_format"))
def simulate(
    host: str, port: str, profile: str, seed: str, faults: str, key: str | None, log_level: str, log_format: str
) -> None:
    """Run the simulator alone: a Realtime API in a box.

    It needs no network and no key, costs nothing and leaves nothing to chance: it repeats what it hears and answers
    typed text aloud. Anything that speaks the Realtime API can connect to it. It plays OpenAI's service, or with
    --profile one of those that are like it and are not the same.
    """
    config = Config(
        host=check("host", host, "--host"),
        port=check("port", port, "--port"),
        simulator_seed=check("simulator_seed", seed, "--seed"),
        simulator_faults=check("simulator_faults", faults, "--fault"),
        log_level=check("log_level", log_level, "--log-level"),
        log_format=check("log_format", log_format, "--log-format"),
    )
    _configure_log(config)

    _check_faults(config.simulator_faults, "--fault")

    from relay.simulator import SimulatorOptions, serve_simulator

    options = SimulatorOptions(profile, config.simulator_seed, config.simulator_faults, key or None)
    server = partial(serve_simulator, options, host=config.host, port=config.port)
    _run(partial(_until_signal, server), config.host, config.port)


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    gc.disable()  # until a server listens
    _open_standard_streams()
    try:
        commands.main(prog_name="relay", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.exit_code, error.format_message())
    except ConfigError as error:
        _fail(2, error.public)
    except RelayError as error:
        _fail(1, f"{error.public} {error.detail}".strip())
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    sys.exit(0)


def _configure_log(config: Config) -> None:
    from relay import log

    log.configure(config.log_level, config.log_format)
    log.hide(config.openai_api_key)
    log.hide(config.upstream_key)
    log.hide(config.server_token)
    for secret in (*config.ticket_secret, *config.tools.secrets):
        log.hide(secret)


def _check_faults(text: str, source: str) -> None:
    """Refuse a script of faults that the simulator cannot read. ConfigError names `source`."""
    if text:
        from relay.simulator.faults import parse

        try:
            parse(text)
        except ValueError as error:
            raise ConfigError(f"{source}: {error}") from None


def _run(server: Callable[..., Awaitable[None]], host: str, port: int) -> None:
    """Run `server` until it ends; print the address that it reports. Raises the one error behind a group of one."""
    import trio

    started = False

    async def run() -> None:
        nonlocal started
        async with trio.open_nursery() as nursery:
            address: str = await nursery.start(server)
            started = True
            gc.freeze()
            gc.enable()
            _say(_page(address))

    try:
        trio.run(run)
    except BaseExceptionGroup as group:
        error = _only_cause(group)
        if isinstance(error, OSError) and not started:
            raise click.ClickException(_cannot_listen(host, port, error)) from None
        if isinstance(error, (RelayError, KeyboardInterrupt)):
            raise error from None
        raise


def _say(line: str) -> None:
    """Tell whoever looks at standard output. If nobody does, that is no reason not to serve."""
    try:
        click.echo(line)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)  # what Python still holds of it goes there at the end
        os.close(nowhere)


def _open_standard_streams() -> None:
    """Let nothing else get a descriptor below 3: what is written to a stream that was closed would go there."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(descriptor, "r" if number == 0 else "w"))


def _page(address: str) -> str:
    """Give the address as a browser shows it: that of a page ends with a slash, that of an API does not."""
    return address + "/" if address.count("/") == 2 else address


async def _until_signal(server: Callable[..., Awaitable[None]], *, task_status: Any) -> None:
    """Run `server`, which ends only when it is cancelled, until SIGINT or SIGTERM."""
    import trio

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            task_status.started(await nursery.start(server))
            await anext(aiter(signals))
            nursery.cancel_scope.cancel()


def _only_cause(group: BaseExceptionGroup[Any]) -> BaseException:
    """Give the one error inside nested groups, or the group itself if there are several."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port: {port} is in use on {host}; choose another, or 0 for a free one"
    if error.errno == errno.EACCES:
        return f"--port: no permission to listen on {port}"
    return f"--host: cannot listen on {host}: {error.strerror or error}"


def _fail(exit_code: int, message: str) -> NoReturn:
    """Say in one line what is wrong. What was typed may be in it: nothing but printable characters gets out."""
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(message.split()))
    click.echo(f"relay: {line}", err=True)
    sys.exit(exit_code)
