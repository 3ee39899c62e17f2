"""The operator's tools: a JSON file as the API takes it, checked at start, with credentials from the environment.

    [{"type": "function", "name": "look_up", "description": "…", "parameters": {"type": "object", …}},
     {"type": "mcp", "server_label": "crm", "server_url": "https://…", "authorization": "${CRM_TOKEN}"}]

Rules: `${NAME}` is filled in within an MCP server's `authorization` and `headers` and nowhere else, so that no secret
has to lie in the file; what is filled in is a Secret, and `authorization` is filled in or refused. Every refusal names
the place in the file, and none repeats what stands there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from relay.config import Secret, Tools
from relay.core.shapes import MAX_TOOLS, FunctionTool, McpTool

FILE_LIMIT_BYTES = 262_144
"""128 tools of 2 KiB; a session's settings travel in one message."""

MIN_SECRET_CHARS = 8
"""A shorter one would be found, and masked, where it only looks the same."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PLACE = re.compile(r" - at `(?:key` in `)?\$(?P<place>[^`]*)`$")
_decoder = msgspec.json.Decoder(list[FunctionTool | McpTool])


def read_tools(text: str, environ: Mapping[str, str]) -> Tools:
    """Read the file's text. Raises ValueError, which names the place."""
    try:
        tools = _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise ValueError(_explained(str(error))) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    if len(tools) > MAX_TOOLS:
        raise ValueError(f"has {len(tools)} tools; {MAX_TOOLS} is the most that a session takes")
    _check_names(tools)
    secrets: list[Secret] = []
    filled = [_filled(tool, index, environ, secrets) for index, tool in enumerate(tools)]
    return Tools([msgspec.to_builtins(tool) for tool in filled], secrets)


def _explained(problem: str) -> str:
    place = _PLACE.search(problem)
    return f"tools{place['place'] if place else ''}: {_PLACE.sub('', problem)[:200]}"


def _check_names(tools: list[FunctionTool | McpTool]) -> None:
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        name = tool.name if isinstance(tool, FunctionTool) else tool.server_label
        if name in seen:
            raise ValueError(f"tools[{index}]: this name is taken by another tool")
        seen.add(name)
        if isinstance(tool, McpTool) and not (tool.server_url or tool.connector_id or tool.tunnel_id):
            raise ValueError(f"tools[{index}]: needs server_url, connector_id or tunnel_id")


def _filled(
    tool: FunctionTool | McpTool, index: int, environ: Mapping[str, str], secrets: list[Secret]
) -> FunctionTool | McpTool:
    """Return the tool with its credentials; add them to `secrets`."""
    if isinstance(tool, FunctionTool):
        return tool
    place = f"tools[{index}].authorization"
    if tool.authorization is not None and not _VARIABLE.search(tool.authorization):
        raise ValueError(f"{place}: secrets come from the environment; write ${{NAME}} and set NAME")
    texts = {place: tool.authorization or ""} | {
        f"tools[{index}].headers.{name}": value for name, value in (tool.headers or {}).items()
    }
    values = {where: _with_variables(text, where, environ, secrets) for where, text in texts.items()}
    authorization = values.pop(place) or None
    headers = dict(zip(tool.headers or {}, values.values(), strict=True)) or None
    return msgspec.structs.replace(tool, authorization=authorization, headers=headers)


def _with_variables(text: str, place: str, environ: Mapping[str, str], secrets: list[Secret]) -> str:
    def value(found: re.Match[str]) -> str:
        secret = environ.get(found[1], "").strip()
        if not secret:
            raise ValueError(f"{place}: the environment has no {found[1]}")
        if not MIN_SECRET_CHARS <= len(secret) <= 4096 or not all("!" <= character <= "~" for character in secret):
            expected = f"expected {MIN_SECRET_CHARS} letters, digits and signs or more, without spaces"
            raise ValueError(f"{place}: {found[1]} is not a secret ({expected})")
        secrets.append(Secret(secret))
        return secret

    return _VARIABLE.sub(value, text)


def names(tools: Tools) -> Iterator[str]:
    """Yield the names of the functions."""
    return (tool["name"] for tool in tools.reveal() if tool["type"] == "function")
