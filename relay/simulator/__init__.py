"""A Realtime API in a box: the GA dialect over WebSocket, without network, cost or chance.

It is as strict as the real one and has no intelligence: a parrot answers speech with the same speech, and typed text is
read aloud. Protocol and time are sans-IO (session.py and what it imports); Trio is known to server.py, connection.py
and sabotage.py alone. It shares no code with the rest of relay but its log, so that a mistake on one side is found by
the other.

Where to look: what is accepted - schema.py; what can go wrong on purpose - faults.py; what it answers - answers.py;
what it takes for speech - turns.py; the services that it can play, and what is different about each - faces.py.

There is one machine, and it speaks GA. Another dialect is spoken by an edge around it (edge.py), so a service costs its
differences and no more.
"""

from __future__ import annotations

from relay.simulator.server import SimulatorOptions, serve_simulator

__all__ = ["SimulatorOptions", "serve_simulator"]
