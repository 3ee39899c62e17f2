"""Every setting of relay, in one frozen value.

A field's name is its name everywhere: `send_deadline_s` is RELAY_SEND_DEADLINE_S in the environment and
`send_deadline_s` in relay.toml; the everyday ones are flags as well (`--max-sessions`). Units are part of the name.
docs/configuration.md explains each of them; config_sources.py reads them.

Keys come from the environment only. They are masked in every text form, cannot be serialised, and OpenAI's key is
handed out for OpenAI's hosts alone (`Config.key_for`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, NoReturn, get_type_hints
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Meta

from relay.addresses import is_loopback, is_openai, loopback_origins, parse_upstream
from relay.core.permissions import Grant
from relay.profiles import PROFILES, Auth, Dialect, Lack, Profile, profile_of_host

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


class Tools:
    """The operator's tools, with credentials of MCP servers in them: only `reveal()` shows more than their number."""

    __slots__ = ("_secrets", "_tools")

    def __init__(self, tools: Sequence[Mapping[str, Any]] = (), secrets: Iterable[Secret] = ()) -> None:
        self._tools = tuple(tools)
        self._secrets = tuple(secrets)

    def reveal(self) -> list[dict[str, Any]]:
        """Give the tools themselves, for the one event that carries them."""
        return [dict(tool) for tool in self._tools]

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What was taken from the environment for them."""
        return self._secrets

    def __repr__(self) -> str:
        return f"Tools({len(self._tools)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tools) and other._tools == self._tools

    def __hash__(self) -> int:
        return hash((len(self._tools), self._secrets))

    def __reduce__(self) -> NoReturn:
        raise TypeError("Tools are never serialised")


ProfileSetting = Literal["", "openai", "azure", "xai", "qwen", "localai", "speaches", "custom"]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[!-~]+$")]
NoName = Annotated[str, Meta(max_length=200, pattern=r"^[!-~]*$")]
RateHz = Annotated[int, Meta(ge=0, le=192_000)]
Unit = Annotated[float, Meta(ge=0.0, le=1.0)]
Deadline = Annotated[float, Meta(ge=0.05, le=600.0)]
Span = Annotated[float, Meta(ge=0.0, le=86_400.0)]
Money = Annotated[float, Meta(ge=0.0, le=1_000_000.0)]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one relay process. Build it with `load`; in a test, `Config(port=0)` will do."""

    host: Annotated[str, Meta(min_length=1, max_length=253, description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port to listen on; 0 takes a free one.")] = 8000
    allow_origin: Annotated[
        tuple[str, ...],
        Meta(max_length=100, description="Origin of a page that may connect, exactly; may be repeated."),
    ] = ()
    tls_certificate_file: Annotated[
        str, Meta(max_length=4096, description="File with the certificate and its chain, PEM: relay then serves https.")
    ] = ""
    tls_key_file: Annotated[str, Meta(max_length=4096, description="File with the certificate's key, PEM.")] = ""
    trusted_proxies: Annotated[
        tuple[str, ...], Meta(max_length=100, description="Addresses of proxies whose X-Forwarded-For is believed.")
    ] = ()
    tickets: Annotated[
        Literal["", "required", "off"],
        Meta(description="Whether a session needs a ticket."),
    ] = ""
    ticket_s: Annotated[int, Meta(ge=10, le=7_200)] = 600
    ticket_uses: Annotated[int, Meta(ge=1, le=1_000)] = 1
    ticket_url: Annotated[str, Meta(max_length=200, pattern=r"^(/[A-Za-z0-9_.~-]+)*$")] = ""
    server_token: Secret | None = None
    ticket_secret: tuple[Secret, ...] = ()

    upstream: Annotated[
        str,
        Meta(max_length=2000, description="simulator, openai, or the URL of a server that speaks the Realtime API."),
    ] = ""
    profile: Annotated[
        ProfileSetting,
        Meta(description="Kind of upstream: openai, azure, xai, qwen, localai, speaches or custom."),
    ] = ""
    upstream_dialect: Annotated[
        Literal["", Dialect],
        Meta(description="Names that the upstream uses: today's (ga), those that OpenAI switched off (beta), xai's."),
    ] = ""
    upstream_auth: Annotated[Literal["", Auth], Meta(description="How the upstream is told the key.")] = ""
    upstream_input_rate_hz: RateHz = 0
    upstream_output_rate_hz: RateHz = 0
    upstream_lacks: Annotated[tuple[Lack, ...], Meta(max_length=20, description="What the upstream cannot do.")] = ()
    upstream_token_command: Annotated[
        str, Meta(max_length=2000, pattern=r"^[ -~]*$", description="Command that prints a token for the upstream.")
    ] = ""
    model: Annotated[Name, Meta(description="Model to talk to.")] = "gpt-realtime-2.1"
    voice: Annotated[NoName, Meta(description='Voice of the answers; "" for the upstream\'s own.')] = "marin"
    instructions: Annotated[str, Meta(description="The prompt.")] = DEFAULT_INSTRUCTIONS
    instructions_file: Annotated[str, Meta(max_length=4096, description="File with the prompt, UTF-8.")] = ""
    tools_file: Annotated[str, Meta(max_length=4096, description="File with the tools, JSON as the API takes it.")] = ""
    tools: Tools = Tools()
    tool_choice: Annotated[Name, Meta(description="auto, none, required, or the name of a function.")] = "auto"
    max_output_tokens: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    policy: Annotated[
        Literal["locked", "open"],
        Meta(description="What clients may do: as the operator says (locked), or all that the API has (open)."),
    ] = "locked"
    client_may: Annotated[
        tuple[Grant, ...], Meta(max_length=50, description="What a locked client may set all the same.")
    ] = ()
    openai_api_key: Secret | None = None
    upstream_key: Secret | None = None

    turn_detection: Annotated[
        Literal["server_vad", "semantic_vad", "none"],
        Meta(description="Who ends a turn: the server by sound (server_vad) or sense (semantic_vad), or the client."),
    ] = "server_vad"
    vad_threshold: Unit = 0.5
    vad_prefix_padding_ms: Annotated[int, Meta(ge=0, le=5_000)] = 300
    vad_silence_duration_ms: Annotated[int, Meta(ge=0, le=10_000)] = 500
    vad_eagerness: Annotated[Literal["low", "medium", "high", "auto"], Meta(description="How soon it answers.")] = (
        "auto"
    )
    noise_reduction: Annotated[Literal["", "near_field", "far_field"], Meta(description="Where the mouth is.")] = ""
    speed: Annotated[float, Meta(ge=0.25, le=1.5)] = 1.0
    transcription_model: Annotated[
        str,
        Meta(max_length=200, pattern=r"^[!-~]*$", description='Model that writes the captions; "" for none.'),
    ] = "gpt-transcribe"

    max_sessions: Annotated[int, Meta(ge=1, le=100_000, description="Voice sessions at the same time.")] = 100
    max_sessions_per_address: Annotated[int, Meta(ge=0, le=100_000)] = 0
    spare_connections: Annotated[int, Meta(ge=10, le=1_000_000)] = 1_000
    max_connections_per_address: Annotated[int, Meta(ge=0, le=1_000_000)] = 200
    connects_per_s_per_address: Annotated[float, Meta(ge=0.0, le=100_000.0)] = 20.0
    max_session_s: Span = 0.0
    max_idle_s: Span = 0.0
    max_audio_in_s: Span = 0.0
    max_audio_out_s: Span = 0.0
    max_tokens: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    max_usd: Money = 0.0
    max_usd_per_day: Money = 0.0
    tell_usage: Annotated[bool, Meta(description="Whether relay.v1 clients hear what the session costs.")] = False
    drain_s: Annotated[float, Meta(ge=0.0, le=3_600.0)] = 8.0
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
    def scheme(self) -> Literal["http", "https"]:
        """Say what the page is served over."""
        return "https" if self.tls_certificate_file else "http"

    @property
    def is_exposed(self) -> bool:
        """Whether strangers could knock: it listens to other machines, or a proxy brings them."""
        return not is_loopback(self.host) or bool(self.trusted_proxies)

    @property
    def needs_tickets(self) -> bool:
        """Whether a session needs a ticket: where strangers could knock, and where tickets are set up."""
        if self.tickets:
            return self.tickets == "required"
        return bool(self.ticket_secret) or self.is_exposed

    @property
    def limits_money(self) -> bool:
        """Whether what a session costs has to be known, because a limit depends on it."""
        return bool(self.max_usd or self.max_usd_per_day)

    @property
    def upstream_kind(self) -> Literal["simulator", "openai", "url"]:
        """Say what to connect to. Without `upstream`: the profile's own, else OpenAI if there is a key, else nobody."""
        named = self.upstream or ("" if self.profile == "custom" else self.profile)
        match named or ("openai" if self.openai_api_key else "simulator"):
            case "simulator":
                return "simulator"
            case "openai":
                return "openai"
        return "url"

    @property
    def upstream_url(self) -> str:
        """Give the URL to connect to, or "" for the simulator: its address is known once it listens."""
        if self.upstream_kind == "simulator":
            return ""
        named = self.upstream or self.profile or "openai"
        return PROFILES[named].url if named in PROFILES else self.upstream

    @property
    def upstream_profile(self) -> Profile:
        """Give what the upstream wants: its profile, with what the operator knows better in its place."""
        base = PROFILES[self.profile or self._implied_profile()]
        by_token: Literal["", "bearer"] = "bearer" if self.upstream_token_command else ""
        return replace(
            base,
            dialect=self.upstream_dialect or base.dialect,
            auth=self.upstream_auth or by_token or base.auth,
            input_rate_hz=self.upstream_input_rate_hz or base.input_rate_hz,
            output_rate_hz=self.upstream_output_rate_hz or base.output_rate_hz,
            lacks=frozenset(self.upstream_lacks) or base.lacks,
        )

    def _implied_profile(self) -> str:
        if self.upstream_kind != "url":
            return "openai"
        if self.upstream in PROFILES:
            return self.upstream
        return profile_of_host(parse_upstream(self.upstream).host) or "custom"

    @property
    def requested_model(self) -> str:
        """Give the model that the upstream is asked for: the one that its URL names, else `model`."""
        return parse_qs(urlsplit(self.upstream_url).query).get("model", [self.model])[0]

    def key_for(self, url: str) -> Secret | None:
        """Give the key to present at `url`: OpenAI's to OpenAI's hosts over TLS, the upstream key to any other."""
        try:
            address = parse_upstream(url)
        except ValueError:
            return None
        return self.openai_api_key if is_openai(address) else self.upstream_key

    def allowed_origins(self, port: int) -> frozenset[str]:
        """Give the Origin values that may connect, exact. `port` is the one listened on, also if `port` is 0 here."""
        own = loopback_origins(self.scheme, self.host, port) if is_loopback(self.host) else frozenset[str]()
        return own | frozenset(self.allow_origin)


FIELDS: Mapping[str, Any] = {
    name: kind for name, kind in get_type_hints(Config, include_extras=True).items() if name != "tools"
}
"""What can be set. `tools` cannot: it is what `tools_file` holds."""

DEFAULTS = Config()
ENVIRONMENT_ONLY = {
    "openai_api_key": "OPENAI_API_KEY",
    "upstream_key": "RELAY_UPSTREAM_KEY",
    "server_token": "RELAY_SERVER_TOKEN",
    "ticket_secret": "RELAY_TICKET_SECRET",
}
PREFIX = "RELAY_"


def help_for(field: str) -> str:
    """Give the one-line description of a field, for `--help`."""
    return next((meta.description for meta in FIELDS[field].__metadata__ if meta.description), "")


def flag(field: str) -> str:
    """Give the command line's name of a field."""
    return "--" + field.replace("_", "-")


def variable(field: str) -> str:
    """Give the environment's name of a field."""
    return ENVIRONMENT_ONLY.get(field, PREFIX + field.upper())
