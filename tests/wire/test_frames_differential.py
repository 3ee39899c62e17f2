"""Our frames in C against wsproto's: the same events and the same verdict, whatever the bytes and however they are cut.

One difference is meant: a head is judged as far as it has come, while wsproto waits for all of it. So where ours has
refused a stream that ends inside a head, the other is given the rest of that head, as zeros.
"""

from __future__ import annotations

import functools
import itertools
import tracemalloc
from typing import Protocol

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol

from relay._buffer import shared_buffer
from relay._frames import Event, Frames, MessageTooBig, Ping, ProtocolViolation, Quiet
from tests.peers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Role, close_payload, frame, unframe
from tests.wire.wsproto_frames import WsprotoFrames

MESSAGE_BYTES, FRAGMENTS = 300, 5
MANY = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
A_HEAD = bytes(14)

roles = st.sampled_from(["server", "client"])
payloads = st.binary(max_size=140) | st.text(max_size=40).map(str.encode) | st.sampled_from([b"\xce", b"\xed\xa0"])
lengths = st.none() | st.none() | st.sampled_from([0, 125, 126, 127, 300, 301, 65_535, 65_536, 1 << 40, (1 << 64) - 1])
closes = st.builds(close_payload, st.integers(0, 5000), st.binary(max_size=20) | st.text(max_size=20).map(str.encode))


@functools.cache
def fair(role: Role) -> st.SearchStrategy[bytes]:
    """Frames that a peer may send, in any order."""
    mask = st.just(b"\x37\xfa\x21\x3d") if role == "server" else st.none()
    data = st.sampled_from([CONTINUATION, CONTINUATION, TEXT, BINARY])
    return (
        st.builds(frame, data, payloads, fin=st.booleans(), mask=mask)
        | st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=125), mask=mask)
        | st.builds(frame, st.just(CLOSE), st.just(b"") | closes, mask=mask)
    )


foul = st.builds(
    frame,
    st.integers(0, 15),
    payloads,
    fin=st.booleans(),
    rsv=st.sampled_from([0, 0, 0, 1, 4]),
    mask=st.none() | st.binary(min_size=4, max_size=4),
    length=lengths,
)


@functools.cache  # a strategy that is made anew for each example is looked through for each again
def streams(role: Role) -> st.SearchStrategy[bytes]:
    """Anything, and much that is nearly right."""
    good = st.lists(fair(role), max_size=10).map(b"".join)
    return good | st.tuples(good, foul | st.binary(max_size=30), good).map(b"".join)


class Receiver(Protocol):
    def feed(self, data: bytes) -> None: ...
    def next_event(self) -> Event | None: ...
    def skip_messages(self) -> bool: ...


class Listener:
    """What a receiver made of a stream: events without those that say nothing, and the close code of its refusal."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.events: list[Event] = []
        self.refusal: int | None = None

    def hear(self, data: bytes) -> None:
        self.receiver.feed(data)
        try:
            while (event := self.receiver.next_event()) is not None:
                if event is not Quiet.QUIET:
                    self.events.append(event)
        except (ProtocolViolation, MessageTooBig) as error:
            self.refusal = error.close_code


def listeners(role: Role) -> tuple[Listener, Listener]:
    ours = Frames(role=role, message_bytes=MESSAGE_BYTES, fragments=FRAGMENTS)
    return Listener(ours), Listener(WsprotoFrames(role=role, message_bytes=MESSAGE_BYTES, fragments=FRAGMENTS))


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    """The stream, cut at these places."""
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


@settings(MANY)
@given(st.data(), roles)
def test_the_same_events_and_the_same_verdict_as_wsproto(data: st.DataObject, role: Role) -> None:
    stream = data.draw(streams(role))
    cuts = data.draw(st.just([]) | st.just(list(range(len(stream)))) | st.lists(st.integers(0, 400)))
    ours, theirs = listeners(role)
    for chunk in chunks(stream, cuts):
        ours.hear(chunk)
        theirs.hear(chunk)
    if ours.refusal is not None and theirs.refusal is None:
        theirs.hear(A_HEAD)
    assert (ours.events, ours.refusal) == (theirs.events, theirs.refusal)


@settings(MANY)
@given(st.data(), roles)
def test_what_is_skipped_is_skipped_alike(data: st.DataObject, role: Role) -> None:
    before, after = data.draw(streams(role)), data.draw(streams(role))
    ours, theirs = listeners(role)
    for listener in (ours, theirs):
        listener.hear(before)
    if (ours.refusal is None) != (theirs.refusal is None):
        return  # inside a head: covered above, and from here on the two would read different streams
    assert ours.receiver.skip_messages() == theirs.receiver.skip_messages()
    for listener in (ours, theirs):
        listener.refusal = None
        listener.hear(after)
    if ours.refusal is not None and theirs.refusal is None:
        theirs.hear(A_HEAD)
    assert (ours.events, ours.refusal) == (theirs.events, theirs.refusal)


sizes = st.integers(0, 200) | st.sampled_from([4_081, 4_082, 4_083, 65_535, 65_536, 70_000])
messages = st.text(max_size=200) | st.builds(lambda size: bytes(i % 253 for i in range(size)), sizes)


@settings(MANY, max_examples=200)
@given(messages)
def test_a_server_s_frame_is_wsproto_s_byte_for_byte(message: str | bytes) -> None:
    ours = Frames(role="server", message_bytes=1, fragments=1)
    assert ours.encode(message) == FrameProtocol(client=False, extensions=[]).send_data(message)


@settings(MANY, max_examples=200)
@given(messages)
def test_a_client_s_frame_is_wsproto_s_under_another_mask(message: str | bytes) -> None:
    ours = Frames(role="client", message_bytes=1, fragments=1).encode(message)
    theirs = bytes(FrameProtocol(client=True, extensions=[]).send_data(message))
    assert len(ours) == len(theirs)
    assert unframe(ours, masked=True) == unframe(theirs, masked=True)


@settings(MANY, max_examples=200)
@given(st.integers(0, 5000), st.text(max_size=200), st.binary(max_size=125))
def test_control_frames_say_what_they_should(code: int, reason: str, payload: bytes) -> None:
    ours = Frames(role="server", message_bytes=1, fragments=1)
    theirs = Listener(WsprotoFrames(role="client", message_bytes=1, fragments=1))
    theirs.hear(ours.ping() + ours.pong(payload) + ours.close(code, reason))
    assert theirs.refusal is None
    assert theirs.events[0] == Ping(b"")
    assert len(theirs.events) == 2


def test_no_two_frames_of_a_client_share_a_mask() -> None:
    frames = Frames(role="client", message_bytes=1, fragments=1)
    other = Frames(role="client", message_bytes=1, fragments=1)
    masks = [side.encode(b"")[2:6] for side in (frames, other) for _ in range(1_000)]
    assert len(set(masks)) > 1_990  # chance repeats one in 2 ** 32


def test_connections_share_what_c_writes_to_and_keep_what_they_got() -> None:
    sides = [Frames(role="server", message_bytes=100, fragments=1) for _ in range(2)]
    texts = [f"the words of connection {number}" for number in range(2)]
    for side, text in zip(sides, texts, strict=True):
        side.feed(frame(TEXT, text.encode(), mask=b"mask"))
    assert [side.next_event() for side in sides] == texts
    assert sides[0]._out is sides[1]._out


def test_memory_follows_neither_what_is_announced_nor_what_is_over() -> None:
    big, announced = frame(BINARY, bytes(1_000_000)), frame(BINARY, b"x", length=1 << 40)
    frames = Frames(role="client", message_bytes=1 << 40, fragments=1)
    listener = Listener(frames)
    tracemalloc.start()
    try:
        listener.hear(big)
        listener.events.clear()
        listener.hear(announced)
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert listener.refusal is None
    assert held_bytes < 20_000
    assert frames._out is shared_buffer()  # what cffi allocates is not traced
