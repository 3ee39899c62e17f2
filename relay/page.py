"""The page: static files, read once at start and served from memory.

Rules: what is served cannot depend on a path from outside. The page learns what it must know of the server from two
attributes of its root element, for its policy allows no inline script.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from quart import Response, request

from relay.config import Config

INDEX = "index.html"

_TOLD = b'data-tickets="off" data-ticket-url=""'
_MIMETYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
"""Said here and not left to the machine's table: a browser does not load a module of another type."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file of the page, in memory."""

    content: bytes
    mimetype: str
    etag: str


def load_page(config: Config) -> dict[str, StaticFile]:
    """Read every file of the page; keys are relative paths with forward slashes."""
    folder = static_folder()
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".py")
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    contents[INDEX] = _told(contents[INDEX], config)
    return {name: _static_file(name, content) for name, content in contents.items()}


def static_folder() -> Path:
    """Return where the page lies: in the package when installed, beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "static"
    return inside if inside.is_dir() else package.parent / "static"


def serve_file(files: Mapping[str, StaticFile], name: str) -> Response:
    """Answer the current request with a file, or with 404, or with 304 if the browser has it."""
    file = files.get(name)
    if file is None:
        return Response("not found\n", 404, mimetype="text/plain")
    response = Response(file.content, mimetype=file.mimetype)
    response.set_etag(file.etag)
    response.headers["Cache-Control"] = "no-cache"
    if file.etag in request.if_none_match:
        response = Response(b"", 304, headers={"ETag": f'"{file.etag}"', "Cache-Control": "no-cache"})
    return response


def _told(index: bytes, config: Config) -> bytes:
    """Write into the page whether it needs tickets, and whence: a path of letters that need no escape (config.py)."""
    if index.count(_TOLD) != 1:
        raise ValueError(f"{INDEX} has no place for what the server tells it")
    tickets = "required" if config.needs_tickets else "off"
    return index.replace(_TOLD, f'data-tickets="{tickets}" data-ticket-url="{config.ticket_url}"'.encode())


def _static_file(name: str, content: bytes) -> StaticFile:
    mimetype = _MIMETYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return StaticFile(content, mimetype, sha256(content).hexdigest()[:32])
