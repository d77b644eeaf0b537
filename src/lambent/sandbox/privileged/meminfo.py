"""What the kernel says of the machine's memory."""

from __future__ import annotations

import os

_MAX_BYTES = 16 * 1024


def read_small(path: str) -> bytes:
    """A file of the kernel's, without the system calls and buffers of a file object. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)


def available_mib(path: str = "/proc/meminfo") -> float:
    """What can be taken before the machine swaps. Raises OSError."""
    _, found, rest = read_small(path).partition(b"MemAvailable:")
    if not found:
        raise OSError(f"{path} does not say how much memory is available")
    return int(rest.split(None, 1)[0]) / 1024
