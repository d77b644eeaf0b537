"""What the kernel says of the machine's memory."""

from __future__ import annotations


def available_mib(path: str = "/proc/meminfo") -> float:
    """What can be taken before the machine swaps. Raises OSError."""
    with open(path, "rb") as file:
        for line in file:
            if line.startswith(b"MemAvailable:"):
                return int(line.split()[1]) / 1024
    raise OSError(f"{path} does not say how much memory is available")
