"""Whose X-Forwarded-For is believed, and which of its addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.proxies import TrustedProxies

PROXIES = TrustedProxies(("10.0.0.5", "10.1.0.0/24", "2001:db8:1::/64", "127.0.0.1"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.5", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.5", ["203.0.113.9, 10.1.0.7"], "203.0.113.9"),
        ("10.0.0.5", ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.5", ["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
        ("10.0.0.5", ["junk, 203.0.113.9,\t10.1.0.7"], "203.0.113.9"),
        ("2001:db8:1::2", ["2001:db8:2:0::1"], "2001:db8:2::1"),
        ("::ffff:10.0.0.5", ["::ffff:203.0.113.9"], "203.0.113.9"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_proxy(peer: str, forwarded: list[str], client: str) -> None:
    assert PROXIES.client(peer, forwarded) == client


@pytest.mark.parametrize("peer", ["203.0.113.1", "10.0.0.6", "10.1.1.0", ""])
def test_nobody_else_is_believed(peer: str) -> None:
    assert PROXIES.client(peer, ["198.51.100.1"]) == peer


@pytest.mark.parametrize(
    "forwarded",
    ["", ",", "unknown", "203.0.113.9:443", "[2001:db8::1]", "fe80::1%eth0", "203.0.113.9,", "0xcb.0.0.1", "010.0.0.1",
     "203.0.113.9, junk", "203.0.113.9, junk, 10.1.0.7", "10.1.0.7"],
)  # fmt: skip
def test_what_cannot_be_read_means_the_peer_itself(forwarded: str) -> None:
    assert PROXIES.client("10.0.0.5", [forwarded]) == "10.0.0.5"


@given(st.lists(st.text(max_size=60), max_size=4))
def test_no_header_makes_it_fail_and_a_client_never_becomes_a_proxy(forwarded: list[str]) -> None:
    client = PROXIES.client("10.0.0.5", forwarded)
    assert client == "10.0.0.5" or client not in PROXIES


NOBODY = ["0.0.0.0/0", "::/0", "::ffff:10.0.0.5", "fe80::1%eth0"]
"""Everybody, who is no proxy, and addresses that no peer is known by."""


@pytest.mark.parametrize("entry", ["", "proxy.example", "10.0.0.1/24", "10.0.0.0/33", "*", *NOBODY])
def test_a_proxy_is_named_by_address_or_network(entry: str) -> None:
    with pytest.raises(ValueError, match="expected IP addresses"):
        TrustedProxies((entry,))
