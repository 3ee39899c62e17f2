"""A bare ASGI application on uvicorn, with websockets on both sides."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from websockets.asyncio.client import ClientConnection, connect

PORT, URL = int(sys.argv[1]), sys.argv[2]
IDENTITY = sys.argv[3] if len(sys.argv) > 3 else None

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def relay(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """One browser, one upstream."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept", "subprotocol": "realtime"})
    async with connect(URL, compression=None) as upstream:
        await asyncio.gather(_up(receive, upstream), _down(upstream, send))


async def _up(receive: Receive, upstream: ClientConnection) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        await upstream.send(message["text"])
    await upstream.close()


async def _down(upstream: ClientConnection, send: Send) -> None:
    async for text in upstream:
        await send({"type": "websocket.send", "text": text})


if __name__ == "__main__":
    settings = {"ws": "websockets-sansio", "ws_per_message_deflate": False, "log_level": "error", "lifespan": "off"}
    settings |= {"ssl_certfile": IDENTITY, "ssl_keyfile": IDENTITY} if IDENTITY else {}
    uvicorn.run(relay, host="127.0.0.1", port=PORT, **settings)  # type: ignore[arg-type]  # settings of several types
