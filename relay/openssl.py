"""Python's OpenSSL, lent to C: a frame of audio is encrypted and decrypted without a step of Python (native/openssl.c).

A connection stays Python's, which shakes hands, verifies, and reads and writes whatever is no audio. If C cannot find
the library (it may be linked into Python, without its names), Python does everything.
"""

from __future__ import annotations

import _ssl
import os
import ssl
from collections.abc import Callable
from functools import cache
from typing import Any

from relay._native import ffi, lib
from relay.log import get_logger

log = get_logger(__name__)


def lent(make: Callable[[], ssl.SSLObject]) -> tuple[ssl.SSLObject, Any]:
    """Make a connection; return it with its `SSL *`, good as long as it lives, or NULL if C cannot have it."""
    if not _is_found():
        return make(), ffi.NULL
    lib.relay_openssl_newest()  # somebody else's
    connection = make()
    return connection, lib.relay_openssl_newest()


@cache
def _is_found() -> bool:
    """Other libraries than OpenSSL have some of its names, and may mean something else by them."""
    file = getattr(_ssl, "__file__", None)
    path = os.fsencode(file) if file else ffi.NULL
    is_found = ssl.OPENSSL_VERSION.startswith("OpenSSL ") and lib.relay_openssl_load(path) == 0
    if not is_found:
        log.info("openssl.not_found", library=ssl.OPENSSL_VERSION, problem="a frame of audio costs more with TLS")
    return bool(is_found)
