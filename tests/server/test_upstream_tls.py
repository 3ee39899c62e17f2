"""The upstream's certificate is verified by Python's defaults, over real TLS; a wrong one is refused and named."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest
import trio
import trustme

from relay.addresses import Address
from relay.config import Config, Secret
from relay.errors import UpstreamUnreachable, UpstreamUntrusted
from relay.target import target_for
from relay.upstream import open_upstream, tls_context
from tests.peers import FakeUpstream


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[trustme.CA]:
    """A CA that this process trusts, the way an operator adds one: SSL_CERT_FILE."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tls_context.cache_clear()
    yield authority
    tls_context.cache_clear()


@asynccontextmanager
async def tls_upstream(certificate: trustme.LeafCert) -> AsyncIterator[tuple[int, list[FakeUpstream]]]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    accepted: list[FakeUpstream] = []

    async def accept(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            accepted.append(await FakeUpstream.accept(stream))
            await trio.sleep_forever()
        except trio.BrokenResourceError:
            pass  # the client did not like the certificate
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_ssl_over_tcp, accept, 0, context)
        yield listeners[0].transport_listener.socket.getsockname()[1], accepted
        nursery.cancel_scope.cancel()


async def connect(port: int, host: str = "localhost") -> None:
    config = Config(upstream_key=Secret("key"))
    target = target_for(config, f"wss://{host}:{port}/v1/realtime")
    with trio.fail_after(10):
        async with open_upstream(target, config):
            pass


async def test_a_certificate_of_a_trusted_authority_for_the_right_host_is_accepted(authority: trustme.CA) -> None:
    async with tls_upstream(authority.issue_cert("localhost")) as (port, accepted):
        await connect(port)
        assert accepted[0].header("Authorization") == "Bearer key"


async def test_the_authorities_are_read_once_and_not_for_each_session(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_upstream(authority.issue_cert("localhost")) as (port, accepted):
        make = Mock(wraps=ssl.create_default_context)
        monkeypatch.setattr(ssl, "create_default_context", make)
        await connect(port)
        await connect(port)
        assert (len(accepted), make.call_count) == (2, 1)


def self_signed(_: trustme.CA) -> trustme.LeafCert:
    return trustme.CA().issue_cert("localhost")


def expired(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost", not_after=datetime.now(UTC) - timedelta(days=1))


def of_tomorrow(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost", not_before=datetime.now(UTC) + timedelta(days=1))


def of_another_host(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("elsewhere.example")


@pytest.mark.parametrize(
    ("issue", "host", "fault"),
    [
        (self_signed, "localhost", "unknown authority"),
        (expired, "localhost", "expired"),
        (of_tomorrow, "localhost", "not valid yet"),
        (of_another_host, "localhost", "wrong host"),
        (of_another_host, "127.0.0.1", "wrong host"),
    ],
)
async def test_a_certificate_that_proves_nothing_is_refused_and_the_error_says_why(
    authority: trustme.CA, issue: Callable[[trustme.CA], trustme.LeafCert], host: str, fault: str
) -> None:
    async with tls_upstream(issue(authority)) as (port, accepted):
        with pytest.raises(UpstreamUntrusted) as caught:
            await connect(port, host)
        assert caught.value.fault == fault
        assert caught.value.detail.startswith(f"certificate of {host}: {fault}: ")
        assert fault not in caught.value.public
        assert accepted == []


async def test_an_upstream_without_tls_is_another_matter(authority: trustme.CA) -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]

    async def answer_plainly(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer_plainly, [listener])
        with pytest.raises(UpstreamUnreachable) as caught:
            await connect(listener.socket.getsockname()[1], "127.0.0.1")
        nursery.cancel_scope.cancel()
    assert type(caught.value) is UpstreamUnreachable
    assert "TLS with 127.0.0.1" in caught.value.detail


def test_there_is_no_setting_that_touches_verification() -> None:
    words = ("verify", "insecure", "tls", "ssl")
    named = {name for name in Config.__struct_fields__ if any(word in name for word in words)}
    assert named == {"tls_certificate_file", "tls_key_file"}, "of relay's own server"
    assert Address._fields == ("scheme", "host", "port", "target")
