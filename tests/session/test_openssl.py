"""OpenSSL for C (relay/openssl.py): what C is lent is Python's own connection, or nothing."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from relay import openssl
from relay._native import ffi, lib


@pytest.fixture
def looks_again() -> Iterator[None]:
    """Forget whether OpenSSL was found, before and after."""
    openssl._is_found.cache_clear()
    yield
    openssl._is_found.cache_clear()


def make() -> ssl.SSLObject:
    return ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")


def test_each_connection_is_lent_as_itself() -> None:
    lent = [openssl.lent(make) for _ in range(3)]
    assert ffi.NULL not in [handle for _, handle in lent]
    assert len({handle for _, handle in lent}) == 3


def test_a_connection_that_somebody_else_made_is_not_lent() -> None:
    somebody_elses = make()
    _, handle = openssl.lent(lambda: somebody_elses)
    assert handle == ffi.NULL
    assert lib.relay_openssl_newest() == ffi.NULL


def test_a_library_that_is_not_openssl_is_left_alone_and_the_operator_is_told(
    looks_again: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssl, "OPENSSL_VERSION", "LibreSSL 3.8.2")
    with capture_logs() as logs:
        lent = [openssl.lent(make) for _ in range(2)]
    assert [handle for _, handle in lent] == [ffi.NULL] * 2
    assert [entry["event"] for entry in logs] == ["openssl.not_found"]
