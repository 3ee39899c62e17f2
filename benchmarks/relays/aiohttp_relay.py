"""aiohttp, server and client."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator

from aiohttp import ClientSession, ClientWebSocketResponse, TCPConnector, WSMsgType, web

PORT, URL = int(sys.argv[1]), sys.argv[2]
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if len(sys.argv) > 3 else None

Socket = ClientWebSocketResponse | web.WebSocketResponse


async def relay(request: web.Request) -> web.WebSocketResponse:
    """One browser, one upstream."""
    browser = web.WebSocketResponse(protocols=("realtime",), compress=False)
    await browser.prepare(request)
    async with request.app[SESSION].ws_connect(URL, compress=0) as upstream:
        await asyncio.gather(_copy(browser, upstream), _copy(upstream, browser))
    return browser


async def _copy(source: Socket, target: Socket) -> None:
    async for message in source:
        if message.type is WSMsgType.TEXT:
            await target.send_str(message.data)
    await target.close()


SESSION = web.AppKey("session", ClientSession)


async def _session(app: web.Application) -> AsyncIterator[None]:
    async with ClientSession(connector=TCPConnector(limit=0)) as app[SESSION]:  # by itself it allows 100
        yield


if __name__ == "__main__":
    if TLS:
        TLS.load_cert_chain(sys.argv[3])
    application = web.Application()
    application.cleanup_ctx.append(_session)
    application.router.add_get("/v1/realtime", relay)
    web.run_app(application, host="127.0.0.1", port=PORT, ssl_context=TLS, print=None)
