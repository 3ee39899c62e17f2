// Node with the `ws` package, server and client.
import { WebSocket, WebSocketServer } from "ws";

const [port, url] = process.argv.slice(2);
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port), perMessageDeflate: false });

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
