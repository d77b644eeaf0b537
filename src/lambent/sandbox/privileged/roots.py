"""A zygote's root file system: a small tmpfs with pieces of the host, all read-only."""

from __future__ import annotations

import errno
import os

from . import layout, syscalls

_READ_ONLY = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID


def enter(directory: str, mounts: list[tuple[str, str]], *, rootless: bool) -> None:
    """Leaves the host's file system for a new root that is built on `directory`, in a new mount namespace.

    `mounts` are (source, target) besides the system's own. Raises OSError naming the mount that failed.
    """
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    # Cloned before anything covers them.
    trees = [(clone_readonly(source, rootless=rootless), source, target) for source, target in layout.host_mounts()]
    trees += [(_clone_checked(source, rootless=rootless), source, target) for source, target in mounts]
    if rootless:
        # The kernel lets a user namespace mount a /proc of its own only where another one is visible; cells cover this.
        trees.append((syscalls.clone_mount("/proc", recursive=True), "/proc", "/proc"))
    devices = {name: _device(name, rootless=rootless) for name in layout.DEVICES}
    syscalls.mount("lambent", directory, "tmpfs", syscalls.MS_NOSUID, "size=4m,mode=755")
    _furnish(directory)
    for tree, source, target in trees:
        _place(tree, source, directory + target)
    for name, tree_fd in devices.items():
        _make_device(name, tree_fd, directory)
    os.chdir(directory)
    root = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.set_mount_attributes(root, _READ_ONLY)
    os.close(root)
    syscalls.pivot_root(".", ".")
    syscalls.unmount(".")
    os.chdir("/")


def clone_readonly(source: str, *, rootless: bool = False, directory: int = -100) -> int:
    """A detached read-only copy of a mount; without anything that is mounted inside it, where that is possible.

    In a user namespace the kernel refuses to uncover what lies below such inner mounts, so there they come along.
    """
    try:
        tree = syscalls.clone_mount(source, directory)
        recursive = False
    except OSError as error:
        if error.errno != errno.EINVAL or not rootless:
            raise
        tree = syscalls.clone_mount(source, directory, recursive=True)
        recursive = True
    syscalls.set_mount_attributes(tree, _READ_ONLY | syscalls.MOUNT_ATTR_NODEV, recursive)
    return tree


def _clone_checked(source: str, *, rootless: bool) -> int:
    """`source` was checked as it is: nobody may have put a link into its way since."""
    exact = syscalls.open_exactly(source)
    try:
        return clone_readonly("", rootless=rootless, directory=exact)
    finally:
        os.close(exact)


def _furnish(root: str) -> None:
    for path in layout.DIRECTORIES:
        os.makedirs(root + path, mode=0o755, exist_ok=True)
    for path in ("/tmp", "/var/tmp", "/dev/shm"):
        os.chmod(root + path, 0o1777)
    for path, target in {**layout.LINKS, **layout.top_links()}.items():
        os.symlink(target, root + path)
    for path, text in layout.FILES.items():
        with open(root + path, "w", encoding="utf-8") as file:
            file.write(text)


def _place(tree: int, source: str, target: str) -> None:
    if os.path.isdir(source):
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
        _place(tree, f"/dev/{name}", path)
        return
    major, minor = layout.DEVICES[name]
    os.mknod(path, 0o020666, os.makedev(major, minor))
    os.chmod(path, 0o666)
