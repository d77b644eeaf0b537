"""The file that an environment's memory is written to, and restored from: without a name, and of a size that is given.

The runtime writes it itself (`runtimes/guest/python/lambent_image.py`), so nothing in it is believed: it is read here only
for whether there is a whole image, and why not. Once the runtime's cage is gone it is sealed, and nobody can change it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import Final

import attrs
import msgspec

from lambent.model.limits import MIB

MAGIC: Final = b"lambent image 1\n"
TRAILER: Final = struct.Struct("<16sQQ")  # at the file's beginning: magic, offset and length of the description
DESCRIPTION_MAX_BYTES: Final = MIB
REASON_MAX_LENGTH: Final = 300
_BLOCK_BYTES: Final = 512  # of st_blocks


class Unfit(Exception):
    """There is no image that could be restored; the text says why, for the function's owner."""


class _Description(msgspec.Struct):
    """What the runtime says of it; everything else in it is for the runtime."""

    unfit: str | None = None


def new_image(limit_bytes: int) -> int:
    """A descriptor of an empty file that can never become longer, so that a runtime cannot fill the machine with it."""
    descriptor = os.memfd_create("lambent-image", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, limit_bytes)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
    return descriptor


def seal(descriptor: int) -> None:
    """From now on nobody can change it; its runtime must be gone. Raises Unfit when there is no whole image, OSError."""
    magic, start, length = TRAILER.unpack(os.pread(descriptor, TRAILER.size, 0))
    size = os.fstat(descriptor).st_size
    if magic != MAGIC or length > DESCRIPTION_MAX_BYTES or not TRAILER.size <= start <= size - length:
        raise Unfit("the runtime ended without an image of it")
    # What is beyond its end, or can be opened for writing, could be filled by an environment, and would outlive it.
    os.ftruncate(descriptor, start + length)
    os.fchmod(descriptor, 0o400)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    try:
        description = msgspec.json.decode(os.pread(descriptor, length, start), type=_Description)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unfit("the runtime wrote no image that could be read") from None
    if description.unfit is not None:
        raise Unfit("".join(c if c.isprintable() else "?" for c in description.unfit[:REASON_MAX_LENGTH]))


@attrs.define(eq=False)
class Template:
    """A sealed image, and when it was last used."""

    descriptor: int
    used_at: float  # monotonic seconds

    @property
    def size_bytes(self) -> int:
        """What it takes of the machine's memory."""
        return os.fstat(self.descriptor).st_blocks * _BLOCK_BYTES

    def open(self) -> int:
        """A descriptor of its own for one environment, to read only. Raises OSError, also when it was closed meanwhile."""
        if self.descriptor < 0:  # the number may be another version's image by now
            raise OSError(errno.EBADF, "the image was dropped")
        return os.open(f"/proc/self/fd/{self.descriptor}", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Environments that were restored from it keep what they have mapped."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
