"""Modules of static/ by themselves in a page, without a server, for the tests of those that only decide."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, Route

from tests.browser.chromium import STATIC

ORIGIN = "http://localhost:1"


class Modules:
    """Runs a JavaScript function with a module of static/ as its argument."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def run(self, module: str, function: str) -> Any:
        return self._page.evaluate(f"import('/static/{module}').then({function})")


def serve_modules(page: Page) -> Modules:
    """Open a page of nothing that can import every module of static/."""
    page.route(ORIGIN + "/**", _serve)
    page.goto(ORIGIN)
    return Modules(page)


def _serve(route: Route) -> None:
    path = route.request.url.removeprefix(ORIGIN + "/static/")
    if path.endswith(".js"):
        route.fulfill(path=STATIC / path, content_type="text/javascript")
    else:
        route.fulfill(body="<!doctype html><title>modules</title>", content_type="text/html")
