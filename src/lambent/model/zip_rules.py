"""What may stand in a deployment package: names, links, kinds of entries, sizes. Decisions only; `store/` unpacks.

Archives come from strangers. Every path is taken apart here, and what could leave the directory, or be something
other than a file, a directory or a link inside, is refused with AWS's own words.
"""

from __future__ import annotations

import enum
import stat
from typing import Final

from lambent.model.errors import AwsError, invalid_parameter
from lambent.model.limits import UNZIPPED_MAX_BYTES

ENTRIES_MAX: Final = 100_000  # files, directories and links; ours: AWS names no number, and each one costs an inode
NAME_MAX_BYTES: Final = 255  # one component, Linux
PATH_MAX_BYTES: Final = 2_048  # ours: below Linux's 4,096, which has to hold the data directory as well
LINK_TARGET_MAX_BYTES: Final = 1_024  # ours

UNIX: Final = 3  # "version made by": the upper half of the attributes is a Unix mode


class EntryKind(enum.Enum):
    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"


def unreadable() -> AwsError:
    """AWS's one answer to an archive that it cannot unzip, whatever the cause."""
    return invalid_parameter("Could not unzip uploaded file. Please check your file, then try to upload again.")


def empty() -> AwsError:
    return invalid_parameter("Uploaded file must be a non-empty zip")


def too_large() -> AwsError:
    return invalid_parameter(f"Unzipped size must be smaller than {UNZIPPED_MAX_BYTES} bytes")


def entry_parts(name: str) -> tuple[str, ...]:
    """The components of an entry's name; none for the archive's own root. Raises AwsError for a name that could escape.

    Backslashes stay: on Linux they are letters of a name, as on AWS.
    """
    if name.startswith("/") or "\0" in name:
        raise unreadable()
    parts = tuple(p for p in name.split("/") if p not in ("", "."))
    encoded = [_encoded(p) for p in parts]
    if ".." in parts or any(len(e) > NAME_MAX_BYTES for e in encoded):
        raise unreadable()
    if sum(len(e) + 1 for e in encoded) > PATH_MAX_BYTES:
        raise unreadable()
    return parts


def _encoded(part: str) -> bytes:
    try:
        return part.encode()
    except UnicodeEncodeError:
        raise unreadable() from None


def entry_kind(name: str, made_by: int, external_attributes: int) -> EntryKind:
    """Raises AwsError for devices, pipes and sockets."""
    kind = stat.S_IFMT(external_attributes >> 16) if made_by == UNIX else 0
    if kind == stat.S_IFLNK:
        return EntryKind.LINK
    if kind == stat.S_IFDIR or name.endswith("/"):
        return EntryKind.DIRECTORY
    if kind in (0, stat.S_IFREG):
        return EntryKind.FILE
    raise unreadable()


def is_executable(made_by: int, external_attributes: int) -> bool:
    return made_by == UNIX and bool((external_attributes >> 16) & 0o111)


def check_link(depth: int, target: str) -> None:
    """Raises AwsError for a link that could lead out of the archive's root; `depth` is that of the link's directory.

    Allowed is what begins with at most `depth` times `..` and then only names further down. A `..` after a name is
    refused even where it looks harmless: that name may be a link itself, and `..` would then leave from where it leads.
    """
    if not target or target.startswith("/") or "\0" in target or len(_encoded(target)) > LINK_TARGET_MAX_BYTES:
        raise unreadable()
    parts = [p for p in target.split("/") if p not in ("", ".")]
    up = 0
    while up < len(parts) and parts[up] == "..":
        up += 1
    if up > depth or ".." in parts[up:]:
        raise unreadable()
