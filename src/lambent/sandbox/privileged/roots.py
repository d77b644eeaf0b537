"""A zygote's root file system: a small tmpfs with pieces of the host, all read-only."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from . import layout, syscalls

_READ_ONLY = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID


def enter(directory: str, mounts: list[tuple[int, str]], *, rootless: bool, resolvers: Sequence[str] = ()) -> None:
    """Leaves the host's file system for a new root that is built on `directory`, in a new mount namespace.

    `mounts` are (detached mount, target) besides the system's own. Raises OSError naming what failed.
    """
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    # Cloned before anything covers them.
    trees = [(_clone_path(source, rootless=rootless), target) for source, target in layout.host_mounts()]
    trees += mounts
    if rootless:
        # The kernel lets a user namespace mount a /proc of its own only where another one is visible; cells cover this.
        trees.append((syscalls.clone_mount("/proc", recursive=True), "/proc"))
    devices = {name: _device(name, rootless=rootless) for name in layout.DEVICES}
    syscalls.mount("lambent", directory, "tmpfs", syscalls.MS_NOSUID, "size=4m,mode=755")
    _furnish(directory, resolvers)
    for tree, target in trees:
        _place(tree, directory + target)
    for name, tree_fd in devices.items():
        _make_device(name, tree_fd, directory)
    os.chdir(directory)
    root = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.set_mount_attributes(root, _READ_ONLY)
    os.close(root)
    syscalls.pivot_root(".", ".")
    syscalls.unmount(".")
    os.chdir("/")


def clone_readonly(source: int, *, rootless: bool) -> int:
    """A detached read-only copy of a mount, given by any descriptor of the directory or file in it that is wanted.

    It comes without what is mounted further inside, where that is possible: in a user namespace the kernel refuses to
    uncover what lies below such mounts, so there they come along. Raises OSError (EINVAL for another mount namespace's).
    """
    recursive = False
    try:
        tree = syscalls.clone_mount("", source)
    except OSError as error:
        if error.errno != errno.EINVAL or not rootless:
            raise
        recursive = True
        tree = syscalls.clone_mount("", source, recursive=True)
    syscalls.set_mount_attributes(tree, _READ_ONLY | syscalls.MOUNT_ATTR_NODEV, recursive)
    return tree


def _clone_path(path: str, *, rootless: bool) -> int:
    held = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return clone_readonly(held, rootless=rootless)
    finally:
        os.close(held)


def _furnish(root: str, resolvers: Sequence[str]) -> None:
    for path in layout.DIRECTORIES:
        os.makedirs(root + path, mode=0o755, exist_ok=True)
    for path in ("/tmp", "/var/tmp", "/dev/shm"):
        os.chmod(root + path, 0o1777)
    for path, target in {**layout.LINKS, **layout.top_links()}.items():
        os.symlink(target, root + path)
    for path, text in layout.files(resolvers).items():
        with open(root + path, "w", encoding="utf-8") as file:
            file.write(text)


def _place(tree: int, target: str) -> None:
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        os.makedirs(target, mode=0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        with open(target, "ab"):
            pass
    syscalls.attach_mount(tree, target)
    os.close(tree)


def _device(name: str, *, rootless: bool) -> int:
    """Only the host's root may make device nodes; others show the host's."""
    return syscalls.clone_mount(f"/dev/{name}") if rootless else -1


def _make_device(name: str, tree: int, root: str) -> None:
    path = f"{root}/dev/{name}"
    if tree >= 0:
        _place(tree, path)
        return
    major, minor = layout.DEVICES[name]
    os.mknod(path, 0o020666, os.makedev(major, minor))
    os.chmod(path, 0o666)
