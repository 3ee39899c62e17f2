"""Quart-Trio on Hypercorn, trio-websocket to the upstream: the stack relay is built on, used as its pages show."""

from __future__ import annotations

import ssl
import sys

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import websocket
from quart_trio import QuartTrio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

PORT, URL = int(sys.argv[1]), sys.argv[2]
IDENTITY = sys.argv[3] if len(sys.argv) > 3 else None
TLS = ssl.create_default_context() if URL.startswith("wss:") else None
app = QuartTrio(__name__)


@app.websocket("/v1/realtime")
async def relay() -> None:
    """One browser, one upstream."""
    async with open_websocket_url(URL, ssl_context=TLS) as upstream, trio.open_nursery() as nursery:
        nursery.start_soon(_down, upstream, nursery.cancel_scope)
        while True:
            await upstream.send_message(await websocket.receive())


async def _down(upstream: WebSocketConnection, scope: trio.CancelScope) -> None:
    try:
        while True:
            await websocket.send(await upstream.get_message())
    except ConnectionClosed:
        scope.cancel()


if __name__ == "__main__":
    config = Config()
    config.bind = [f"127.0.0.1:{PORT}"]
    config.loglevel = "ERROR"
    config.certfile = config.keyfile = IDENTITY
    trio.run(serve, app, config)
