"""A turnstile: of all who come in the same moment, at most one goes through in a turn of the event loop.

What strangers can ask for at will, a handshake or an answer, costs a millisecond or two. Two hundred of them at once in
one turn of the loop would be a gap in everybody's audio; one after the other they are not, for the sessions have their
turns between. Who waits is served in the order of arrival.
"""

from __future__ import annotations

import trio


class Turnstile:
    """One for all connections of a process."""

    def __init__(self) -> None:
        self._lock = trio.Lock()

    async def turn(self) -> None:
        """Wait for one's turn: what is done next is done in a turn of the loop in which nobody else comes through."""
        async with self._lock:
            await trio.lowlevel.checkpoint()
