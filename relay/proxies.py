"""Whose word about a client's address is believed: the proxies that the operator named, and nobody else's.

    proxies = TrustedProxies(("10.0.0.5", "2001:db8:1::/64"))
    address = proxies.client(peer, x_forwarded_for)

Rules: each proxy writes the address of whom it speaks to at the right end of X-Forwarded-For; what stands left of that,
somebody else wrote. So the list is read from the right, past proxies that are trusted themselves, and the first other
address is the client. Everything that is not plainly so counts for nothing: then the client is the peer itself, which
costs a client that lies its proxy's good name and gains it nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network


class TrustedProxies:
    """The proxies of one process. Raises ValueError for an entry that is neither an IP address nor a network."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._networks = [_network(entry) for entry in entries]

    def __contains__(self, peer: str) -> bool:
        address = _address(peer)
        return address is not None and self._trusts(address)

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return the client's address. `peer` is who is connected, `forwarded` all its X-Forwarded-For headers."""
        if not forwarded or peer not in self:
            return peer
        for hop in reversed(",".join(forwarded).split(",")):
            address = _address(hop.strip(" \t"))
            if address is None:
                return peer
            if not self._trusts(address):
                return str(address)
        return peer

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


def _network(entry: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(entry)
        if network.prefixlen == 0 or getattr(network.network_address, "ipv4_mapped", None) or "%" in entry:
            raise ValueError("everybody is no proxy, and no peer has such an address")
        return network
    except ValueError:
        raise ValueError(
            "expected IP addresses or networks of proxies, such as 10.0.0.5 or 10.0.0.0/24 (no bits set behind the /)"
        ) from None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address as proxies write it: without port, brackets or zone. IPv4 within IPv6 is IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return None if address.scope_id else address.ipv4_mapped or address
    return address
