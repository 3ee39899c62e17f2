"""relay's own TLS: what is refused at start, what SIGHUP does, who is let in, and that a detach loses no byte.

What the front door promises over plain HTTP is tested over TLS as well in test_front_door.py and test_serve.py.
"""

from __future__ import annotations

import gc
import os
import random
import re
import signal
import socket
import ssl
import time
import tracemalloc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

from relay import tls
from relay._native import ffi, lib
from relay.detach import DetachableTls
from relay.errors import ConfigError
from relay.secure_stream import MOST_AT_ONCE, MOST_EMPTY, TURN_S, Ciphertext, SecureStream
from relay.server import IDLE_S
from relay.tls import HANDSHAKE_S, HandshakeFailed, ServerTls
from relay.turnstile import Turnstile
from relay.way_stream import with_short_way
from relay.wire import WebSocket, WireLimits
from tests.certificates import Certificate
from tests.peers import loopback_pair
from tests.processes import RelayProcess, relay_process, run_relay
from tests.server.key_changer import KeyChanger
from tests.server.talker import open_talker
from tests.server.test_detach import Indifferent

SIMULATED = ("--upstream", "simulator")
DETACHES = 4_000


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.issue(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def relay(certificate: Certificate) -> Iterator[RelayProcess]:
    with relay_process(*SIMULATED, certificate=certificate) as process:
        yield process
        assert process.process.poll() is None, "the server died"
        assert "Traceback" not in process.stderr


def is_alive(relay: RelayProcess) -> bool:
    with relay.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")
        return connection.recv(4096).startswith(b"HTTP/1.1 200")


def until(condition: Callable[[], object], what: str) -> None:
    ends_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends_at, what
        time.sleep(0.02)


# At start


def lock(made: Certificate) -> None:
    key = load_pem_private_key(made.key_file.read_bytes(), None)
    password = serialization.BestAvailableEncryption(b"secret")
    formats = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    made.key_file.write_bytes(key.private_bytes(*formats, password))


def mismatch(made: Certificate) -> None:
    made.key_file.write_bytes(trustme.CA().issue_cert("localhost").private_key_pem.bytes())


BAD_FILES: dict[str, tuple[Callable[[Certificate], object], str]] = {
    "no certificate": (lambda made: made.certificate_file.unlink(), "tls_certificate_file: cannot read it: No such"),
    "no key": (lambda made: made.key_file.unlink(), "tls_key_file: cannot read it: No such file"),
    "not PEM": (
        lambda made: made.certificate_file.write_text("hello"),
        "tls_certificate_file: no certificate",
    ),
    "torn": (
        lambda made: made.certificate_file.write_text(
            re.sub(r"[A-Za-z0-9+/]{60}\n", "", made.certificate_file.read_text(), count=3)
        ),
        "tls_certificate_file: no certificate in PEM",
    ),
    "binary in the middle": (
        lambda made: made.certificate_file.write_bytes(made.certificate_file.read_bytes().replace(b"\n", b"\n\xff", 3)),
        "tls_certificate_file: no certificate in PEM",
    ),
    "key not PEM": (lambda made: made.key_file.write_text("hello"), "tls_key_file: no private key"),
    "key locked": (lock, "tls_key_file: protected by a password"),
    "key of another": (mismatch, "tls_key_file: not the key of the first certificate"),
    "expired": (
        lambda made: Certificate.issue(made.key_file.parent, not_after=datetime.now(UTC) - timedelta(days=1)),
        "tls_certificate_file: expired on 2",
    ),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_certificate_or_key_that_cannot_serve_is_refused_and_the_setting_named(tmp_path: Path, fault: str) -> None:
    made = Certificate.issue(tmp_path)
    spoil, says = BAD_FILES[fault]
    spoil(made)
    with pytest.raises(ConfigError, match=says):
        ServerTls(str(made.certificate_file), str(made.key_file))


def test_a_key_that_goes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, read = Certificate.issue(tmp_path), tls._read

    def read_and_remove(file: Path, setting: str) -> str:
        text = read(file, setting)
        if file == made.key_file:
            file.unlink()
        return text

    monkeypatch.setattr(tls, "_read", read_and_remove)
    with pytest.raises(ConfigError, match="tls_certificate_file: cannot read it or its key: No such file"):
        ServerTls(str(made.certificate_file), str(made.key_file))


def test_a_certificate_that_cannot_serve_ends_the_start_with_one_line_and_exit_code_2(tmp_path: Path) -> None:
    made = Certificate.issue(tmp_path, not_after=datetime.now(UTC) - timedelta(days=1))
    done = run_relay("serve", "--port", "0", *SIMULATED, *made.flags)
    assert (done.code, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("relay: tls_certificate_file: ")


@pytest.mark.parametrize("byte", [b"\xff", b"?", b"\x00"])
def test_a_certificate_with_a_garbled_byte_is_refused_whatever_the_byte_was_for(tmp_path: Path, byte: bytes) -> None:
    made = Certificate.issue(tmp_path)
    block = re.findall(
        "-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", made.certificate_file.read_text(), re.S
    )
    der = ssl.PEM_cert_to_DER_cert(block[0])
    refused = 0
    for place in range(len(der)):
        garbled = der[:place] + byte + der[place + 1 :]
        made.certificate_file.write_text("\n".join([ssl.DER_cert_to_PEM_cert(garbled), *block[1:]]))
        try:
            ServerTls(str(made.certificate_file), str(made.key_file))
        except ConfigError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(("days", "warns"), [(13, True), (15, False)])
def test_the_log_warns_of_a_certificate_with_less_than_two_weeks_left(tmp_path: Path, days: int, warns: bool) -> None:
    made = Certificate.issue(tmp_path, not_after=datetime.now(UTC) + timedelta(days=days))
    with capture_logs() as logs:
        ServerTls(str(made.certificate_file), str(made.key_file))
    assert [line["log_level"] for line in logs] == ["info"] + ["warning"] * warns


# SIGHUP


def shown(relay: RelayProcess) -> bytes:
    """Give the certificate that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as plain, context.wrap_socket(plain) as tls:
        return tls.getpeercert(binary_form=True) or b""


async def test_after_sighup_new_connections_get_the_new_certificate_and_a_session_goes_on(tmp_path: Path) -> None:
    made = Certificate.issue(tmp_path)
    with relay_process(*SIMULATED, certificate=made) as relay, trio.fail_after(30):
        async with open_talker(relay.port, trust=relay.trust) as talker:
            await talker.start()
            before = shown(relay)
            Certificate.issue(tmp_path, authority=made.authority)
            relay.process.send_signal(signal.SIGHUP)
            until(lambda: shown(relay) != before, "the new certificate")
            await talker.write("still there?")
            await talker.expect("relay.audio.done")


@pytest.mark.parametrize("fault", ["key of another", "binary in the middle"])
def test_a_bad_new_certificate_is_logged_and_the_old_one_stays_in_force(tmp_path: Path, fault: str) -> None:
    made = Certificate.issue(tmp_path)
    spoil, says = BAD_FILES[fault]
    with relay_process(*SIMULATED, certificate=made) as relay:
        before = shown(relay)
        spoil(made)
        relay.process.send_signal(signal.SIGHUP)
        until(lambda: "tls.certificate_refused" in relay.stderr, "a line in the log")
        assert says.partition(": ")[2] in relay.stderr
        assert shown(relay) == before
        assert is_alive(relay)


def test_a_certificate_that_cannot_be_read_to_its_end_does_not_keep_the_process_from_ending(tmp_path: Path) -> None:
    made = Certificate.issue(tmp_path)
    with relay_process(*SIMULATED, certificate=made) as relay:
        made.certificate_file.unlink()
        os.mkfifo(made.certificate_file)
        relay.process.send_signal(signal.SIGHUP)
        until(lambda: "signal=SIGHUP" in relay.stderr, "a line in the log")
        assert relay.stop(deadline_s=15) == 0
        assert "it cannot be read within 5 s" in relay.stderr


def test_sighup_on_plain_http_changes_nothing() -> None:
    with relay_process(*SIMULATED) as relay:
        relay.process.send_signal(signal.SIGHUP)
        until(lambda: "nothing_to_reload" in relay.stderr, "a line in the log")
        assert is_alive(relay)


# Handshakes


@pytest.mark.parametrize(("offered", "agreed"), [(["h2", "http/1.1"], "http/1.1"), (["h2"], None)])
def test_http_1_1_is_all_that_is_agreed_on(relay: RelayProcess, offered: list[str], agreed: str | None) -> None:
    assert relay.trust
    relay.trust.set_alpn_protocols(offered)
    try:
        with relay.connect() as connection:
            assert isinstance(connection, ssl.SSLSocket)
            assert connection.selected_alpn_protocol() == agreed
    finally:
        relay.trust.set_alpn_protocols(["http/1.1"])


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_older_than_1_2_is_refused(relay: RelayProcess) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as plain, pytest.raises(ssl.SSLError) as seen:
        context.wrap_socket(plain)
    assert not isinstance(seen.value, ssl.SSLCertVerificationError)
    assert is_alive(relay)


def test_who_speaks_no_tls_is_closed_and_the_server_lives(relay: RelayProcess) -> None:
    for garbage in (b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\x00" * 300, b"\x00" * 20):
        with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    assert is_alive(relay)


def test_peers_that_do_not_shake_hands_hold_up_neither_the_others_nor_the_end(certificate: Certificate) -> None:
    with relay_process(*SIMULATED, certificate=certificate) as relay:
        silent = [socket.create_connection(("127.0.0.1", relay.port), timeout=10) for _ in range(50)]
        assert is_alive(relay)
        assert relay.stop(deadline_s=5) == 0
        for connection in silent:
            connection.close()


async def test_a_handshake_that_is_not_finished_is_ended_in_time(
    certificate: Certificate, autojump_clock: MockClock
) -> None:
    tls = ServerTls(str(certificate.certificate_file), str(certificate.key_file))
    async with loopback_pair() as (theirs, ours):
        began_s = trio.current_time()
        await theirs.send_all(b"\x16\x03\x01\x02\x00\x01")  # the first bytes of a ClientHello
        with pytest.raises(HandshakeFailed):
            await tls.handshake(tls.wrap(ours))
        assert trio.current_time() - began_s == pytest.approx(HANDSHAKE_S)


# Records that say nothing


def test_who_changes_keys_without_end_is_hung_up_on(relay: RelayProcess) -> None:
    with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as connection:
        connection.settimeout(None)
        changer = KeyChanger(connection)
        ends_at = time.monotonic() + IDLE_S - 2
        while changer.change():
            assert time.monotonic() < ends_at, "it may go on, until it counts as idle"


def test_who_changes_keys_now_and_then_is_answered(relay: RelayProcess) -> None:
    with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as connection:
        connection.settimeout(None)
        changer = KeyChanger(connection)
        for _ in range(MOST_EMPTY // 2):
            assert changer.change()
            assert changer.say(b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")
            assert connection.recv(65_536), "it has hung up"


@asynccontextmanager
async def one_who_stands_in_it() -> AsyncIterator[Turnstile]:
    """Give a turnstile through which nobody comes."""
    turnstile = Turnstile()

    async def stand_in_it(task_status: trio.TaskStatus[None]) -> None:
        async with turnstile._lock:
            task_status.started()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        await nursery.start(stand_in_it)
        yield turnstile
        nursery.cancel_scope.cancel()


async def test_a_handshake_that_trickles_takes_no_turn_before_a_record_is_whole() -> None:
    async with loopback_pair() as (theirs, ours), one_who_stands_in_it() as turnstile:
        ciphertext = Ciphertext(ours, turnstile)
        for byte in b"\x16\x03\x01\x00\x02\x01":
            await theirs.send_all(bytes([byte]))
            with trio.fail_after(5):
                assert await ciphertext.receive_some() == bytes([byte])
        await theirs.send_all(b"\x00")
        with trio.move_on_after(0.1) as waiting:
            await ciphertext.receive_some()
        assert waiting.cancelled_caught


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=12), st.integers(1, 30))
def test_records_are_counted_however_they_are_cut(records: list[bytes], piece_bytes: int) -> None:
    counting = ffi.new("relay_tls_records *")
    data = b"".join(b"\x17\x03\x03" + len(record).to_bytes(2, "big") + record for record in records)
    pieces = [data[start : start + piece_bytes] for start in range(0, len(data), piece_bytes)]
    assert sum(lib.relay_tls_records_read(counting, piece, len(piece)) for piece in pieces) == len(records)
    assert counting.empty == len(records)


async def test_many_records_at_once_wait_for_their_turn_which_is_not_cancelled() -> None:
    many = b"\x17\x03\x03\x00\x01x" * (MOST_AT_ONCE + 1)
    async with loopback_pair() as (theirs, ours), one_who_stands_in_it() as turnstile:
        ciphertext = Ciphertext(ours, turnstile)
        ciphertext.shook_hands()
        await theirs.send_all(many[6:])
        with trio.fail_after(TURN_S / 2):
            assert await ciphertext.receive_some() == many[6:]
        await theirs.send_all(many)
        began_s = trio.current_time()
        with trio.move_on_after(TURN_S / 10):
            assert await ciphertext.receive_some() == many
            await trio.lowlevel.checkpoint()
        assert trio.current_time() - began_s >= TURN_S


async def test_the_records_of_a_handshake_are_forgiven(certificate: Certificate) -> None:
    ours, theirs = await secured_pair(certificate)
    async with theirs, ours:
        assert ours.records.empty == 0


# The end


def test_a_connection_ends_with_a_goodbye_in_tls(relay: RelayProcess) -> None:
    with relay.connect() as connection:
        assert isinstance(connection, ssl.SSLSocket)
        connection.suppress_ragged_eofs = False  # type: ignore[attr-defined]  # documented as an argument only
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
        while connection.recv(4096):
            pass  # without the goodbye this raises SSLEOFError


async def secured_pair(
    certificate: Certificate,
) -> tuple[SecureStream, trio.SSLStream[trio.SocketStream]]:
    """Give both ends of a TLS connection over real sockets: ours, theirs."""
    left, right = trio.socket.socketpair()
    tls = ServerTls(str(certificate.certificate_file), str(certificate.key_file))
    ours = tls.wrap(trio.SocketStream(left))
    theirs = trio.SSLStream(trio.SocketStream(right), certificate.trust(), server_hostname="localhost")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tls.handshake, ours)
        nursery.start_soon(theirs.do_handshake)
    return ours, theirs


async def end_of(stream: trio.SSLStream[trio.SocketStream]) -> bytes:
    """Read to the goodbye. BrokenResourceError if the connection just breaks."""
    read = b""
    while chunk := await stream.receive_some():
        read += chunk
    return read


@pytest.mark.parametrize("wrap", [with_short_way, lambda stream: stream], ids=["as in a session", "alone"])
async def test_a_session_ends_with_a_close_frame_and_then_a_goodbye_in_tls(
    certificate: Certificate, wrap: Callable[[trio.abc.Stream], trio.abc.Stream]
) -> None:
    ours, theirs = await secured_pair(certificate)
    socket = WebSocket(wrap(ours), role="server", limits=WireLimits(message_bytes=1_000))
    async with theirs, trio.open_nursery() as nursery:
        nursery.start_soon(socket.aclose, 1000, "bye")
        with trio.fail_after(5):
            await theirs.send_all(b"\x88\x80\x00\x00\x00\x00")
            assert await end_of(theirs) == b"\x88\x05\x03\xe8bye"


@pytest.mark.parametrize("wrap", [with_short_way, lambda stream: stream], ids=["as in a session", "alone"])
async def test_after_a_cancelled_write_nothing_more_is_said(
    certificate: Certificate, wrap: Callable[[trio.abc.Stream], trio.abc.Stream]
) -> None:
    ours, theirs = await secured_pair(certificate)
    stream = wrap(ours)
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.send_all(b"encrypted, and never sent")
    await stream.aclose()
    with pytest.raises(trio.BrokenResourceError) as seen, trio.fail_after(5):
        await theirs.receive_some()
    assert isinstance(seen.value.__cause__, ssl.SSLEOFError)  # and not a record that cannot be authentic
    await theirs.aclose()


async def test_a_connection_that_was_hung_up_on_meanwhile_is_no_failure(certificate: Certificate) -> None:
    ours, theirs = await secured_pair(certificate)
    async with theirs:
        ours.transport_stream.socket.close()
        await DetachableTls(ours, Indifferent(), send_deadline_s=5.0).do_handshake()


async def test_a_connection_with_a_fault_leaves_nothing_to_the_garbage_collector(certificate: Certificate) -> None:
    ours, theirs = await secured_pair(certificate)
    gc.collect()
    gc.disable()
    try:
        await theirs.transport_stream.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
        with suppress(trio.BrokenResourceError):
            await ours.receive_some()
        await ours.aclose()
        stream = weakref.ref(ours)
        del ours
        assert stream() is None
    finally:
        gc.enable()
    theirs.transport_stream.socket.close()


@pytest.mark.parametrize("way", ["stopped reading", "shut its half", "said goodbye in TLS and stays"])
async def test_a_peer_that_is_half_gone_does_not_hold_up_the_end(certificate: Certificate, way: str) -> None:
    ours, theirs = await secured_pair(certificate)
    limits = WireLimits(message_bytes=1_000, send_deadline_s=0.2, close_deadline_s=0.2)
    socket = WebSocket(with_short_way(ours), role="server", limits=limits)
    with trio.fail_after(5):
        if way == "stopped reading":
            with trio.move_on_after(0.2):
                await ours.send_all(b"\x00" * 10_000_000)
        elif way == "shut its half":
            await theirs.transport_stream.send_eof()
        else:
            theirs.transport_stream.aclose = trio.lowlevel.checkpoint  # type: ignore[method-assign]
            await theirs.aclose()
        await socket.aclose()
    assert ours.transport_stream.socket.fileno() == -1
    theirs.transport_stream.socket.close()


async def test_a_short_read_allocates_no_more_than_a_record_needs(certificate: Certificate) -> None:
    ours, theirs = await secured_pair(certificate)
    async with ours, theirs:
        await theirs.send_all(b"hello")
        await ours.receive_some()  # what the first call sets up once
        await theirs.send_all(b"hello")
        tracemalloc.start()
        try:
            assert await ours.receive_some() == b"hello"
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak_bytes < 32_768


# Detaching


async def hypercorn(connection: DetachableTls, asked: trio.MemorySendChannel[bytes]) -> None:
    """Read as Hypercorn does: without end, one read always waiting."""
    while data := await connection.receive_some(65_536):
        await asked.send(data)


async def speak_after_each_101(stream: trio.SSLStream[trio.SocketStream], frames: list[list[bytes]]) -> None:
    """Be a client that asks for a session again and again, and speaks the moment it has the 101."""
    for parts in frames:
        await stream.send_all(b"ask")
        assert await stream.receive_some() == b"101"
        for part in parts:
            await stream.send_all(part)
        assert await stream.receive_some() == b"bye"


async def session(ours: SecureStream, length: int) -> bytes:
    """Take a request in, detach, and read what the client says: as app.py and server.py do it."""
    connection = DetachableTls(ours, Indifferent(), send_deadline_s=5.0)
    asking, asked = trio.open_memory_channel[bytes](1)
    said = b""

    async def hear(stream: trio.abc.Stream) -> None:
        nonlocal said
        while len(said) < length:
            said += await stream.receive_some(65_536)
        await stream.send_all(b"bye")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hypercorn, connection, asking)
        assert await asked.receive() == b"ask"
        await trio.testing.wait_all_tasks_blocked()  # the next read waits
        connection.hold()
        await connection.send_all(b"101")
        connection.detach(hear)
        connection.release()
    await connection.go_on()
    return said


async def test_a_detach_loses_no_byte_and_tears_no_stream_thousands_of_times(certificate: Certificate) -> None:
    dice = random.Random(1)
    ours, theirs = await secured_pair(certificate)
    frames = [[dice.randbytes(dice.choice((1, 50, 1_500, 20_000))) for _ in range(2)] for _ in range(DETACHES)]
    async with theirs, ours, trio.open_nursery() as nursery:
        nursery.start_soon(speak_after_each_101, theirs, frames)
        for parts in frames:
            said = b"".join(parts)
            assert await session(ours, len(said)) == said
