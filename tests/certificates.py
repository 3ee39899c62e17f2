"""Certificates for tests: an authority that exists for one test, and files of what it signed.

certificate = Certificate.issue(folder)                   # for 127.0.0.1 and localhost
with relay_process(certificate=certificate) as relay: ...
"""

from __future__ import annotations

import base64
import hashlib
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HOSTS = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key on disk, and the authority behind it."""

    authority: trustme.CA
    certificate_file: Path
    key_file: Path
    authority_file: Path

    @classmethod
    def issue(
        cls, folder: Path, *hosts: str, authority: trustme.CA | None = None, not_after: datetime | None = None
    ) -> Certificate:
        """Sign a certificate for `hosts` and write it down, over one that lies there already."""
        authority = authority or trustme.CA()
        leaf = authority.issue_cert(*(hosts or HOSTS), not_after=not_after)
        made = cls(authority, folder / "certificate.pem", folder / "key.pem", folder / "authority.pem")
        made.certificate_file.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        made.authority_file.write_bytes(authority.cert_pem.bytes())
        made.key_file.write_bytes(leaf.private_key_pem.bytes())
        return made

    @property
    def flags(self) -> tuple[str, ...]:
        """What makes `relay serve` use it."""
        return ("--tls-certificate-file", str(self.certificate_file), "--tls-key-file", str(self.key_file))

    @property
    def key_hash(self) -> str:
        """SHA-256 of the public key, by which Chromium can be told to trust it."""
        key = x509.load_pem_x509_certificate(self.certificate_file.read_bytes()).public_key()
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(der).digest()).decode()

    def trust(self) -> ssl.SSLContext:
        """Give a client's context that trusts the authority, and nobody else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        return context
