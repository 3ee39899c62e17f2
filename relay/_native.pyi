"""The binding that cffi generates from native/binding/cdef.txt. Untyped inside; relay/audio.py is its only user."""

from typing import Any

ffi: Any
lib: Any
