"""A TLS client that asks for new keys (RFC 8446, 4.6.3), of which Python's `ssl` knows nothing."""

from __future__ import annotations

import ctypes
import socket


class KeyChanger:
    """OpenSSL itself, on a connected socket that blocks."""

    def __init__(self, connection: socket.socket) -> None:
        self._lib = ctypes.CDLL("libssl.so.3")
        for name, *arguments in (
            ("SSL_CTX_new", ctypes.c_void_p),
            ("SSL_new", ctypes.c_void_p),
            ("SSL_set_fd", ctypes.c_void_p, ctypes.c_int),
            ("SSL_connect", ctypes.c_void_p),
            ("SSL_key_update", ctypes.c_void_p, ctypes.c_int),
            ("SSL_do_handshake", ctypes.c_void_p),
            ("SSL_write", ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int),
        ):
            getattr(self._lib, name).argtypes = arguments
        for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
            getattr(self._lib, name).restype = ctypes.c_void_p
        self._ssl = self._lib.SSL_new(self._lib.SSL_CTX_new(self._lib.TLS_client_method()))
        self._lib.SSL_set_fd(self._ssl, connection.fileno())
        assert self._lib.SSL_connect(self._ssl) == 1

    def change(self) -> bool:
        """Ask for a new key, and say which our own is; return whether it could be written."""
        requested = 1
        return bool(self._lib.SSL_key_update(self._ssl, requested) == 1 and self._lib.SSL_do_handshake(self._ssl) == 1)

    def say(self, text: bytes) -> bool:
        """Return whether it could be written."""
        return bool(self._lib.SSL_write(self._ssl, text, len(text)) == len(text))
