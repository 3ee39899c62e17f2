"""RFC 6455, section 5 and 7.4, in the order of Autobahn's chapters 1 to 7: each rule, in both roles, whole and dripped.

The bytes come from `tests.peers.frame`, which shares no code with what is tested.
"""

from __future__ import annotations

import contextlib

import pytest

from relay.wire import Closed, MessageTooBig, ProtocolViolation, WireError
from tests.peers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Role, close_payload, frame
from tests.wire.link import MASK, Link, link, receive_all


async def deliver(linked: Link, dripped: bool, *frames: bytes) -> tuple[list[str | bytes], WireError]:
    """Send frames and then the end; what our side made of them."""
    await linked.far.send_all(b"".join(frames))
    await linked.far.send_eof()
    with linked.near.dripping() if dripped else contextlib.nullcontext():
        return await receive_all(linked.ws)


async def violation(linked: Link, dripped: bool, *frames: bytes) -> ProtocolViolation:
    messages, error = await deliver(linked, dripped, *frames)
    assert messages == []
    assert isinstance(error, ProtocolViolation), error
    return error


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65_535, 65_536])
async def test_a_message_of_any_length_arrives_as_it_was_sent(role: Role, size: int) -> None:
    linked = link(role)
    text, data = "*" * size, bytes(i % 251 for i in range(size))
    messages, _ = await deliver(linked, False, linked.frame(TEXT, text.encode()), linked.frame(BINARY, data))
    assert messages == [text, data]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65_535, 65_536, 300_000])
async def test_a_message_of_any_length_is_sent_as_one_frame(role: Role, size: int) -> None:
    linked = link(role)
    text, data = "*" * size, bytes(i % 251 for i in range(size))
    await linked.ws.send(text)
    await linked.ws.send(data)
    assert linked.sent() == [(TEXT, text.encode()), (BINARY, data)]


async def test_text_and_binary_are_told_apart_and_kept_in_order(role: Role, dripped: bool) -> None:
    linked = link(role)
    frames = [
        linked.frame(BINARY),
        linked.frame(TEXT),
        linked.frame(TEXT, "κόσμε".encode()),
        linked.frame(BINARY, b"\xff"),
    ]
    messages, error = await deliver(linked, dripped, *frames)
    assert messages == [b"", "", "κόσμε", b"\xff"]
    assert isinstance(error, Closed)


async def test_bytes_that_came_with_the_handshake_are_the_first_frame(role: Role) -> None:
    first = link(role).frame(TEXT, b"first")
    linked = link(role, received=first[:3])
    messages, _ = await deliver(linked, False, first[3:], linked.frame(TEXT, b"second"))
    assert messages == ["first", "second"]


@pytest.mark.parametrize("payload", [b"", b"hello", b"\x00\xff\xfe", b"p" * 125])
async def test_a_ping_is_answered_with_its_own_payload(role: Role, dripped: bool, payload: bytes) -> None:
    linked = link(role)
    await deliver(linked, dripped, linked.frame(PING, payload))
    assert linked.sent() == [(PONG, payload)]


async def test_ten_pings_at_once_get_ten_pongs(role: Role, dripped: bool) -> None:
    linked = link(role)
    await deliver(linked, dripped, *(linked.frame(PING, b"%d" % i) for i in range(10)))
    assert linked.sent() == [(PONG, b"%d" % i) for i in range(10)]


async def test_a_pong_nobody_asked_for_is_ignored(role: Role, dripped: bool) -> None:
    linked = link(role)
    messages, _ = await deliver(linked, dripped, linked.frame(PONG, b"?"), linked.frame(TEXT, b"after"))
    assert messages == ["after"]
    assert linked.sent() == []


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
async def test_a_control_frame_over_125_bytes_is_a_violation(role: Role, dripped: bool, opcode: int) -> None:
    linked = link(role)
    assert (await violation(linked, dripped, linked.frame(opcode, b"c" * 126))).close_code == 1002


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
async def test_a_fragmented_control_frame_is_a_violation(role: Role, dripped: bool, opcode: int) -> None:
    linked = link(role)
    assert (await violation(linked, dripped, linked.frame(opcode, fin=False))).close_code == 1002


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
async def test_a_reserved_bit_is_a_violation_for_there_are_no_extensions(role: Role, opcode: int, rsv: int) -> None:
    linked = link(role)
    assert (await violation(linked, False, linked.frame(opcode, rsv=rsv))).close_code == 1002


@pytest.mark.parametrize("opcode", [*range(3, 8), *range(11, 16)])
async def test_a_reserved_opcode_is_a_violation(role: Role, dripped: bool, opcode: int) -> None:
    linked = link(role)
    assert (await violation(linked, dripped, linked.frame(opcode))).close_code == 1002


async def test_a_client_that_does_not_mask_and_a_server_that_does_are_violations(role: Role, dripped: bool) -> None:
    wrong = frame(TEXT, b"x", mask=MASK if role == "client" else None)
    assert (await violation(link(role), dripped, wrong)).close_code == 1002


@pytest.mark.parametrize("length", [b"\x7e\x00\x7d", b"\x7f" + (65_535).to_bytes(8, "big")])
async def test_a_length_that_is_not_in_its_shortest_form_is_a_violation(dripped: bool, length: bytes) -> None:
    assert (await violation(link("client"), dripped, b"\x81" + length)).close_code == 1002


async def test_fragments_are_put_together(role: Role, dripped: bool) -> None:
    linked = link(role)
    parts = [
        linked.frame(TEXT, b"frag", fin=False),
        linked.frame(CONTINUATION, fin=False),
        linked.frame(CONTINUATION, b"ment"),
    ]
    messages, _ = await deliver(linked, dripped, *parts, *parts)
    assert messages == ["fragment", "fragment"]


async def test_pings_between_fragments_are_answered_before_the_message_ends(role: Role, dripped: bool) -> None:
    linked = link(role)
    parts = [
        linked.frame(BINARY, b"a", fin=False),
        linked.frame(PING, b"1"),
        linked.frame(CONTINUATION, b"b", fin=False),
    ]
    messages, _ = await deliver(linked, dripped, *parts, linked.frame(PING, b"2"), linked.frame(CONTINUATION, b"c"))
    assert messages == [b"abc"]
    assert linked.sent() == [(PONG, b"1"), (PONG, b"2")]


@pytest.mark.parametrize("fin", [True, False])
async def test_a_continuation_of_nothing_is_a_violation(role: Role, dripped: bool, fin: bool) -> None:
    linked = link(role)
    assert (await violation(linked, dripped, linked.frame(CONTINUATION, b"x", fin=fin))).close_code == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_a_message_inside_a_message_is_a_violation(role: Role, dripped: bool, opcode: int) -> None:
    linked = link(role)
    frames = linked.frame(TEXT, b"x", fin=False), linked.frame(opcode, b"y")
    assert (await violation(linked, dripped, *frames)).close_code == 1002


async def test_a_character_may_be_split_across_fragments_at_any_byte(role: Role, dripped: bool) -> None:
    text = "κ€𝄞\U0010ffff"
    data = text.encode()
    for at in range(len(data) + 1):
        linked = link(role)
        frames = linked.frame(TEXT, data[:at], fin=False), linked.frame(CONTINUATION, data[at:])
        messages, _ = await deliver(linked, dripped, *frames)
        assert messages == [text]


NOT_UTF8 = {
    "lone continuation": b"\x80",
    "overlong slash": b"\xc0\xaf",
    "overlong of three": b"\xe0\x80\xaf",
    "surrogate": b"\xed\xa0\x80",
    "over U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "cut short": b"\xce\xba\xe1\xbd",
    "latin-1": b"caf\xe9",
}


@pytest.mark.parametrize("data", NOT_UTF8.values(), ids=NOT_UTF8.keys())
async def test_text_that_is_not_utf8_is_told_1007(role: Role, dripped: bool, data: bytes) -> None:
    linked = link(role)
    assert (await violation(linked, dripped, linked.frame(TEXT, data))).close_code == 1007


@pytest.mark.parametrize("data", NOT_UTF8.values(), ids=NOT_UTF8.keys())
async def test_wrong_utf8_is_found_in_fragments_too(role: Role, data: bytes) -> None:
    linked = link(role)
    frames = [linked.frame(TEXT, b"ok", fin=False)]
    frames += [linked.frame(CONTINUATION, data[i : i + 1], fin=False) for i in range(len(data))]
    assert (await violation(linked, False, *frames, linked.frame(CONTINUATION))).close_code == 1007


async def test_wrong_utf8_is_found_before_the_message_ends(role: Role) -> None:
    linked = link(role)
    await linked.far.send_all(linked.frame(TEXT, b"x\xff", fin=False))
    with pytest.raises(ProtocolViolation):
        await linked.ws.receive()


async def test_binary_may_be_anything(role: Role) -> None:
    linked = link(role)
    messages, _ = await deliver(linked, False, linked.frame(BINARY, b"\xff\x80"))
    assert messages == [b"\xff\x80"]


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
async def test_a_close_code_that_may_be_sent_is_reported_and_echoed(role: Role, dripped: bool, code: int) -> None:
    linked = link(role)
    _, error = await deliver(linked, dripped, linked.frame(CLOSE, close_payload(code, "adiós".encode())))
    assert isinstance(error, Closed)
    assert (error.code, error.reason) == (code, "adiós")
    assert linked.sent() == [(CLOSE, close_payload(code))]


async def test_a_close_without_a_code_is_1005_and_is_answered_without_one(role: Role, dripped: bool) -> None:
    linked = link(role)
    _, error = await deliver(linked, dripped, linked.frame(CLOSE))
    assert isinstance(error, Closed)
    assert error.code == 1005
    assert linked.sent() == [(CLOSE, b"")]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
async def test_a_close_code_that_must_not_be_sent_is_a_violation(role: Role, dripped: bool, code: int) -> None:
    linked = link(role)
    assert (await violation(linked, dripped, linked.frame(CLOSE, close_payload(code)))).close_code == 1002


async def test_half_a_close_code_is_a_violation(role: Role, dripped: bool) -> None:
    linked = link(role)
    assert (await violation(linked, dripped, linked.frame(CLOSE, b"\x03"))).close_code == 1002


async def test_a_close_reason_that_is_not_utf8_is_told_1007(role: Role, dripped: bool) -> None:
    linked = link(role)
    assert (await violation(linked, dripped, linked.frame(CLOSE, close_payload(1000, b"\xff")))).close_code == 1007


async def test_a_close_reason_may_be_123_bytes(role: Role, dripped: bool) -> None:
    linked = link(role)
    _, error = await deliver(linked, dripped, linked.frame(CLOSE, close_payload(1000, b"r" * 123)))
    assert isinstance(error, Closed)
    assert error.reason == "r" * 123


async def test_nothing_after_a_close_is_looked_at(role: Role, dripped: bool) -> None:
    linked = link(role)
    after = [linked.frame(TEXT, b"late"), linked.frame(PING), b"\xff\xff\xff\xff"]
    messages, error = await deliver(linked, dripped, linked.frame(CLOSE, close_payload(1001)), *after)
    assert messages == []
    assert isinstance(error, Closed)
    assert error.code == 1001
    assert linked.sent() == [(CLOSE, close_payload(1001))]


async def test_a_stream_that_ends_without_a_close_is_1006(role: Role, dripped: bool) -> None:
    linked = link(role)
    _, error = await deliver(linked, dripped, linked.frame(TEXT, b"cut short")[:-1])
    assert isinstance(error, Closed)
    assert error.code == 1006


async def test_a_message_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(role: Role) -> None:
    linked = link(role)
    messages, error = await deliver(
        linked, False, linked.frame(BINARY, bytes(65_536)), linked.frame(BINARY, bytes(65_537))
    )
    assert messages == [bytes(65_536)]
    assert isinstance(error, MessageTooBig)
    assert error.close_code == 1009


async def test_the_limit_counts_the_bytes_of_all_fragments(role: Role) -> None:
    linked = link(role)
    frames = linked.frame(BINARY, bytes(40_000), fin=False), linked.frame(CONTINUATION, bytes(25_537))
    messages, error = await deliver(linked, False, *frames)
    assert messages == []
    assert isinstance(error, MessageTooBig)


@pytest.mark.parametrize("length", [65_537, 16 << 20, 1 << 62])
async def test_a_length_over_the_limit_is_refused_by_its_header_alone(role: Role, dripped: bool, length: int) -> None:
    linked = link(role)
    await linked.far.send_all(linked.frame(BINARY, length=length))
    with linked.near.dripping() if dripped else contextlib.nullcontext(), pytest.raises(MessageTooBig):
        await linked.ws.receive()


async def test_64_fragments_are_taken_and_one_more_is_not(role: Role, dripped: bool) -> None:
    linked = link(role)
    fit = [
        linked.frame(TEXT, b"a", fin=False),
        *[linked.frame(CONTINUATION, fin=False)] * 62,
        linked.frame(CONTINUATION),
    ]
    over = [linked.frame(TEXT, b"a", fin=False), *[linked.frame(CONTINUATION, fin=False)] * 64]
    messages, error = await deliver(linked, dripped, *fit, *over)
    assert messages == ["a"]
    assert isinstance(error, MessageTooBig)


async def test_after_an_error_every_receive_raises_the_same_one(role: Role, dripped: bool) -> None:
    linked = link(role)
    _, error = await deliver(linked, dripped, linked.frame(TEXT, b"\xff"), linked.frame(TEXT, b"fine"))
    for _ in range(3):
        with pytest.raises(ProtocolViolation) as again:
            await linked.ws.receive()
        assert again.value is error
