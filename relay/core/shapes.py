"""The objects inside client events, each with the types that the API gives its fields: session, response, item, tool.

Rules: a shape knows every field, and one that it does not know is refused; what becomes of a refusal is the policy's
affair. UNSET stands where null means something of its own: an update that says nothing of `turn_detection` leaves it
alone, one that says null turns it off. Names, models and levels are texts and not lists of words: providers differ.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Id = Annotated[str, Meta(max_length=512)]
Word = Annotated[str, Meta(max_length=512)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Milliseconds = Annotated[int, Meta(ge=0, le=3_600_000)]
Tokens = Annotated[int, Meta(ge=1, le=2**53)] | Literal["inf"]
Modalities = Annotated[list[Literal["text", "audio"]], Meta(max_length=2)]
MetadataKey = Annotated[str, Meta(max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=512)]
Words = Annotated[list[Word], Meta(max_length=512)]

MAX_TOOLS = 128
"""More tools than this no session may have, by the API's own limit."""


class Shape(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An object that a client may write."""


# --- audio ------------------------------------------------------------------------------------------------------------
class Pcm(Shape, tag="audio/pcm"):
    """PCM16."""

    # The C contract's range, in figures: the command line reads this file, and starts without the C code.
    rate: Annotated[int, Meta(ge=8_000, le=192_000)] | None = None


class Pcmu(Shape, tag="audio/pcmu"):
    """G.711 mu-law, 8 kHz."""

    rate: Literal[8000] | None = None


class Pcma(Shape, tag="audio/pcma"):
    """G.711 A-law, 8 kHz."""

    rate: Literal[8000] | None = None


Format = Pcm | Pcmu | Pcma


class ServerVad(Shape, tag="server_vad"):
    """The upstream finds the end of a turn by silence."""

    threshold: float | None = None
    prefix_padding_ms: Milliseconds | None = None
    silence_duration_ms: Milliseconds | None = None
    idle_timeout_ms: Milliseconds | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class SemanticVad(Shape, tag="semantic_vad"):
    """The upstream finds the end of a turn by what was said."""

    eagerness: Literal["low", "medium", "high", "auto"] | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class Transcription(Shape):
    """How speech becomes captions."""

    model: Word | None = None
    language: Word | None = None
    languages: Words | None = None
    keywords: Words | None = None
    prompt: str | None = None
    delay: Word | None = None


class NoiseReduction(Shape):
    """What the upstream takes out of the microphone's sound."""

    type: Literal["near_field", "far_field"] | None = None
    strength: float | None = None


class AudioInput(Shape):
    """How the session hears."""

    format: Format | None = None
    noise_reduction: NoiseReduction | UnsetType | None = UNSET
    transcription: Transcription | UnsetType | None = UNSET
    turn_detection: ServerVad | SemanticVad | UnsetType | None = UNSET


class VoiceId(Shape):
    """A voice of the operator's account."""

    id: Id


class AudioOutput(Shape):
    """How the session speaks."""

    format: Format | None = None
    voice: Word | VoiceId | None = None
    speed: Annotated[float, Meta(ge=0.0, le=10.0)] | None = None


class Audio(Shape):
    """Both directions."""

    input: AudioInput | None = None
    output: AudioOutput | None = None


# --- tools ------------------------------------------------------------------------------------------------------------
class FunctionTool(Shape, tag="function"):
    """A tool that the client runs."""

    name: Annotated[str, Meta(min_length=1, max_length=512)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolFilter(Shape):
    """Some tools of an MCP server."""

    read_only: bool | None = None
    tool_names: Words | None = None


class Approval(Shape):
    """Which calls somebody has to approve."""

    always: ToolFilter | None = None
    never: ToolFilter | None = None


class McpTool(Shape, tag="mcp"):
    """An MCP server that the upstream calls by itself."""

    server_label: Annotated[str, Meta(min_length=1, max_length=512)]
    server_url: str | None = None
    connector_id: Word | None = None
    tunnel_id: Word | None = None
    server_description: str | None = None
    authorization: str | None = None
    headers: dict[str, str] | None = None
    allowed_tools: Words | ToolFilter | None = None
    require_approval: Literal["always", "never"] | Approval | None = None
    allowed_callers: Words | None = None
    defer_loading: bool | None = None


class ChosenFunction(Shape, tag="function"):
    """The one function to call."""

    name: Word


class ChosenServer(Shape, tag="mcp"):
    """The MCP server to call."""

    server_label: Word
    name: Word | None = None


Tool = FunctionTool | McpTool
Tools = Annotated[list[Tool], Meta(max_length=MAX_TOOLS)]
ToolChoice = Literal["none", "auto", "required"] | ChosenFunction | ChosenServer


# --- session and response ---------------------------------------------------------------------------------------------
class Reasoning(Shape):
    """How long the model may think."""

    effort: Word | None = None


class TokenLimits(Shape):
    """How much of a conversation is kept."""

    post_instructions: Count | None = None


class Retention(Shape, tag="retention_ratio"):
    """Forget in large steps."""

    retention_ratio: Annotated[float, Meta(ge=0.0, le=1.0)]
    token_limits: TokenLimits | None = None


class Prompt(Shape):
    """A prompt that is stored with the provider."""

    id: Id
    version: Word | None = None
    variables: dict[str, Any] | None = None


class Tracing(Shape):
    """Where the provider writes down what happened."""

    workflow_name: Word | None = None
    group_id: Word | None = None
    metadata: dict[str, Any] | None = None


class _Shared(Shape):
    """What a session has, and a response may have otherwise."""

    instructions: str | None = None
    max_output_tokens: Tokens | None = None
    output_modalities: Modalities | None = None
    parallel_tool_calls: bool | None = None
    prompt: Prompt | UnsetType | None = UNSET
    reasoning: Reasoning | UnsetType | None = UNSET
    tool_choice: ToolChoice | None = None
    tools: Tools | None = None


class Session(_Shared):
    """What a `session.update` may hold."""

    type: Literal["realtime", "transcription"] | None = None
    audio: Audio | None = None
    include: Words | UnsetType | None = UNSET
    model: Word | None = None
    tracing: Literal["auto"] | Tracing | UnsetType | None = UNSET
    truncation: Literal["auto", "disabled"] | Retention | None = None


class ResponseOutput(Shape):
    """How one response sounds."""

    format: Format | None = None
    voice: Word | VoiceId | None = None


class ResponseAudio(Shape):
    """A response only speaks."""

    output: ResponseOutput | None = None


# --- items ------------------------------------------------------------------------------------------------------------
class InputText(Shape, tag="input_text"):
    """Typed text."""

    text: str


class InputAudio(Shape, tag="input_audio"):
    """Recorded speech, base64 of the session's input format."""

    audio: str
    transcript: str | None = None


class InputImage(Shape, tag="input_image"):
    """A picture, as a data: URL."""

    image_url: str
    detail: Literal["auto", "low", "high"] | None = None


class OutputText(Shape, tag="output_text"):
    """What the assistant wrote, for a conversation that is told anew."""

    text: str


class OutputAudio(Shape, tag="output_audio"):
    """What the assistant said."""

    audio: str | None = None
    transcript: str | None = None


Content = InputText | InputAudio | InputImage | OutputText | OutputAudio


class Item(Shape, kw_only=True):
    """What all items have."""

    id: Annotated[str, Meta(min_length=1, max_length=32)] | None = None
    object: Literal["realtime.item"] | None = None
    status: Literal["completed", "incomplete", "in_progress"] | None = None


class Message(Item, tag="message"):
    """Something that was said or written."""

    role: Literal["user", "assistant", "system"]
    content: Annotated[list[Content], Meta(min_length=1, max_length=16)]


class FunctionCall(Item, tag="function_call"):
    """A call that the model made."""

    name: Word
    arguments: str
    call_id: Id | None = None


class FunctionOutput(Item, tag="function_call_output"):
    """What a tool of the client's returned."""

    call_id: Annotated[str, Meta(min_length=1, max_length=512)]
    output: str


class McpApproval(Item, tag="mcp_approval_response"):
    """Whether an MCP server may be called."""

    approval_request_id: Id
    approve: bool
    reason: str | None = None


class McpApprovalRequest(Item, tag="mcp_approval_request"):
    """The question before it."""

    server_label: Word
    name: Word
    arguments: str


class McpCall(Item, tag="mcp_call"):
    """A call of an MCP server."""

    server_label: Word
    name: Word
    arguments: str
    approval_request_id: Id | None = None
    output: str | None = None
    error: dict[str, Any] | None = None


class McpList(Item, tag="mcp_list_tools"):
    """What an MCP server offers."""

    server_label: Word
    tools: list[dict[str, Any]]


class Reference(Shape, tag="item_reference"):
    """An item of the conversation, by its id; only as input of a response."""

    id: Id


AnyItem = Message | FunctionCall | FunctionOutput | McpApproval | McpApprovalRequest | McpCall | McpList


class Response(_Shared):
    """What a `response.create` may hold."""

    audio: ResponseAudio | None = None
    conversation: Literal["auto", "none"] | None = None
    input: Annotated[list[AnyItem | Reference], Meta(max_length=128)] | UnsetType = UNSET
    metadata: Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)] | None = None
