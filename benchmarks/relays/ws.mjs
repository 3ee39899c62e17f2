// Node with the `ws` package, server and client.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { WebSocket, WebSocketServer } from "ws";

const [port, url, identity] = process.argv.slice(2);
const pem = identity && readFileSync(identity);
const listener = pem ? createSecureServer({ cert: pem, key: pem }) : createServer();
const server = new WebSocketServer({ server: listener, perMessageDeflate: false });
listener.listen(Number(port), "127.0.0.1");

server.on("connection", (browser) => {
  const upstream = new WebSocket(url, { perMessageDeflate: false });
  const early = [];
  browser.on("message", (data) => {
    if (upstream.readyState === WebSocket.OPEN) upstream.send(data.toString());
    else early.push(data.toString());
  });
  upstream.on("open", () => early.forEach((text) => upstream.send(text)));
  upstream.on("message", (data) => browser.send(data.toString()));
  upstream.on("close", () => browser.close());
  browser.on("close", () => upstream.terminate());
  upstream.on("error", () => browser.close());
});
