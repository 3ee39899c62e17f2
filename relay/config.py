"""Every setting of relay, in one frozen value, and the way to it from flags, environment, file and defaults.

A field's name is its name everywhere: `send_deadline_s` is RELAY_SEND_DEADLINE_S in the environment and
`send_deadline_s` in relay.toml; the everyday ones are flags as well (`--max-sessions`). Units are part of the name.
docs/configuration.md explains each of them.

Rules:
- Flags beat environment beats file beats default. Nothing else is consulted, and no file is read unless it is named.
- A setting that is wrong, or unknown, stops the start with one line that names it the way it was given.
- Keys come from the environment only. They are masked in every text form, cannot be serialised, and OpenAI's key is
  handed out for OpenAI's hosts alone (`Config.key_for`).
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from relay.addresses import (
    OPENAI_URL,
    check_origin,
    is_host,
    is_loopback,
    is_openai,
    loopback_origins,
    parse_upstream,
)
from relay.errors import ConfigError

INSTRUCTIONS_LIMIT_BYTES = 65_536  # 16,384 tokens, which is what the API takes, at about 4 bytes each
FILE_LIMIT_BYTES = 1_048_576
DEFAULT_INSTRUCTIONS = (
    "You are a friendly voice assistant. Answer briefly, as one speaks, in the language of the person who is talking. "
    "If you did not understand something, say so and ask."
)


class Secret:
    """A key. Only `reveal()` gives its text; every other way to print or store it gives a mask or fails."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Give the key itself, for the one header that carries it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never serialised")


Port = Annotated[int, Meta(ge=0, le=65_535)]
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[!-~]+$")]
Unit = Annotated[float, Meta(ge=0.0, le=1.0)]
Deadline = Annotated[float, Meta(ge=0.05, le=600.0)]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one relay process. Build it with `load`; in a test, `Config(port=0)` will do."""

    host: Annotated[str, Meta(min_length=1, max_length=253, description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port to listen on; 0 takes a free one.")] = 8000
    allow_origin: Annotated[
        tuple[str, ...],
        Meta(max_length=100, description="Origin of a page that may connect, exactly; may be repeated."),
    ] = ()
    upstream: Annotated[
        str,
        Meta(max_length=2000, description="simulator, openai, or the URL of a server that speaks the Realtime API."),
    ] = ""
    model: Annotated[Name, Meta(description="Model to talk to.")] = "gpt-realtime-2.1"
    voice: Annotated[Name, Meta(description="Voice of the answers.")] = "marin"
    instructions: Annotated[str, Meta(description="The prompt.")] = DEFAULT_INSTRUCTIONS
    instructions_file: Annotated[str, Meta(max_length=4096, description="File with the prompt, UTF-8.")] = ""
    openai_api_key: Secret | None = None
    upstream_key: Secret | None = None

    turn_detection: Annotated[
        Literal["server_vad", "none"],
        Meta(description="Who ends a turn: the server by listening (server_vad), or the client (none)."),
    ] = "server_vad"
    vad_threshold: Unit = 0.5
    vad_prefix_padding_ms: Annotated[int, Meta(ge=0, le=5_000)] = 300
    vad_silence_duration_ms: Annotated[int, Meta(ge=0, le=10_000)] = 500
    transcription_model: Annotated[
        str,
        Meta(max_length=200, pattern=r"^[!-~]*$", description='Model that writes the captions; "" for none.'),
    ] = "gpt-transcribe"

    max_sessions: Annotated[int, Meta(ge=1, le=100_000, description="Voice sessions at the same time.")] = 100
    drain_s: Annotated[float, Meta(ge=0.0, le=3_600.0)] = 10.0
    lead_ms: Annotated[int, Meta(ge=100, le=10_000)] = 1_000
    uplink_queue_ms: Annotated[int, Meta(ge=100, le=60_000)] = 2_000
    downlink_queue_ms: Annotated[int, Meta(ge=1_000, le=600_000)] = 60_000
    flush_answer_ms: Annotated[int, Meta(ge=10, le=5_000)] = 250

    connect_deadline_s: Deadline = 10.0
    ready_deadline_s: Deadline = 10.0
    start_deadline_s: Deadline = 10.0
    send_deadline_s: Deadline = 5.0
    close_deadline_s: Deadline = 1.0
    ping_interval_s: Deadline = 10.0
    silence_deadline_s: Deadline = 25.0

    browser_message_bytes: Annotated[int, Meta(ge=4_096, le=16_777_216)] = 65_536
    upstream_message_bytes: Annotated[int, Meta(ge=65_536, le=67_108_864)] = 8_388_608
    cooldown_base_s: Deadline = 0.5
    cooldown_max_s: Deadline = 30.0

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="debug, info, warning or error; on stderr."),
    ] = "info"
    log_format: Annotated[Literal["text", "json"], Meta(description="text for people, json for machines.")] = "text"
    simulator_seed: Annotated[int, Meta(ge=0, le=4_294_967_295)] = 0
    simulator_faults: Annotated[str, Meta(max_length=1_000, pattern=r"^[ -~]*$")] = ""

    @property
    def upstream_kind(self) -> Literal["simulator", "openai", "url"]:
        """Say what to connect to. Without `upstream`: OpenAI if there is a key for it, else the simulator."""
        if self.upstream == "":
            return "openai" if self.openai_api_key else "simulator"
        match self.upstream:
            case "simulator":
                return "simulator"
            case "openai":
                return "openai"
        return "url"

    @property
    def upstream_url(self) -> str:
        """Give the URL to connect to, or "" for the simulator: its address is known once it listens."""
        return {"simulator": "", "openai": OPENAI_URL, "url": self.upstream}[self.upstream_kind]

    def key_for(self, url: str) -> Secret | None:
        """Give the key to present at `url`: OpenAI's to OpenAI's hosts over TLS, the upstream key to any other."""
        try:
            address = parse_upstream(url)
        except ValueError:
            return None
        return self.openai_api_key if is_openai(address) else self.upstream_key

    def allowed_origins(self, port: int) -> frozenset[str]:
        """Give the Origin values that may connect, exact. `port` is the one listened on, also if `port` is 0 here."""
        own = loopback_origins(self.host, port) if is_loopback(self.host) else frozenset[str]()
        return own | frozenset(self.allow_origin)


FIELDS: Mapping[str, Any] = get_type_hints(Config, include_extras=True)
DEFAULTS = Config()
ENVIRONMENT_ONLY = {"openai_api_key": "OPENAI_API_KEY", "upstream_key": "RELAY_UPSTREAM_KEY"}
_PREFIX = "RELAY_"


def help_for(field: str) -> str:
    """Give the one-line description of a field, for `--help`."""
    return next((meta.description for meta in FIELDS[field].__metadata__ if meta.description), "")


def flag(field: str) -> str:
    """Give the command line's name of a field."""
    return "--" + field.replace("_", "-")


def variable(field: str) -> str:
    """Give the environment's name of a field."""
    return ENVIRONMENT_ONLY.get(field, _PREFIX + field.upper())


def check(field: str, text: str, source: str) -> Any:
    """Give `text` in the field's type and range, for a command that has the setting under another name (`source`)."""
    return _checked(field, _Given(text, source, is_text=True))


def load(argv_values: Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    """Build the Config from flags (by field name, None = not given; `config` names the file), environment and file.

    Raises ConfigError, whose text names the setting the way it was given.
    """
    flags, env = _from_flags(argv_values), _from_environment(environ)
    config_file = flags.pop("config", None) or env.pop("config", None)
    env.pop("config", None)
    file = _from_file(config_file) if config_file else {}
    given = _merged(file, env, flags)
    values = {name: _checked(name, one) for name, one in given.items()}
    if values.get("instructions_file"):
        values["instructions"] = _read_instructions(values["instructions_file"], given["instructions_file"])
    for name, key in ENVIRONMENT_ONLY.items():
        values[name] = _secret(environ, key)
    config = Config(**values)
    _check_together(config, given)
    return config


class _Given(NamedTuple):
    """One setting as it was given. `source` is what people call it: "--port", "RELAY_PORT", "relay.toml: port"."""

    value: Any
    source: str
    is_text: bool = False
    folder: Path = Path()

    def wrong(self, problem: str) -> ConfigError:
        return ConfigError(f"{self.source}: {problem}")


_Layer = dict[str, _Given]


def _from_flags(argv_values: Mapping[str, Any]) -> _Layer:
    """Take what was typed; click has found the unknown ones already."""
    given = {name: value for name, value in argv_values.items() if value is not None and value != ()}
    return {name: _Given(value, flag(name), is_text=isinstance(value, str)) for name, value in given.items()}


def _from_environment(environ: Mapping[str, str]) -> _Layer:
    layer = {}
    for key in sorted(key for key in environ if key.startswith(_PREFIX)):
        name = key.removeprefix(_PREFIX).lower()
        if key not in _variables():
            raise ConfigError(f"{_printable(key)}: no such setting{_nearest(key, _variables())}")
        value: Any = environ[key]
        if name == "allow_origin":
            value = [origin.strip() for origin in value.split(",") if origin.strip()]
        layer[name] = _Given(value, key, is_text=True)
    return {name: one for name, one in layer.items() if name not in ENVIRONMENT_ONLY}


def _from_file(where: _Given) -> _Layer:
    path = Path(where.value)
    text = _read_text(path, FILE_LIMIT_BYTES, where)
    shown = _printable(str(path))
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{shown}: {_printable(str(error))}") from None
    for name in table:
        if name in ENVIRONMENT_ONLY:
            raise ConfigError(f"{shown}: {name}: keys are read from the environment only ({ENVIRONMENT_ONLY[name]})")
        if name not in FIELDS:
            raise ConfigError(f"{shown}: {_printable(name)}: no such setting{_nearest(name, FIELDS)}")
    return {name: _Given(value, f"{shown}: {name}", folder=path.parent) for name, value in table.items()}


def _merged(*layers: _Layer) -> _Layer:
    """Lay later layers over earlier ones. The prompt is one setting with two names: giving one replaces the other."""
    given: _Layer = {}
    for layer in layers:
        if "instructions" in layer and "instructions_file" in layer:
            raise layer["instructions_file"].wrong(f"cannot be given together with {layer['instructions'].source}")
        if "instructions" in layer or "instructions_file" in layer:
            given = {name: one for name, one in given.items() if not name.startswith("instructions")}
        given |= layer
    return given


def _checked(name: str, one: _Given) -> Any:
    """Give the value in the field's type and within its range."""
    try:
        value = msgspec.convert(one.value, FIELDS[name], strict=not one.is_text)
    except msgspec.ValidationError:
        raise one.wrong(f"expected {_expected(name)}, got {_printable(one.value, quote=True)}") from None
    try:
        _CHECKS.get(name, lambda value: value)(value)
    except ValueError as error:
        raise one.wrong(str(error)) from None
    return value


def _check_host(host: str) -> None:
    if not is_host(host):
        raise ValueError("expected a host name or an IP address, such as 127.0.0.1")


def _check_upstream(upstream: str) -> None:
    if upstream not in ("", "simulator", "openai"):
        parse_upstream(upstream)


def _check_origins(origins: tuple[str, ...]) -> None:
    for origin in origins:
        check_origin(origin)


def _check_instructions(text: str) -> None:
    if len(text.encode(errors="surrogatepass")) > INSTRUCTIONS_LIMIT_BYTES:
        raise ValueError(f"longer than {INSTRUCTIONS_LIMIT_BYTES} bytes")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("is not UTF-8 text")


_CHECKS: Mapping[str, Any] = {
    "host": _check_host,
    "upstream": _check_upstream,
    "allow_origin": _check_origins,
    "instructions": _check_instructions,
}


def _check_together(config: Config, given: _Layer) -> None:
    """Refuse settings that are right one by one and wrong together."""

    def wrong(name: str, problem: str) -> ConfigError:
        return given.get(name, _Given(None, flag(name))).wrong(problem)

    if config.upstream_kind != "simulator" and not config.openai_api_key and _is_openai_url(config.upstream_url):
        raise wrong("upstream", "OpenAI needs a key; set OPENAI_API_KEY")
    if not is_loopback(config.host) and not config.allow_origin:
        raise wrong("host", f"{config.host} can be reached from outside; say whose pages may connect (--allow-origin)")
    for low, high in _ORDERED:
        if getattr(config, low) > getattr(config, high):
            culprit, other = (low, high) if low in given else (high, low)
            relation = "at most" if culprit == low else "at least"
            raise wrong(culprit, f"must be {relation} {other} ({getattr(config, other):g})")


_ORDERED = (
    ("lead_ms", "downlink_queue_ms"),
    ("ping_interval_s", "silence_deadline_s"),
    ("cooldown_base_s", "cooldown_max_s"),
)


def _is_openai_url(url: str) -> bool:
    return is_openai(parse_upstream(url))


def _read_instructions(name: str, where: _Given) -> str:
    """Read the prompt. A path in the configuration file counts from that file's folder."""
    text = _read_text(where.folder / Path(name).expanduser(), INSTRUCTIONS_LIMIT_BYTES, where)
    if not text.strip():
        raise where.wrong("the file is empty")
    return text


def _read_text(path: Path, limit_bytes: int, where: _Given) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(limit_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise where.wrong(f"cannot read {_printable(str(path), quote=True)}: {reason}") from None
    if len(content) > limit_bytes:
        raise where.wrong(f"the file is longer than {limit_bytes} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise where.wrong("the file is not UTF-8 text") from None


def _secret(environ: Mapping[str, str], key: str) -> Secret | None:
    """Read a key. White space around it is what a file or a shell added; any inside makes it no key."""
    text = environ.get(key, "").strip()
    if not text:
        return None
    if len(text) > 4096 or not all("!" <= character <= "~" for character in text):
        raise ConfigError(f"{key}: this is not a key (expected letters, digits and signs, without spaces)")
    return Secret(text)


def _expected(name: str) -> str:
    """Describe in words what a field takes."""
    kind = FIELDS[name].__origin__
    metas: tuple[Meta, ...] = FIELDS[name].__metadata__
    low, high = (next((getattr(m, key) for m in metas if getattr(m, key) is not None), None) for key in ("ge", "le"))
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if kind is int:
        return f"a whole number from {low} to {high}"
    if kind is float:
        return f"a number from {low:g} to {high:g}"
    if get_origin(kind) is tuple:
        return "a list of origins"
    return "a short text" + (" without spaces" if any(m.pattern and " " not in m.pattern for m in metas) else "")


def _nearest(name: str, known: Mapping[str, Any] | list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else " (docs/configuration.md lists them)"


def _variables() -> list[str]:
    return [variable(name) for name in (*FIELDS, "config")]


def _printable(value: object, *, quote: bool = False) -> str:
    """Show a value from outside on one line: control characters escaped, at most 60 characters."""
    text = repr(value) if quote else repr(str(value))[1:-1]
    return text if len(text) <= 60 else text[:57] + "…"
