"""The routes: the page, the two health checks, the tickets, and the door to a voice session.

Rules: everything is decided before the upgrade and answered with an HTTP status; after the 101 the session owns the
connection (detach.py), and runs when Quart is done with the request.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, cast

import msgspec
import trio
from quart import Response, request, websocket
from quart.wrappers import BaseRequestWebsocket
from quart_trio import QuartTrio
from werkzeug.exceptions import RequestTimeout

from relay import client_secrets, wire
from relay.admission import Admission
from relay.browser import BrowserLeg, browser_limits
from relay.client_secrets import ApiError, TicketOffice
from relay.core.client import Client, ClientSettings
from relay.core.openai_json import OpenAIJson
from relay.core.relay_v1 import RelayV1
from relay.detach import STATE_KEY, DetachableStream
from relay.door import OPENAI_SUBPROTOCOL, RELAY_V1_SUBPROTOCOL, STATUS, Door, Knock, bearer
from relay.errors import RelayError
from relay.limits import bound_by, client_settings
from relay.log import get_logger
from relay.page import INDEX, load_page, serve_file
from relay.proxies import TrustedProxies
from relay.session import Services, Session
from relay.tickets import Ticket, Tickets, service_of, steady_clock
from relay.way_stream import with_short_way

log = get_logger(__name__)

BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
BETA_HEADER = "realtime=v1"
BODY_S = 10
"""For the whole body of a request, however it trickles."""

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "media-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_app(services: Services, origins: frozenset[str]) -> QuartTrio:
    """Return the application. `origins`: the Origin values that may open a voice session."""
    app = QuartTrio("relay", static_folder=None)
    app.url_map.merge_slashes = False  # a redirect would repeat the Host header that somebody sent
    app.config["BODY_TIMEOUT"] = BODY_S
    config, admission = services.config, services.admission
    files = load_page(config)
    now_s = steady_clock()
    address_of = partial(_client_address, TrustedProxies(config.trusted_proxies))
    tickets = Tickets(config.ticket_secret, service_of(config), started_s=now_s()) if config.ticket_secret else None
    door, office = Door(config, origins, admission, tickets), TicketOffice(config, tickets)

    @app.get("/")
    async def index() -> Response:
        return serve_file(files, INDEX)

    @app.get("/static/<path:name>")
    async def static_file(name: str) -> Response:
        return serve_file(files, name)

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @app.get("/readyz")
    async def readyz() -> Response:
        return _readiness(admission)

    @app.post(client_secrets.PATH)
    async def make_ticket() -> Response:
        return await _make_ticket(office, address_of(request), now_s())

    @app.websocket("/v1/realtime")
    async def realtime() -> Response | None:
        try:
            address = address_of(websocket)
            ticket = door.admit(_knock(address), now_s())
        except RelayError as error:
            return _refused(error)
        await _begin_session(_bound(services, ticket), address, ticket.id if ticket else None)
        return None

    @app.after_request
    async def secure(response: Response) -> Response:
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return app


def _readiness(admission: Admission) -> Response:
    try:
        admission.check()
    except RelayError as error:
        return _refused(error)
    return _text(200, "ready")


async def _make_ticket(office: TicketOffice, address: str, now_s: float) -> Response:
    """Answer the operator's back end. The body of whoever does not know the server token is not waited for."""
    try:
        office.check_token(bearer(request.headers.get("Authorization", "")), address, now_s)
        answer, status, headers = office.answer(await _json_body(), now_s), 200, {"Cache-Control": "no-store"}
    except ApiError as error:
        answer, status, headers = error.body, error.status, dict(error.headers)
    return Response(msgspec.json.encode(answer), status, headers, mimetype="application/json")


async def _json_body() -> bytes:
    """Read the body, whose size hardening.py bounds, and BODY_S its time."""
    if request.mimetype != "application/json":
        raise ApiError(415, "Send the body as Content-Type: application/json.", "unsupported_media_type")
    try:
        return await request.get_data(cache=True, as_text=False, parse_form_data=False)
    except RequestTimeout:
        raise ApiError(408, f"The body was not here within {BODY_S} s.", "request_timeout") from None


def _knock(address: str) -> Knock:
    headers = websocket.headers
    return Knock(
        peer=address,
        origins=headers.getlist("Origin"),
        subprotocols=websocket.requested_subprotocols,
        authorization=headers.getlist("Authorization"),
    )


def _client_address(proxies: TrustedProxies, asked: BaseRequestWebsocket) -> str:
    return proxies.client(_connection(asked).peer, asked.headers.getlist("X-Forwarded-For"))


def _connection(asked: BaseRequestWebsocket) -> DetachableStream:
    return cast(DetachableStream, asked.scope["state"][STATE_KEY])


def _bound(services: Services, ticket: Ticket | None) -> Services:
    """Return what a session gets whose client came with `ticket`."""
    if ticket is None:
        return services
    target = replace(services.target, user=ticket.user)
    return replace(services, config=bound_by(ticket, services.config), target=target)


async def _begin_session(services: Services, address: str, ticket_id: str | None) -> None:
    """Accept, and leave a session to the connection, which keeps the place in any case and runs it when we are gone."""
    connection, offered = _connection(websocket), websocket.requested_subprotocols
    language = asked_language(offered, websocket.headers.getlist("OpenAI-Beta"))
    caller = _Caller(address, ticket_id, language, answered_subprotocol(offered))
    try:
        connection.keep(services.admission.place(address))
        connection.hold()
        await websocket.accept(subprotocol=caller.subprotocol)
        connection.detach(partial(_run_session, services, caller))
    finally:
        connection.release()


Language = Literal["relay.v1", "openai", "openai-beta"]


@dataclass(frozen=True, slots=True)
class _Caller:
    """What a session has to know of the request that it began with."""

    address: str
    ticket_id: str | None
    language: Language
    subprotocol: str | None


async def _run_session(services: Services, caller: _Caller, stream: trio.abc.Stream) -> None:
    config, session_id = services.config, f"relay_{secrets.token_hex(8)}"
    client = _client(caller.language, client_settings(session_id, config))
    limits, subprotocol = browser_limits(config), caller.subprotocol
    socket = wire.WebSocket(with_short_way(stream), role="server", limits=limits, subprotocol=subprotocol)
    log.info(
        "session.started",
        session=session_id,
        peer=caller.address,
        language=caller.language,
        ticket=caller.ticket_id,
    )
    await Session(session_id, BrowserLeg(socket), client, services).run()


def asked_language(offered: Sequence[str], beta_headers: Iterable[str]) -> Language:
    """Return the language that a client asks for, by the subprotocols it offers and its OpenAI-Beta headers."""
    if RELAY_V1_SUBPROTOCOL in offered:
        return "relay.v1"
    features = {feature.strip() for header in beta_headers for feature in header.split(",")}
    return "openai-beta" if BETA_SUBPROTOCOL in offered or BETA_HEADER in features else "openai"


def answered_subprotocol(offered: Sequence[str]) -> str | None:
    """Return the subprotocol to select: one of our two names, never another, for some clients offer a key as one."""
    return next((name for name in (RELAY_V1_SUBPROTOCOL, OPENAI_SUBPROTOCOL) if name in offered), None)


def _client(language: Language, settings: ClientSettings) -> Client:
    if language == "relay.v1":
        return RelayV1(settings)
    return OpenAIJson(settings, beta=language == "openai-beta")


def _text(status: int, text: str) -> Response:
    return Response(f"{text}\n", status, mimetype="text/plain")


def _refused(error: RelayError) -> Response:
    """Say why there is no session, and when to ask again if that helps."""
    status = STATUS.get(type(error), 503)
    response = _text(status, error.public)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after_ms:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_ms / 1000))
    return response
