"""Settings from flags, environment and file, checked and made into one Config.

Rules:
- Flags beat environment beats file beats default. Nothing else is consulted, and no file is read unless it is named.
- A setting that is wrong, or unknown, stops the start with one line that names it the way it was given.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec
from msgspec import Meta

from relay.addresses import check_origin, is_host, is_loopback, is_openai, parse_upstream
from relay.config import ENVIRONMENT_ONLY, FIELDS, PREFIX, Config, Secret, Tools, flag, variable
from relay.config_profile import check_command, check_profile, check_rate, check_upstream, with_profile_defaults
from relay.config_tools import FILE_LIMIT_BYTES as TOOLS_LIMIT_BYTES
from relay.config_tools import names, read_tools
from relay.core.permissions import NAMED_CHOICES
from relay.errors import ConfigError
from relay.prices import price_table, unpriced
from relay.proxies import TrustedProxies

INSTRUCTIONS_LIMIT_BYTES = 65_536  # 16,384 tokens, which is what the API takes, at about 4 bytes each
FILE_LIMIT_BYTES = 1_048_576
_TLS_FILES = ("tls_certificate_file", "tls_key_file")
OWN_SECRET_CHARS = 32
"""Least length of what relay itself checks or signs with: nobody guesses 128 random bits written in hexadecimal."""


def check(field: str, text: str, source: str) -> Any:
    """Give `text` in the field's type and range, for a command that has the setting under another name (`source`)."""
    return _checked(field, _Given(text, source, is_text=True))


def load(argv_values: Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    """Build the Config from flags (by field name, None = not given; `config` names the file), environment and file.

    Raises ConfigError, whose text names the setting the way it was given, or could be.
    """
    flags, env = _from_flags(argv_values), _from_environment(environ)
    config_file = flags.pop("config", None) or env.pop("config", None)
    env.pop("config", None)
    file = _from_file(config_file) if config_file else {}
    given = _merged(file, env, flags)
    values = {name: _checked(name, one) for name, one in given.items()}
    if values.get("instructions_file"):
        values["instructions"] = _read_instructions(given["instructions_file"])
    if values.get("tools_file"):
        values["tools"] = _read_tools(given["tools_file"], environ)
    for name in _TLS_FILES:
        if values.get(name):
            values[name] = str(given[name].path)
    values |= _secrets(environ)
    config = with_profile_defaults(Config(**values), given)

    def wrong(name: str, problem: str) -> ConfigError:
        not_given = _Given(None, flag(name) if name in argv_values else variable(name))
        return given.get(name, not_given).wrong(problem)

    _check_together(config, given, wrong)
    return config


class _Given(NamedTuple):
    """One setting as it was given. `source` is what people call it: "--port", "RELAY_PORT", "relay.toml: port"."""

    value: Any
    source: str
    is_text: bool = False
    folder: Path = Path()

    @property
    def path(self) -> Path:
        """The value as a path: one in the configuration file counts from that file's folder."""
        return self.folder / Path(self.value).expanduser()

    def wrong(self, problem: str) -> ConfigError:
        return ConfigError(f"{self.source}: {problem}")


_Layer = dict[str, _Given]
_Wrong = Callable[[str, str], ConfigError]


def _from_flags(argv_values: Mapping[str, Any]) -> _Layer:
    """Take what was typed; click has found the unknown ones already."""
    given = {name: value for name, value in argv_values.items() if value is not None and value != ()}
    return {name: _Given(value, flag(name), is_text=isinstance(value, str)) for name, value in given.items()}


def _from_environment(environ: Mapping[str, str]) -> _Layer:
    layer = {}
    for key in sorted(key for key in environ if key.startswith(PREFIX)):
        name = key.removeprefix(PREFIX).lower()
        if key not in _variables():
            raise ConfigError(f"{_printable(key)}: no such setting{_nearest(key, _variables())}")
        value: Any = environ[key]
        if name in FIELDS and get_origin(getattr(FIELDS[name], "__origin__", None)) is tuple:
            value = [entry.strip() for entry in value.split(",") if entry.strip()]
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
    "upstream": check_upstream,
    "upstream_input_rate_hz": check_rate,
    "upstream_output_rate_hz": check_rate,
    "upstream_token_command": check_command,
    "allow_origin": _check_origins,
    "trusted_proxies": TrustedProxies,
    "instructions": _check_instructions,
}


def _check_together(config: Config, given: _Layer, wrong: _Wrong) -> None:
    """Refuse settings that are right one by one and wrong together. `wrong` makes the error of a setting."""
    for name, problem in check_profile(config, given):
        raise wrong(name, problem)
    if config.upstream_kind != "simulator" and not config.openai_api_key and _is_openai_url(config.upstream_url):
        raise wrong("upstream", "OpenAI needs a key; set OPENAI_API_KEY")
    for name, problem in _listening_problems(config):
        raise wrong(name, problem)
    if config.policy == "open" and config.client_may:
        raise wrong("client_may", "an open client may do all of this already; leave it out, or say policy = locked")
    if config.tool_choice not in {*NAMED_CHOICES, *names(config.tools)}:
        raise wrong("tool_choice", "expected auto, none, required, or the name of a function in tools_file")
    for name, what in unpriced(config).items():
        price = f"no price is known for {_printable(what)} as of {price_table().as_of}"
        raise wrong(name, f"{price}: limit max_tokens, and neither max_usd nor max_usd_per_day")
    _check_order(config, given, wrong)


def _check_order(config: Config, given: _Layer, wrong: _Wrong) -> None:
    for low, high in _ORDERED:
        if getattr(config, low) > getattr(config, high):
            culprit, other = (low, high) if low in given else (high, low)
            relation = "at most" if culprit == low else "at least"
            raise wrong(culprit, f"must be {relation} {other} ({getattr(config, other):g})")
    if config.ping_interval_s == config.silence_deadline_s:
        raise wrong("silence_deadline_s", "must be more than ping_interval_s, or nobody has time to answer a ping")


def _listening_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Find what is wrong with where relay listens, as pairs of a setting and its problem."""
    name = "host" if not is_loopback(config.host) else "trusted_proxies"
    if config.is_exposed and not config.allow_origin:
        yield name, f"{_why_exposed(config)}; say whose pages may connect (--allow-origin)"
    if config.is_exposed and (missing := _missing_limits(config)):
        yield name, f"{_why_exposed(config)}; set {missing} (docs/limits.md)"
    if problem := _ticket_problem(config):
        yield "tickets" if config.tickets or not config.is_exposed else name, problem
    for name, other in (_TLS_FILES, _TLS_FILES[::-1]):
        if getattr(config, name) and not getattr(config, other):
            yield name, f"needs {other} as well"


_ORDERED = (
    ("lead_ms", "downlink_queue_ms"),
    ("ping_interval_s", "silence_deadline_s"),
    ("cooldown_base_s", "cooldown_max_s"),
)


def _why_exposed(config: Config) -> str:
    return f"{config.host} can be reached from outside" if not is_loopback(config.host) else "a proxy brings strangers"


def _missing_limits(config: Config) -> str:
    """Name the limits that a server needs before strangers can reach it, "" if it has them."""
    time = "" if config.max_session_s else "max_session_s"
    money = "" if config.limits_money or config.max_tokens else "max_usd, max_usd_per_day or max_tokens"
    return " and ".join(name for name in (time, money) if name)


def _ticket_problem(config: Config) -> str:
    """Say why nobody could get a ticket, or why it would be worth nothing; "" if all is well."""
    token, signing = config.server_token, config.ticket_secret
    if bool(token) != bool(signing):
        return "RELAY_SERVER_TOKEN and RELAY_TICKET_SECRET belong together; set both (docs/tickets.md)"
    if token in signing:
        return (
            "RELAY_SERVER_TOKEN and RELAY_TICKET_SECRET must differ: one is shown to relay, the other never leaves it"
        )
    if token or not config.needs_tickets:
        return ""
    why = f"{_why_exposed(config)}; " if config.is_exposed else ""
    return f'{why}set RELAY_SERVER_TOKEN and RELAY_TICKET_SECRET, or tickets = "off" (docs/tickets.md)'


def _is_openai_url(url: str) -> bool:
    return is_openai(parse_upstream(url))


def _read_instructions(where: _Given) -> str:
    text = _read_text(where.path, INSTRUCTIONS_LIMIT_BYTES, where)
    if not text.strip():
        raise where.wrong("the file is empty")
    return text


def _read_tools(where: _Given, environ: Mapping[str, str]) -> Tools:
    try:
        return read_tools(_read_text(where.path, TOOLS_LIMIT_BYTES, where), environ)
    except ValueError as error:
        raise where.wrong(str(error)) from None


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


def _secrets(environ: Mapping[str, str]) -> dict[str, Any]:
    """Read what may only stand in the environment."""
    texts = {name: environ.get(key, "") for name, key in ENVIRONMENT_ONLY.items()}
    ticket_secrets = texts.pop("ticket_secret").split(",")
    found: dict[str, Any] = {name: _secret(ENVIRONMENT_ONLY[name], text) for name, text in texts.items()}
    found["ticket_secret"] = tuple(one for text in ticket_secrets if (one := _secret("RELAY_TICKET_SECRET", text)))
    for key, own in (("RELAY_SERVER_TOKEN", (found["server_token"],)), ("RELAY_TICKET_SECRET", found["ticket_secret"])):
        if any(one and len(one.reveal()) < OWN_SECRET_CHARS for one in own):
            raise ConfigError(
                f"{key}: shorter than {OWN_SECRET_CHARS} characters (openssl rand -hex 32 makes a good one)"
            )
    return found


def _secret(key: str, text: str) -> Secret | None:
    """Read a key. White space around it is what a file or a shell added; any inside makes it no key."""
    text = text.strip()
    if not text:
        return None
    if len(text) > 4096 or not all("!" <= character <= "~" for character in text):
        raise ConfigError(f"{key}: this is not a key (expected letters, digits and signs, without spaces)")
    return Secret(text)


_ENTRIES = {"allow_origin": "origins", "trusted_proxies": "addresses"}


def _expected(name: str) -> str:
    """Describe in words what a field takes."""
    kind = FIELDS[name].__origin__
    metas: tuple[Meta, ...] = FIELDS[name].__metadata__
    low, high = (next((getattr(m, key) for m in metas if getattr(m, key) is not None), None) for key in ("ge", "le"))
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(choice for choice in get_args(kind) if choice)
    if kind is bool:
        return "true or false"
    if kind is int:
        return f"a whole number from {low} to {high}"
    if kind is float:
        return f"a number from {low:g} to {high:g}"
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return "a list of " + (", ".join(get_args(inner)) if get_origin(inner) is Literal else _ENTRIES[name])
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
