"""Where sessions connect to, and what they say at the door: address, profile, credentials.

Rules: the key goes into one header and nowhere else. What is refused there is said to the credentials, because a token
may be withdrawn before it expires.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, quote

from relay.addresses import Address, parse_upstream
from relay.config import Config, Secret
from relay.credentials import Credentials, StaticKey, TokenCommand
from relay.profiles import Profile

Headers = list[tuple[str, str]]

BETA_HEADER = ("OpenAI-Beta", "realtime=v1")
USER_HEADER = "OpenAI-Safety-Identifier"


@dataclass(frozen=True, slots=True)
class Target:
    """One upstream; all sessions of a process share it but for `user`, a keyed hash of whom a session is for."""

    address: Address
    profile: Profile
    credentials: Credentials
    user: str = ""

    def headers(self, key: Secret | None) -> Headers:
        """Return what the handshake says beside the address."""
        more = [BETA_HEADER] if self.profile.dialect == "beta" else []
        if self.user and self.profile.takes_user:
            more.append((USER_HEADER, self.user))
        if key is None or self.profile.auth == "none":
            return more
        if self.profile.auth == "api-key":
            return [("api-key", key.reveal()), *more]
        return [("Authorization", f"Bearer {key.reveal()}"), *more]


def target_for(config: Config, url: str) -> Target:
    """Return the target for an upstream's URL, with the model in its query unless the URL names one."""
    address, profile = parse_upstream(url), config.upstream_profile
    if address.target == "/" and profile.path:
        address = address._replace(target=profile.path)
    if "model" not in parse_qs(address.target.partition("?")[2], keep_blank_values=True):
        joint = "&" if "?" in address.target else "?"
        address = address._replace(target=f"{address.target}{joint}model={quote(config.model, safe='')}")
    return Target(address, profile, _credentials(config, url))


def _credentials(config: Config, url: str) -> Credentials:
    if config.upstream_token_command and config.upstream_kind == "url":
        return TokenCommand(config.upstream_token_command)
    return StaticKey(config.key_for(url))
