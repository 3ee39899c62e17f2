"""The process: listeners, one barrier per connection, signals, drain.

Theory of operation. Three nurseries, one inside the other: the outermost holds what the process needs (the simulator,
the watch for signals), the next one the connections, the innermost what accepts them. SIGINT or SIGTERM begins the end,
in two steps:

1. No session begins any more, and `/readyz` fails. A session that is giving an answer gives it to its end, at most
   `drain_s` long; all others say goodbye at once (close 1012, with a time to come back). The listeners stay open, so
   that a load balancer can see `/readyz` fail, and whoever comes hears 503 and not nothing.
2. When the last session has gone, or `drain_s` is over, the listeners close. What is left has the time of a goodbye.

The connections' nursery ends with the last of them and takes the outermost with it. A second signal waits for nobody.
SIGHUP reads the certificate again.

Rules: nothing that happens on a connection gets past its barrier, because in Trio an exception that escapes a task ends
all its siblings, which here are all other connections. Hypercorn speaks HTTP; hardening.py says where it is overridden.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.worker_context import WorkerContext
from quart_trio import QuartTrio

from relay import hardening
from relay.admission import Admission
from relay.app import create_app
from relay.config import Config
from relay.connections import Connections, NoRoom, Place, make_room
from relay.detach import STATE_KEY, DetachableStream, DetachableTls, peer_of
from relay.errors import ConfigError
from relay.log import get_logger
from relay.pump import Pump
from relay.session import Services
from relay.target import Target, target_for
from relay.tls import HandshakeFailed, ServerTls
from relay.watchdog import Watchdog

log = get_logger(__name__)

BACKLOG = 256
IDLE_S = 10.0
REFUSAL_S = 0.1
RELOAD_S = 5.0
"""For reading the certificate. A disk that hangs keeps the next signal waiting for so long."""

GOODBYES = 2
"""How many close deadlines a session's end may take: its words, then the Close frames."""

SLACK_S = 1.0
"""For a machine that is busy with the goodbyes of all sessions at once."""


async def serve(config: Config, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve until SIGINT or SIGTERM; report the address, such as http://host:port.

    Raises OSError if it cannot listen, ConfigError if the certificate cannot be used.
    """
    hardening.install()
    room = Connections(config, make_room(config))
    admission = Admission(config)
    tls = ServerTls(config.tls_certificate_file, config.tls_key_file) if config.tls_certificate_file else None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1) as signals:
        async with trio.open_nursery() as nursery:
            listeners = await _listen(config)
            pump = Pump()
            port = listeners[0].socket.getsockname()[1]
            services = Services(config, admission, await _target(config, nursery), pump=pump)
            app = create_app(services, config.allowed_origins(port))
            task_status.started(f"{config.scheme}://{_shown_host(config.host)}:{port}")
            watchdog = Watchdog()
            with trio.CancelScope() as now:
                nursery.start_soon(watchdog.run)
                nursery.start_soon(pump.run)
                nursery.start_soon(_watch_signals, signals, services, tls, watchdog, now)
                await _serve_connections(app, services, room, tls, listeners, now)
            log.info("server.stopped")
            nursery.cancel_scope.cancel()


async def _target(config: Config, nursery: trio.Nursery) -> Target:
    """Return where sessions connect to; starts the simulator if that is it."""
    url = config.upstream_url
    if config.upstream_kind == "simulator":
        from relay.simulator import SimulatorOptions, serve_simulator

        options = SimulatorOptions(config.upstream_profile.name, config.simulator_seed, config.simulator_faults)
        url = await nursery.start(serve_simulator, options)
    target = target_for(config, url)
    log.info("server.upstream", host=target.address.host, profile=target.profile.name, dialect=target.profile.dialect)
    return target


async def _listen(config: Config) -> list[trio.SocketListener]:
    listeners = await trio.open_tcp_listeners(config.port, host=config.host, backlog=BACKLOG)
    if config.port == 0:
        for listener in listeners[1:]:  # each would have a port of its own
            await listener.aclose()
        return listeners[:1]
    return listeners


async def _serve_connections(
    app: QuartTrio,
    services: Services,
    room: Connections,
    tls: ServerTls | None,
    listeners: list[trio.SocketListener],
    now: trio.CancelScope,
) -> None:
    """Serve until the process shall end and its connections have; `now` gets the deadline by which they must."""
    context = WorkerContext(None)
    serve_one = partial(_connection, ASGIWrapper(app), _hypercorn_config(), context, services.config, tls)
    handler = partial(_enter, room, serve_one, not tls)
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(partial(trio.serve_listeners, handler, listeners, handler_nursery=connections))
            await _drained(services)
            accepting.cancel_scope.cancel()
        now.deadline = trio.current_time() + GOODBYES * services.config.close_deadline_s + SLACK_S
        if tls:
            tls.give_up_handshakes()
        await context.terminated.set()


async def _drained(services: Services) -> None:
    admission = services.admission
    await admission.draining.wait()
    with trio.move_on_at(admission.drain_until_s):
        await admission.gone.wait()


async def _watch_signals(
    signals: AsyncIterator[int],
    services: Services,
    tls: ServerTls | None,
    watchdog: Watchdog,
    now: trio.CancelScope,
) -> None:
    """Begin to drain at SIGINT or SIGTERM, and end with the second. What the other signals run into ends nothing."""
    async for number in signals:
        name = signal.Signals(number).name
        if number == signal.SIGUSR1:
            with _no_reason_to_end(name):
                log.info("server.state", sessions=services.admission.sessions, **watchdog.state())
            continue
        log.info("server.signal", signal=name)
        if number == signal.SIGHUP:
            with _no_reason_to_end(name):
                await _reload(tls)
            continue
        if services.admission.draining.is_set():
            now.cancel()
            return
        log.info("server.draining", sessions=services.admission.sessions)
        services.admission.drain(trio.current_time() + services.config.drain_s)


@contextmanager
def _no_reason_to_end(name: str) -> Iterator[None]:
    """A request that comes as a signal may fail, for want of a thread for example; the sessions go on."""
    try:
        yield
    except Exception:
        log.exception("server.signal_failed", signal=name)


async def _reload(tls: ServerTls | None) -> None:
    """Read the certificate again, away from the sessions; a bad one changes nothing."""
    if tls is None:
        log.info("server.nothing_to_reload")
        return
    reason = f"it cannot be read within {RELOAD_S:g} s"
    with trio.move_on_after(RELOAD_S):
        try:
            await trio.to_thread.run_sync(tls.reload, abandon_on_cancel=True)
            return
        except ConfigError as error:
            reason = error.public
    log.error("tls.certificate_refused", reason=reason, then="the old one stays in force")


async def _enter(
    room: Connections,
    serve_one: Callable[[Place, trio.SocketStream], Awaitable[None]],
    is_plain: bool,
    stream: trio.SocketStream,
) -> None:
    """Serve a connection if there is room for it; else hang up, with the reason if it is plain HTTP."""
    try:
        with room.place(peer_of(stream), trio.current_time(), stream.socket.close) as place:
            await serve_one(place, stream)
    except NoRoom as refusal:
        with trio.move_on_after(REFUSAL_S), suppress(trio.BrokenResourceError):
            await stream.send_all(refusal.answer if is_plain else b"")
        await trio.aclose_forcefully(stream)


async def _connection(
    app: ASGIWrapper,
    hypercorn: HypercornConfig,
    context: WorkerContext,
    config: Config,
    tls: ServerTls | None,
    place: Place,
    stream: trio.SocketStream,
) -> None:
    """Serve one connection: requests, then the session that one may have led to. The barrier: no Exception gets out."""
    try:
        with await _secured(stream, tls, place, config) as connection:
            # Hypercorn's own annotations ask for an SSLStream; it handles one without a handshake as plain TCP.
            await hardening.Connection(app, hypercorn, context, {STATE_KEY: connection}, connection).run()  # type: ignore[arg-type]
            await connection.go_on()
    except* (hardening.ConnectionRefused, HandshakeFailed):
        pass
    except* Exception:
        log.warning("connection.failed", peer=peer_of(stream), exc_info=True)
    finally:
        await trio.aclose_forcefully(stream)


async def _secured(stream: trio.SocketStream, tls: ServerTls | None, place: Place, config: Config) -> DetachableStream:
    """Shake hands if there is TLS. Raises HandshakeFailed."""
    if tls is None:
        return DetachableStream(stream, place, send_deadline_s=config.send_deadline_s)
    secured = tls.wrap(stream)
    await tls.handshake(secured)
    return DetachableTls(secured, place, send_deadline_s=config.send_deadline_s)


def _hypercorn_config() -> HypercornConfig:
    config = HypercornConfig()
    config.errorlog = logging.getLogger("hypercorn.error")
    config.accesslog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = hardening.HEAD_BYTES
    config.keep_alive_timeout = IDLE_S
    config.read_timeout = None
    return config


def _shown_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
