"""What init left in /tmp: kept in the image, and put into the /tmp of each environment that is restored from it."""

import os
import stat

DIRECTORY = "/tmp"  # each environment has one to itself
MAX_BYTES = 64 << 20
MAX_ENTRIES = 5_000
_NOT_OURS = "lost+found"  # the file system's
_CHUNK_BYTES = 1 << 20


def survey():
    """Paths relative to /tmp, directories before what is in them, or a reason why they cannot be kept: (paths, reason)."""
    found, total = [], 0
    for parent, directories, files in os.walk(DIRECTORY):
        if parent == DIRECTORY and _NOT_OURS in directories:
            directories.remove(_NOT_OURS)
        for name in directories + files:
            path = os.path.join(parent, name)
            status = os.lstat(path)
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)):
                return [], f"the init code left {path}, which is no file, directory or link"
            total += status.st_size
            found.append(os.path.relpath(path, DIRECTORY))
    if total > MAX_BYTES or len(found) > MAX_ENTRIES:
        limits = f"{MAX_BYTES >> 20} MiB and {MAX_ENTRIES:,} files are kept"
        return [], f"the init code left {total >> 20} MiB in {len(found):,} files in {DIRECTORY}; at most {limits}"
    return found, None


def pack(paths, append):
    """A description of each; `append(chunk)` puts a part of a file into the image and gives its place."""
    packed = []
    for path in paths:
        full = os.path.join(DIRECTORY, path)
        status = os.lstat(full)
        entry = [path, status.st_mode, status.st_mtime_ns]
        if stat.S_ISLNK(status.st_mode):
            entry.append(os.readlink(full))
        elif stat.S_ISREG(status.st_mode):
            with open(full, "rb") as file:
                entry.append([[append(chunk), len(chunk)] for chunk in iter(lambda: file.read(_CHUNK_BYTES), b"")])
        packed.append(entry)
    return packed


def unpack(packed, image):
    """Raises OSError."""
    for path, mode, _, *content in packed:
        full = os.path.join(DIRECTORY, path)
        if stat.S_ISLNK(mode):
            os.symlink(content[0], full)
        elif stat.S_ISDIR(mode):
            os.mkdir(full)
        else:
            with open(full, "xb", buffering=0) as file:
                for start, length in content[0]:
                    _copy(image, start, length, file.fileno())
    for path, mode, changed_ns, *_ in reversed(packed):  # a directory after what is in it
        if not stat.S_ISLNK(mode):
            full = os.path.join(DIRECTORY, path)
            os.chmod(full, stat.S_IMODE(mode))
            os.utime(full, ns=(changed_ns, changed_ns))


def _copy(image, start, length, target):
    while length:
        sent = os.sendfile(target, image, start, length)
        if not sent:
            raise OSError("the image is incomplete")
        start, length = start + sent, length - sent
