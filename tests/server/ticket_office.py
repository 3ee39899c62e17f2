"""The operator's back end, as a program: asks a real relay for tickets."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple

from tests.processes import RelayProcess

TOKEN = "canary-server-token-0123456789abcdef"
SECRET = "canary-ticket-secret-0123456789abcdef"
USER = "canary-user@example.com"
TICKETS = {"RELAY_SERVER_TOKEN": TOKEN, "RELAY_TICKET_SECRET": SECRET}
CLIENT_SECRETS = "/v1/realtime/client_secrets"
KEY = "openai-insecure-api-key."


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def post(relay: RelayProcess, body: object = None, *, token: str | None = TOKEN, **headers: str) -> Answer:
    """Ask for a ticket."""
    data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    given = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {}), **headers}
    connection = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=10)
    try:
        connection.request("POST", CLIENT_SECRETS, data, given)
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def ticket(relay: RelayProcess, **grant: object) -> str:
    answer = post(relay, {"relay": {"uses": 1, **grant}})
    assert answer.status == 200, answer.body
    return str(answer.json["value"])
