"""Whom relay dials, and whose pages may dial relay: the rules about hosts, as plain functions over strings.

Each check is strict on purpose. An address here decides where a key is sent or which page may use it, so what is not
plainly right is refused, and the text of the refusal says what would be right. No refusal repeats the address: a URL
may carry a key in its query.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

OPENAI_HOSTS = frozenset(
    {"api.openai.com", *(f"{region}.api.openai.com" for region in ("us", "eu", "ae", "au", "in", "jp"))}
)

_DEFAULT_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]"
_URL = re.compile(
    rf"(?P<scheme>[a-z]+)://(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?(?P<target>[/?][!-\[\]-~]*)?", re.ASCII
)
_ORIGIN = re.compile(rf"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?", re.ASCII)


class Address(NamedTuple):
    """One upstream, taken apart. `host` is lower case and without brackets; `target` is the path with its query."""

    scheme: str
    host: str
    port: int
    target: str


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an IP address, without brackets) is this machine and nothing but this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def network_of(peer: str) -> str:
    """Return what counts as one address: an IPv4 address, or an IPv6 network of 64 bits, which is what one user has."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer  # the connection has gone and has no address any more
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def is_host(text: str) -> bool:
    """Whether `text` can be listened on: a host name, or an IP address without brackets."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return re.fullmatch(_HOST, text) is not None and not text.startswith("[")
    return True


def parse_upstream(url: str) -> Address:
    """Take an upstream's URL apart. ValueError says in one phrase what an upstream's URL must look like."""
    if "#" in url:
        raise ValueError("the URL of an upstream has no #fragment")
    if "@" in re.split("[/?]", url.partition("://")[2], maxsplit=1)[0]:
        raise ValueError("a URL carries no user or password here; set RELAY_UPSTREAM_KEY instead")
    found = _URL.fullmatch(url)
    if found is None or found["scheme"] not in ("ws", "wss"):
        raise ValueError("expected simulator, openai, xai, qwen, localai, or a URL such as wss://host/v1/realtime")
    host = found["host"].strip("[]").lower()
    if "[" in found["host"] and not _is_ip_v6(host):
        raise ValueError("the part in brackets is not an IPv6 address")
    if found["scheme"] == "ws" and not is_loopback(host):
        raise ValueError("ws:// would send audio and key unencrypted; use wss:// for any host but this machine")
    return Address(found["scheme"], host, _port(found["port"], found["scheme"]), _target(found["target"]))


def is_openai(address: Address) -> bool:
    """Whether OpenAI's key may be sent there: one of OpenAI's own hosts, over TLS."""
    return address.scheme == "wss" and address.host in OPENAI_HOSTS


def check_origin(origin: str) -> str:
    """Give `origin` back if a browser could send exactly that as its Origin header; else ValueError."""
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        raise ValueError("expected an exact origin, scheme://host or scheme://host:port, without path or wildcard")
    if origin != origin.lower():
        raise ValueError("browsers send an origin in lower case; write it so")
    if found["port"] and _port(found["port"], "") == _DEFAULT_PORTS.get(found["scheme"]):
        raise ValueError(f"browsers leave out the port :{found['port']} of {found['scheme']}; leave it out as well")
    return origin


def loopback_origins(scheme: str, host: str, port: int) -> frozenset[str]:
    """Give the origins of a page that this machine itself serves at `port`; `scheme` is http or https."""
    names = {"127.0.0.1", "localhost", "[::1]", f"[{host.lower()}]" if ":" in host else host.lower()}
    suffix = "" if port == _DEFAULT_PORTS[scheme] else f":{port}"
    return frozenset(f"{scheme}://{name}{suffix}" for name in names)


def _port(text: str | None, scheme: str) -> int:
    port = int(text) if text else _DEFAULT_PORTS[scheme]
    if not 1 <= port <= 65_535:
        raise ValueError("a port is a number from 1 to 65535")
    return port


def _target(text: str | None) -> str:
    """Give the path and query as they go on the wire; a URL may leave the path out."""
    if not text:
        return "/"
    return text if text.startswith("/") else "/" + text


def _is_ip_v6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
