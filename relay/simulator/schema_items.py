"""What an item of the conversation may be: the part of schema.py that needs nothing of the rest."""

from __future__ import annotations

from relay.simulator.checks import Check, anything, array, boolean, integer, one_of, record, tagged, text

ITEM_COMMON: dict[str, Check] = {
    "type": text(),
    "id": text(at_least=1),
    "object": one_of("realtime.item"),
    "status": one_of("completed", "incomplete", "in_progress"),
}
INPUT_TEXT = record({"type": text(), "text": text()}, ("type", "text"))
USER_CONTENT = tagged(
    "type",
    {
        "input_text": INPUT_TEXT,
        "input_audio": record({"type": text(), "audio": text(), "transcript": text()}, ("type", "audio")),
        "input_image": record(
            {"type": text(), "image_url": text(), "detail": one_of("auto", "low", "high")}, ("type", "image_url")
        ),
    },
)
ASSISTANT_CONTENT = tagged(
    "type",
    {
        "output_text": record({"type": text(), "text": text()}, ("type", "text")),
        "output_audio": record({"type": text(), "audio": text(), "transcript": text()}, ("type",)),
    },
)


def _message(content: Check) -> Check:
    return record(ITEM_COMMON | {"role": text(), "content": array(content)}, ("type", "role", "content"))


MESSAGE = tagged(
    "role",
    {
        "system": _message(tagged("type", {"input_text": INPUT_TEXT})),
        "user": _message(USER_CONTENT),
        "assistant": _message(ASSISTANT_CONTENT),
    },
)
MCP_COMMON: dict[str, Check] = {"type": text(), "id": text(at_least=1)}
MCP_TOOL = record(
    {"input_schema": anything, "name": text(), "annotations": anything, "description": text()}, ("input_schema", "name")
)
MCP_ERROR = tagged(
    "type",
    {
        "protocol_error": record({"type": text(), "code": integer(), "message": text()}, ("type", "code", "message")),
        "tool_execution_error": record({"type": text(), "message": text()}, ("type", "message")),
        "http_error": record({"type": text(), "code": integer(), "message": text()}, ("type", "code", "message")),
    },
)
ITEM_KINDS = {
    "message": MESSAGE,
    "function_call": record(
        ITEM_COMMON | {"name": text(), "arguments": text(), "call_id": text()}, ("type", "name", "arguments")
    ),
    "function_call_output": record(ITEM_COMMON | {"call_id": text(), "output": text()}, ("type", "call_id", "output")),
    "mcp_approval_request": record(
        MCP_COMMON | {"arguments": text(), "name": text(), "server_label": text()},
        ("type", "id", "arguments", "name", "server_label"),
    ),
    "mcp_approval_response": record(
        MCP_COMMON | {"approval_request_id": text(), "approve": boolean, "reason": text()},
        ("type", "id", "approval_request_id", "approve"),
    ),
    "mcp_call": record(
        MCP_COMMON
        | {
            "approval_request_id": text(),
            "arguments": text(),
            "error": MCP_ERROR,
            "name": text(),
            "output": text(),
            "server_label": text(),
        },
        ("type", "id", "arguments", "name", "server_label"),
    ),
    "mcp_list_tools": record(
        MCP_COMMON | {"server_label": text(), "tools": array(MCP_TOOL)}, ("type", "server_label", "tools")
    ),
}
ITEM = tagged("type", ITEM_KINDS)
RESPONSE_INPUT = tagged(
    "type", ITEM_KINDS | {"item_reference": record({"type": text(), "id": text(at_least=1)}, ("type", "id"))}
)
