"""What can go wrong, by whose fault it is.

Every leaf carries what the browser is told: a public `code`, a `close_code` for the WebSocket, and a public text that
says what to do next. What it must not be told (keys, prompts, addresses) goes into `detail`, which only the log sees.

    RelayError
      BrowserError            the browser, or whoever speaks in its place
        BadRequest            one message was wrong; the session goes on
        StartError            the session could not start: the first message was wrong, or late
        BrowserProtocolError  the bytes were not WebSocket, or broke one of its rules
          BrowserBadText      a text message was not UTF-8
        BrowserTooBig         a message over the limit
        BrowserSilent         no pong, or our bytes were not read
        BrowserGone           the socket ended; nobody is left to tell
        OriginRefused         a page of another origin
        TicketRefused         no ticket, or one that does not hold
          TicketElsewhere     a ticket of ours, for another profile or model
        AddressLimit          too many sessions from one address
      UpstreamError           the Realtime API, or the way to it
        UpstreamUnreachable   no connection, no TLS, no handshake
          UpstreamUntrusted   its certificate: of an unknown authority, out of date, or for another host
        UpstreamRefused       an HTTP answer other than 101
        UpstreamUnauthorized  the key was refused, before or after the handshake
        UpstreamNoToken       the command that gives relay its token failed
        UpstreamTimeout       it stopped answering
        UpstreamProtocolError it sent what the protocol does not allow
        UpstreamClosed        it ended the session
        UpstreamExpired       the session reached the API's maximum age
        UpstreamCoolingDown   it failed a moment ago; relay waits before it tries again
      LimitReached            nobody's fault: the operator allows a session so much and no more
        TimeLimit             the session's length
        IdleLimit             nobody spoke for so long
        AudioInLimit          audio from the microphone
        AudioOutLimit         audio of answers
        TokenLimit            tokens
        MoneyLimit            money, or nobody knows how much
        DayLimit              money that all sessions of a day may cost together
      LocalError              relay, or the person who runs it
        ConfigError           a setting is wrong; the command ends with exit code 2
        Overloaded            no room for another session
        ShuttingDown          relay is being stopped
        InternalError         a bug

Close codes: 1xxx where RFC 6455 has a fitting one, else 44xx for the browser's fault and 45xx for the upstream's, after
the HTTP status of the same meaning; 46xx are the operator's limits, numbered in their order above.
"""

from __future__ import annotations

from typing import ClassVar, Literal

CertificateFault = Literal["unknown authority", "expired", "not valid yet", "wrong host", "invalid"]
"""What is wrong with an upstream's certificate."""


class RelayError(Exception):
    """Base of the tree; raise a leaf. `public` is shown to people, `detail` only to the log."""

    code: ClassVar[str]
    close_code: ClassVar[int]
    kind: ClassVar[str] = "server_error"
    default_public: ClassVar[str]

    def __init__(
        self,
        public: str | None = None,
        *,
        detail: str = "",
        param: str | None = None,
        event_id: str | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        if not hasattr(type(self), "code"):
            raise TypeError(f"{type(self).__name__} says whose fault it is, not what: raise one of its leaves")
        self.public = public or self.default_public
        self.detail = detail
        self.param = param
        self.event_id = event_id
        self.retry_after_ms = retry_after_ms
        super().__init__(self.public)


def let_go(error: BaseException) -> None:
    """Forget where an error was raised, and what led to it.

    A traceback holds the frames it came through, and with them everything that was at work there. Whoever keeps an
    error would keep all of that in a circle, for the garbage collector to find much later.
    """
    led_to: BaseException | None = error
    while led_to is not None:
        led_to.__traceback__ = None
        led_to = led_to.__cause__ or led_to.__context__


class BrowserError(RelayError):
    """The browser's fault."""

    kind = "invalid_request_error"


class BadRequest(BrowserError):
    """One message was wrong. Its sender is told, the message is dropped, the session goes on."""

    code = "relay_bad_request"
    close_code = 4400
    default_public = "That message could not be understood and was ignored."

    def __init__(
        self,
        public: str,
        *,
        code: str = "relay_bad_request",
        param: str | None = None,
        event_id: str | None = None,
    ) -> None:
        super().__init__(public, param=param, event_id=event_id)
        self.request_code = code


class StartError(BrowserError):
    code = "relay_start_failed"
    close_code = 4400
    default_public = "The first message must be relay.start, with the audio format (see docs/wire.md)."


class BrowserProtocolError(BrowserError):
    code = "relay_protocol_error"
    close_code = 1002
    default_public = "What arrived is not valid WebSocket traffic."


class BrowserBadText(BrowserProtocolError):
    close_code = 1007
    default_public = "A text message was not valid UTF-8."


class BrowserTooBig(BrowserError):
    code = "relay_message_too_big"
    close_code = 1009
    default_public = "A message was larger than relay accepts; send audio in smaller frames (20 ms is usual)."


class BrowserSilent(BrowserError):
    code = "relay_client_timeout"
    close_code = 4408
    default_public = "The connection to the browser stopped answering."


class BrowserGone(BrowserError):
    code = "relay_client_gone"
    close_code = 1000
    default_public = "The browser ended the session."


class OriginRefused(BrowserError):
    code = "relay_origin_refused"
    close_code = 4403
    default_public = "This page may not connect here; the operator allows origins with --allow-origin."


class TicketRefused(BrowserError):
    """`detail` says why; the client learns only that it needs another one."""

    code = "relay_ticket_refused"
    close_code = 4401
    default_public = (
        "A session needs a ticket that is new and unused (docs/tickets.md). Get another one, then try again."
    )


class TicketElsewhere(TicketRefused):
    """Whoever holds it was let in by the operator, so it is told what is wrong."""

    code = "relay_ticket_elsewhere"
    close_code = 4403
    default_public = (
        "This ticket was made by a server with another profile or model. Get one from this server, or show it there."
    )


class AddressLimit(BrowserError):
    code = "relay_address_limit"
    close_code = 4429
    default_public = "Too many voice sessions from this address. End one of them, then try again."


class UpstreamError(RelayError):
    """The upstream's fault. Each of these feeds the cool-down that all sessions share."""


class UpstreamUnreachable(UpstreamError):
    code = "relay_upstream_unreachable"
    close_code = 4502
    default_public = "The voice service cannot be reached. Try again in a moment."


class UpstreamUntrusted(UpstreamUnreachable):
    default_public = "The voice service could not prove who it is. Whoever runs this server finds out why in its log."

    def __init__(self, fault: CertificateFault, *, detail: str) -> None:
        super().__init__(detail=detail)
        self.fault = fault


class UpstreamRefused(UpstreamError):
    code = "relay_upstream_refused"
    close_code = 4502
    default_public = "The voice service refused the connection. Try again in a moment."


class UpstreamUnauthorized(UpstreamError):
    code = "relay_upstream_unauthorized"
    close_code = 4501
    default_public = (
        "The voice service did not accept relay's credentials. Whoever runs this server must check its key."
    )


class UpstreamNoToken(UpstreamError):
    code = "relay_upstream_no_token"
    close_code = 4501
    default_public = (
        "This server could not get its token for the voice service. Whoever runs it finds the reason in its log."
    )


class UpstreamTimeout(UpstreamError):
    code = "relay_upstream_timeout"
    close_code = 4504
    default_public = "The voice service stopped answering. Try again in a moment."


class UpstreamProtocolError(UpstreamError):
    code = "relay_upstream_protocol_error"
    close_code = 4502
    default_public = "The voice service sent something that relay cannot read. Try again in a moment."


class UpstreamClosed(UpstreamError):
    code = "relay_upstream_closed"
    close_code = 4502
    default_public = "The voice service ended the session. Start again to go on."


class UpstreamExpired(UpstreamError):
    code = "relay_session_expired"
    close_code = 4410
    default_public = "The session reached the voice service's time limit. Start again to go on."


class UpstreamCoolingDown(UpstreamError):
    code = "relay_cooling_down"
    close_code = 4503
    default_public = "The voice service failed a moment ago. Try again when the countdown ends."


class LimitReached(RelayError):
    """The operator's limit: nothing went wrong, and trying again at once is allowed unless the text says otherwise."""


class TimeLimit(LimitReached):
    code = "relay_time_limit"
    close_code = 4601
    default_public = "This session has reached the length that this server allows. Start again to go on."


class IdleLimit(LimitReached):
    code = "relay_idle_limit"
    close_code = 4602
    default_public = "Nobody spoke for a while, so the session has ended. Start again to go on."


class AudioInLimit(LimitReached):
    code = "relay_audio_in_limit"
    close_code = 4603
    default_public = "This session has listened for as long as this server allows. Start again to go on."


class AudioOutLimit(LimitReached):
    code = "relay_audio_out_limit"
    close_code = 4604
    default_public = "This session has spoken for as long as this server allows. Start again to go on."


class TokenLimit(LimitReached):
    code = "relay_token_limit"
    close_code = 4605
    default_public = "This session has used as much as this server allows. Start again to go on."


class MoneyLimit(LimitReached):
    code = "relay_money_limit"
    close_code = 4606
    default_public = "This session has cost as much as this server allows. Start again to go on."


class DayLimit(LimitReached):
    code = "relay_day_limit"
    close_code = 4607
    default_public = "This server has spent what it may spend today. Try again tomorrow; its day begins at 0:00 UTC."


class LocalError(RelayError):
    """relay's own fault, or its operator's."""


class ConfigError(LocalError):
    """A setting is wrong. `public` is one line that names the setting and says what would be right."""

    code = "relay_bad_configuration"
    close_code = 1011
    default_public = "relay is not configured correctly."


class Overloaded(LocalError):
    code = "relay_overloaded"
    close_code = 1013
    default_public = "All voice sessions are in use. Try again in a moment."


class ShuttingDown(LocalError):
    code = "relay_shutting_down"
    close_code = 1012
    default_public = "The server is restarting. Connect again in a moment."


class InternalError(LocalError):
    code = "relay_internal_error"
    close_code = 1011
    default_public = "Something went wrong inside relay. The session has ended; start again to go on."
