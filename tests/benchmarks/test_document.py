"""docs/performance.md shows what was recorded, not what somebody remembers of it."""

from __future__ import annotations

from benchmarks.document import DOCUMENT, PLACE, filled


def test_the_tables_in_the_document_are_those_that_were_recorded() -> None:
    text = DOCUMENT.read_text()
    assert PLACE.search(text)
    assert text.count("<!-- results: ") == text.count("<!-- end -->") == len(PLACE.findall(text))
    assert filled(text) == text
