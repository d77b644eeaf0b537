"""Each environment's /tmp: a file system of exactly the asked size on an unlinked file.

A tmpfs would be charged to the function's memory; at AWS /tmp is a disk. The file has no name while it is used and the
loop device lets go of it by itself, so nothing that a function wrote outlives its mount, whatever happens to us.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile

from . import syscalls

_MIB = 1024 * 1024
_LOOP_CTL_GET_FREE, _LOOP_CONFIGURE = 0x4C82, 0x4C0A
_AUTOCLEAR = 4
_ATTEMPTS = 8  # another process may take the free device first
_INODES_PER_MIB = 32
_OVERHEAD_MIB = 2  # bitmaps, descriptors and the root directory, besides the inodes
_INODE_BYTES = 256


class DisksMissing(OSError):
    """This machine cannot make them: no mkfs.ext4, or no loop devices."""


class Disks:
    """`directory` belongs to root and holds one template for each size."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._ready: dict[int, list[int]] = {}

    def prepare(self) -> None:
        """Removes an earlier run's files, and tries once. Raises OSError, DisksMissing when something is not there."""
        if shutil.which("mkfs.ext4", path=_path()) is None:
            raise DisksMissing(errno.ENOENT, "mkfs.ext4 is not installed (package e2fsprogs)")
        if not os.path.exists("/dev/loop-control"):
            raise DisksMissing(errno.ENODEV, "there are no loop devices (modprobe loop)")
        shutil.rmtree(self._directory, ignore_errors=True)
        os.makedirs(self._directory, mode=0o700)
        os.close(self.take(512))

    def take(self, size_mib: int) -> int:
        """A detached mount of a fresh disk; one that waits, where there is one. Raises OSError."""
        waiting = self._ready.get(size_mib)
        return waiting.pop() if waiting else self._make(size_mib)

    def refill(self, size_mib: int, wanted: int) -> bool:
        """Makes one more if fewer than `wanted` wait. True when it did."""
        waiting = self._ready.setdefault(size_mib, [])
        if len(waiting) >= wanted:
            return False
        waiting.append(self._make(size_mib))
        return True

    def close(self) -> None:
        for waiting in self._ready.values():
            for descriptor in waiting:
                os.close(descriptor)
        self._ready.clear()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _make(self, size_mib: int) -> int:
        template = os.path.join(self._directory, f"{size_mib}")
        if not os.path.exists(template):
            self._make_template(template, size_mib)
        # The image is without a name from the start.
        with tempfile.TemporaryFile(dir=self._directory) as image, open(template, "rb") as source:
            _copy_sparse(source.fileno(), image.fileno())
            return _mount(image.fileno())

    def _make_template(self, path: str, size_mib: int) -> None:
        inodes = size_mib * _INODES_PER_MIB
        image_bytes = (size_mib + _OVERHEAD_MIB) * _MIB + inodes * _INODE_BYTES
        partial = path + ".new"
        with open(partial, "wb") as image:
            image.truncate(image_bytes)
        # No journal: the disk does not outlive the environment. Nothing reserved for root: it has no root.
        options = ["-q", "-F", "-m", "0", "-b", "4096", "-N", str(inodes), "-I", str(_INODE_BYTES), "-O",
                   "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard"]  # fmt: skip
        subprocess.run(["mkfs.ext4", *options, partial], check=True, env={"PATH": _path()}, stdin=subprocess.DEVNULL)
        with open(partial, "r+b") as image:
            mounted = _mount(image.fileno())
        _open_to_everybody(mounted)
        os.rename(partial, path)


def _path() -> str:
    return "/usr/sbin:/sbin:/usr/bin:/bin"


def _mount(image: int) -> int:
    device, loop = _attach(image)
    try:
        # The lazy initialisation's thread would write all inode tables; without a journal barriers guard nothing.
        options = ["noinit_itable", "nobarrier", "nodiscard", "errors=continue"]
        attributes = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOATIME
        return syscalls.new_filesystem("ext4", device, options, attributes)
    finally:
        os.close(loop)


def _attach(image: int) -> tuple[str, int]:
    """Puts a file behind a loop device that frees itself with its last user: (path, descriptor)."""
    info = struct.pack("=5Q4I64s64s32s2Q", *[0] * 8, _AUTOCLEAR, b"lambent", b"", b"", 0, 0)
    configuration = struct.pack("=II", image, 0) + info + bytes(64)
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_ATTEMPTS):
            path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            loop = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(loop, _LOOP_CONFIGURE, configuration)
            except OSError as error:
                os.close(loop)
                if error.errno != errno.EBUSY:
                    raise
            else:
                return path, loop
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no loop device is free; raise the kernel's limit (max_loop)")


def _open_to_everybody(mounted: int) -> None:
    root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mounted)
    try:
        os.rmdir("lost+found", dir_fd=root)
        os.fchmod(root, 0o1777)
    finally:
        os.close(root)
        os.close(mounted)  # unmounts, which writes the image


def _copy_sparse(source: int, target: int) -> None:
    size = os.fstat(source).st_size
    os.truncate(target, size)
    position = 0
    while True:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        position = os.lseek(source, start, os.SEEK_HOLE)
        while start < position:
            copied = os.copy_file_range(source, target, position - start, start, start)
            if copied == 0:
                raise OSError(errno.EIO, "the disk's template became shorter while it was copied")
            start += copied
