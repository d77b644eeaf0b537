"""The kernel's calls that Python does not offer, through ctypes. Each raises OSError naming the call."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long

# Python's own os.fork() runs hooks and takes locks that cost 0.7 ms. libc's fork, called with the GIL held, is safe in a
# process that has one thread; its callers reseed `random` themselves.
fork = ctypes.PyDLL(None).fork
_syscall_holding_gil = ctypes.PyDLL(None, use_errno=True).syscall
_syscall_holding_gil.restype = ctypes.c_long
_prctl_holding_gil = ctypes.PyDLL(None).prctl  # for calls that take less than letting others run would

_pidfd = ctypes.c_int(-1)
_pidfd_by_reference = ctypes.byref(_pidfd)
_SIGCHLD = int(signal.SIGCHLD)

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_NEWTIME = 0x00000080

CLONE_PIDFD = 0x00001000
CLONE_INTO_CGROUP = 0x200000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOATIME = 1, 2, 4, 8, 0x10

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_O_CLOEXEC = 0o2000000
_MOVE_MOUNT_F_EMPTY_PATH = 4
_RESOLVE_NO_SYMLINKS = 4

# The numbers of the calls that libc may lack. Those from 424 on are the same on every architecture.
_MACHINE = platform.machine()
_PIVOT_ROOT, _CAPSET, _SECCOMP, _CLONE, _TGKILL = {
    "x86_64": (155, 126, 317, 56, 234),
    "aarch64": (41, 91, 277, 220, 131),
}.get(_MACHINE, (-1, -1, -1, -1, -1))
_PIDFD_SEND_SIGNAL, _OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 424, 428, 429, 430, 431, 432
_PIDFD_OPEN, _CLOSE_RANGE, _OPENAT2, _MOUNT_SETATTR = 434, 436, 437, 442


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def fork_into(namespaces: int) -> tuple[int, int]:
    """Forks into new namespaces: (0, -1) in the child, (its number, a pidfd of it) in the parent. Raises OSError.

    The bare call, so libc in the child still believes in the parent's thread number until it forks again. Nothing that a
    single-threaded init does asks for that.
    """
    flags = ctypes.c_ulong(namespaces | CLONE_PIDFD | _SIGCHLD)
    pid = _check(_syscall_holding_gil(_CLONE, flags, None, _pidfd_by_reference, None, None), "clone")
    return pid, _pidfd.value if pid else -1


def fork_sharing_directory() -> int:
    """As `fork`, but what one makes its working directory is the other's too, also after an exec, until one unshares CLONE_FS.

    The bare call, as above. Raises OSError.
    """
    flags = ctypes.c_ulong(CLONE_FS | _SIGCHLD)
    return _check(_syscall_holding_gil(_CLONE, flags, None, None, None, None), "clone")


def signal_main_thread(pid: int, number: int) -> None:
    """For a process that handles signals in its main thread, as Python does, wherever the kernel delivers them.

    To a process that was thawed just now, the kernel often gives a signal to another thread, since thawing has woken the
    main one already; a main thread that waits would then not hear of it.
    """
    _check(_syscall(_TGKILL, pid, pid, number), f"tgkill {pid}")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), f"unshare {flags:#x}")


def setns(descriptor: int, kind: int) -> None:
    _check(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode() if data else None,
    )
    _check(result, f"mount {target}")


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    _check(_libc.umount2(target.encode(), flags), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    _check(_syscall(_PIVOT_ROOT, new.encode(), old.encode()), "pivot_root")


def clone_mount(path: str, directory: int = _AT_FDCWD, recursive: bool = False) -> int:
    """A detached copy of the mount at `path` (or, with an empty path, at the descriptor `directory`)."""
    flags = _OPEN_TREE_CLONE | _O_CLOEXEC | (_AT_RECURSIVE if recursive else 0) | (0 if path else _AT_EMPTY_PATH)
    return _check(_syscall(_OPEN_TREE, directory, path.encode(), flags), f"open_tree {path}")


def open_exactly(path: str) -> int:
    """An O_PATH descriptor of what has this name right now; a symbolic link anywhere in it is an error (ELOOP)."""
    how = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS)
    return _check(_syscall(_OPENAT2, _AT_FDCWD, path.encode(), how, len(how)), f"openat2 {path}")


def set_mount_attributes(mount_fd: int, attributes: int, recursive: bool = False) -> None:
    """Adds MOUNT_ATTR_* to a detached mount."""
    block = struct.pack("QQQQ", attributes, 0, 0, 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    _check(_syscall(_MOUNT_SETATTR, mount_fd, b"", flags, block, len(block)), "mount_setattr")


def attach_mount(mount_fd: int, target: str) -> None:
    """Puts a detached mount at `target`."""
    _check(
        _syscall(_MOVE_MOUNT, mount_fd, b"", _AT_FDCWD, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH),
        f"move_mount {target}",
    )


def new_filesystem(kind: str, source: str | None, options: list[str], attributes: int) -> int:
    """Mounts a file system of `kind` without putting it anywhere; `options` are names or name=value."""
    context = _check(_syscall(_FSOPEN, kind.encode(), 1), f"fsopen {kind}")
    try:
        if source:
            _check(_syscall(_FSCONFIG, context, 1, b"source", source.encode(), 0), f"fsconfig source={source}")
        for option in options:
            name, found, value = option.partition("=")
            if found:
                _check(_syscall(_FSCONFIG, context, 1, name.encode(), value.encode(), 0), f"fsconfig {option}")
            else:
                _check(_syscall(_FSCONFIG, context, 0, name.encode(), None, 0), f"fsconfig {option}")
        _check(_syscall(_FSCONFIG, context, 6, None, None, 0), f"mounting {kind}")
        return _check(_syscall(_FSMOUNT, context, 1, attributes), "fsmount")
    finally:
        os.close(context)


def write_to(path: str, data: bytes) -> None:
    """To a file of /proc or the like, which is there already. Without Python's files, whose making touches much memory."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def prctl(option: int, value: int = 0, third: int = 0) -> None:
    unsigned = ctypes.c_ulong
    _check(_libc.prctl(option, unsigned(value), unsigned(third), unsigned(0), unsigned(0)), f"prctl {option}")


def close_from(first: int, last: int = 0xFFFFFFFF) -> None:
    """Closes every descriptor from `first` to `last`."""
    if first <= last:
        _check(_syscall(_CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(last), 0), "close_range")


def pidfd_open(pid: int) -> int:
    return _check(_syscall(_PIDFD_OPEN, pid, 0), "pidfd_open")


def pidfd_kill(pidfd: int, number: int) -> None:
    _check(_syscall(_PIDFD_SEND_SIGNAL, pidfd, number, None, 0), "pidfd_send_signal")


def drop_capabilities() -> None:
    """Empties the bounding, ambient, effective, permitted and inheritable sets."""
    drop = _prctl_holding_gil
    for capability in range(64):
        if drop(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break  # beyond the last one that this kernel knows
    _libc.prctl(PR_CAP_AMBIENT, ctypes.c_ulong(PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0)
    header = struct.pack("Ii", 0x20080522, 0)
    _check(_syscall(_CAPSET, header, struct.pack("6I", 0, 0, 0, 0, 0, 0)), "capset")


class _FilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install_seccomp(program: bytes) -> None:
    """Installs a BPF program for this process and all its future children."""
    buffer = ctypes.create_string_buffer(program, len(program))
    block = _FilterProgram(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    _check(_syscall(_SECCOMP, 1, 0, ctypes.byref(block)), "seccomp")
