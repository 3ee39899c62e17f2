"""The page where a server needs tickets: it fetches one for each session, and says so when it cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Route

from tests.browser.chromium import VoicePage
from tests.processes import RelayProcess, relay_process
from tests.server.ticket_office import TICKETS, post, ticket

TICKET_URL = "/voice/ticket"
ENV = {**TICKETS, "RELAY_UPSTREAM": "simulator", "RELAY_TICKET_URL": TICKET_URL}


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with relay_process(env=ENV) as running:
        yield running


class BackEnd:
    """What the operator's proxy has at TICKET_URL. `methods` are those of the requests, `values` the tickets given."""

    def __init__(self, relay: RelayProcess) -> None:
        self.relay = relay
        self.methods: list[str] = []
        self.values: list[str] = []

    def answer(self, route: Route) -> None:
        self.methods.append(route.request.method)
        answer = post(self.relay, {"relay": {"user": "bob"}})
        self.values.append(answer.json["value"])
        route.fulfill(status=200, content_type="application/json", body=answer.body.decode())


def refusal(page: VoicePage) -> str:
    page.page.click("#start")
    page.page.wait_for_selector("#banner")
    return page.text("#banner .message")


def test_the_page_fetches_a_new_ticket_for_each_session_and_shows_it_to_nobody(page: VoicePage) -> None:
    with relay_process(env=ENV) as relay:
        back_end = BackEnd(relay)
        page.page.route(f"**{TICKET_URL}", back_end.answer)
        page.page.goto(relay.url)
        for _ in range(2):
            page.start()
            page.page.click("#stop")
            page.wait_for_state("idle")
        assert back_end.methods == ["POST", "POST"]
        assert len(set(back_end.values)) == 2
        for value in back_end.values:
            assert value not in json.dumps(page.requests)
            assert value not in str(page.page.content())
        assert page.errors == []


def test_a_session_that_follows_a_lost_one_has_a_ticket_of_its_own(page: VoicePage, relay: RelayProcess) -> None:
    back_end = BackEnd(relay)
    page.page.route(f"**{TICKET_URL}", back_end.answer)
    page.page.evaluate("Math.random = () => 0.02")
    page.start()
    page.spy("spy.sockets.at(-1).dispatchEvent(new CloseEvent('close', { code: 1006 }))")
    page.until(lambda: len(back_end.values) == 2, "a second ticket is fetched")
    page.wait_for_state("listening")
    assert len(set(back_end.values)) == 2


def test_a_page_without_a_ticket_url_says_what_is_missing_and_opens_no_connection(page: VoicePage) -> None:
    with relay_process(env={**TICKETS, "RELAY_UPSTREAM": "simulator"}) as relay:
        page.page.goto(relay.url)
        assert "ticket_url" in refusal(page)
        assert page.spy("spy.sockets.length") == 0


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, "{}", "not logged in"),
        (403, "{}", "not logged in"),
        (500, "{}", "gave no ticket"),
        (200, "<html>", "not a ticket"),
        (200, '{"value": "ek_a b"}', "not a ticket"),
        (200, '{"value": 7}', "not a ticket"),
    ],
)
def test_a_back_end_that_gives_no_ticket_is_explained(page: VoicePage, status: int, body: str, told: str) -> None:
    page.page.route(f"**{TICKET_URL}", lambda route: route.fulfill(status=status, body=body))
    assert told in refusal(page)
    assert page.spy("spy.sockets.length") == 0


def test_a_client_of_ones_own_takes_a_ticket_as_a_text(page: VoicePage, relay: RelayProcess) -> None:
    page.page.evaluate(
        """async (ticket) => {
            const { RelayClient } = await import("/static/relay-client.js");
            const client = new RelayClient({ ticket });
            await client.start();
            client.stop();
        }""",
        ticket(relay),
    )


def test_a_ticket_that_does_not_fit_is_not_quoted_in_the_error(page: VoicePage) -> None:
    told = page.page.evaluate(
        """async () => {
            const { RelayClient } = await import("/static/relay-client.js");
            const client = new RelayClient({ ticket: async () => "ek_canary\\n" });
            return client.start().then(() => "started", (error) => `${error.code} ${error.message}`);
        }"""
    )
    assert told.startswith("ticket_failed ")
    assert "canary" not in told
