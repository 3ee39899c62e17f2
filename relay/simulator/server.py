"""The Trio shell's outside: listeners, the handshake, and one barrier per connection.

No connection can end the server: whatever one raises is logged and ends there. When the server is cancelled, every
connection is cut.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial

import trio
from trio_websocket import WebSocketRequest, wrap_server_stream

from relay.log import get_logger
from relay.simulator import faults
from relay.simulator.connection import STALL_S_MAX, Connection
from relay.simulator.edge import Edge
from relay.simulator.faces import FACES, Face
from relay.simulator.faults import FaultSpecError, Roll, Script
from relay.simulator.gate import Handshake, HttpRefusal
from relay.simulator.ids import Ids
from relay.simulator.sabotage import FaultyStream
from relay.simulator.session import Session

HANDSHAKE_DEADLINE_S = 10.0
# An append may carry 15 MiB; base64 and JSON around it make 20 MiB and a little.
MESSAGE_BYTES_MAX = 21 * 1024 * 1024
RECEIVE_BYTES = 64 * 1024
CONNECTIONS_MAX = 1_000

log = get_logger(__name__)


@dataclass(frozen=True)
class SimulatorOptions:
    """`pace` is how many times faster than real time it answers; `key` the only API key accepted, None for any;
    `faults` strike every connection (language: faults.py; FaultSpecError if it cannot be read); `profile` the service
    that it plays, one of faces.FACES."""

    profile: str = "openai"
    seed: int = 0
    faults: str = ""
    key: str | None = field(default=None, repr=False)
    max_session_s: float = 3_600.0
    pace: float = 8.0


async def serve_simulator(
    options: SimulatorOptions | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. `task_status.started` gets the URL to connect to, e.g. ws://127.0.0.1:8001/v1/realtime.

    ValueError for a profile that it cannot play.
    """
    simulator = Simulator(options or SimulatorOptions())
    listeners = await trio.open_tcp_listeners(port, host=host)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_listeners, simulator.handle, listeners))
        task_status.started(f"ws://{_authority(listeners[0])}{simulator.face.path}")


def _authority(listener: trio.SocketListener) -> str:
    address, port, *_ = listener.socket.getsockname()
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Simulator:
    """What all connections share: the options, and a count of connections."""

    def __init__(self, options: SimulatorOptions) -> None:
        if options.profile not in FACES:
            raise ValueError(f"unknown profile {options.profile!r}; known are {', '.join(FACES)}")
        self.face: Face = FACES[options.profile]
        self._options = options
        self._faults = faults.parse(options.faults)
        self._roll = Roll()
        self._connections = 0
        self._open = 0

    async def handle(self, stream: trio.abc.Stream) -> None:
        """One connection, from handshake to end. The barrier: raises nothing but Cancelled."""
        self._connections += 1
        self._open += 1
        number = self._connections
        faulty = FaultyStream(stream)
        try:
            await self._serve(faulty, number)
        except* Exception as group:
            log.warning("simulator.connection_failed", connection=number, error=repr(group.exceptions[0]))
        finally:
            self._open -= 1
            await trio.aclose_forcefully(stream)

    async def _serve(self, stream: FaultyStream, number: int) -> None:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(HANDSHAKE_DEADLINE_S) as deadline:
                request = await wrap_server_stream(
                    nursery, stream, max_message_size=MESSAGE_BYTES_MAX, receive_buffer_size=RECEIVE_BYTES
                )
            if not deadline.cancelled_caught:
                await self._welcome(request, stream, number)
            nursery.cancel_scope.cancel()

    async def _welcome(self, request: WebSocketRequest, stream: FaultyStream, number: int) -> None:
        handshake = Handshake(request.path, request.headers, request.proposed_subprotocols)
        try:
            script = self._script(handshake)
            await self._obey_before_accepting(script)
        except HttpRefusal as refusal:
            with trio.move_on_after(HANDSHAKE_DEADLINE_S):
                await request.reject(refusal.status, extra_headers=refusal.headers, body=refusal.body)
            return
        log.debug("simulator.connected", connection=number, safety_identifier=handshake.safety_identifier)
        with trio.move_on_after(HANDSHAKE_DEADLINE_S) as deadline:
            websocket = await request.accept(subprotocol=handshake.subprotocol)
        if not deadline.cancelled_caught:
            edge = self.face.edge(Ids(f"{self._options.seed}:{number}"))
            await Connection(websocket, stream, script, edge).run(partial(self._admit, handshake, edge))

    def _script(self, handshake: Handshake) -> Script:
        handshake.knock(self._options.key, self.face)
        if self._open > CONNECTIONS_MAX:
            raise HttpRefusal(503, "Too many connections.", retry_after_s="1")
        try:
            wanted = self._faults + faults.parse(handshake.fault)
        except FaultSpecError as error:
            raise HttpRefusal(400, str(error)) from None
        return Script(self._roll.call(wanted))

    async def _obey_before_accepting(self, script: Script) -> None:
        for fault in script.at("request"):
            if fault.name == "stall":
                await trio.sleep(STALL_S_MAX)
                raise HttpRefusal(503, "The stall is over.")
            raise HttpRefusal(fault.number, "A scripted fault.", retry_after_s=fault.rest)

    def _admit(self, handshake: Handshake, edge: Edge) -> Session:
        return Session(
            handshake.admit(self._options.key, self.face),
            edge.ids,
            now_s=trio.current_time(),
            unix_s=time.time(),
            max_session_s=self._options.max_session_s,
            pace=self._options.pace,
            edge=edge,
            terms=self.face.terms,
        )
