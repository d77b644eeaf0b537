"""From root to the service user: the process that parses the network's bytes keeps nothing of root.

Programs are often installed where only their owner may go (`/root/.venv`, a home directory). So before the descent the
process takes a view of its own of the file system: a directory on the way that the service user could not enter is
covered by an empty one, in which only what the server needs is shown. The rest of it becomes invisible at the same time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from lambent.model.errors import SandboxError
from lambent.sandbox.privileged import syscalls


def become(uid: int, gid: int, needed: Iterable[Path]) -> None:
    """Gives up root for good. `needed` are the directories that must stay reachable.

    To be called while the process has one thread. Raises SandboxError, which names what cannot be reached.
    """
    try:
        _show_only(sorted({path.resolve() for path in needed if path.exists()}), uid, gid)
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    except OSError as error:
        raise SandboxError(
            f"the server could not become user {uid}: {error}. Give another user by service_user, or start it as one."
        ) from error
    for path in needed:
        if path.exists() and not os.access(path, os.R_OK | os.X_OK):
            raise SandboxError(f"user {uid} cannot read {path}, which the server needs; make it readable for others.")


def barrier(path: Path, uid: int, gid: int) -> Path | None:
    """The first directory on the way to `path` (or itself) that this user cannot enter."""
    for directory in (*reversed(path.parents), path):
        status = directory.stat()
        if status.st_uid == uid:
            enter = stat.S_IXUSR
        elif status.st_gid == gid:
            enter = stat.S_IXGRP
        else:
            enter = stat.S_IXOTH
        if not status.st_mode & enter:
            return directory
    return None


def _show_only(needed: list[Path], uid: int, gid: int) -> None:
    """In a mount namespace of this process alone: covers each barrier and shows the needed directories behind it."""
    behind: dict[Path, list[Path]] = {}
    for path in needed:
        covered = barrier(path, uid, gid)
        if covered is not None and covered != path:
            behind.setdefault(covered, []).append(path)
    if not behind:
        return
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    for covered, paths in behind.items():
        _cover(covered, _outermost(paths))


def _cover(directory: Path, paths: list[Path]) -> None:
    trees = [(path, syscalls.clone_mount(str(path), recursive=True)) for path in paths]
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("tmpfs", str(directory), "tmpfs", flags, "size=64k,mode=755")
    for path, tree in trees:
        path.mkdir(mode=0o755, parents=True)
        syscalls.attach_mount(tree, str(path))
        os.close(tree)
    syscalls.mount("none", str(directory), None, flags | syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY)


def _outermost(paths: list[Path]) -> list[Path]:
    """Without those that lie inside another one; `paths` is sorted."""
    kept: list[Path] = []
    for path in paths:
        if not any(path.is_relative_to(other) for other in kept):
            kept.append(path)
    return kept
