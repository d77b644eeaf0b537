"""What the server may ask of the launcher: every check is here."""

from __future__ import annotations

import fcntl
import os
import re
import stat

from . import layout, roots, syscalls

_PYTHON = re.compile(r"/(?:[\w.+-]+/)*python3(?:\.\d+)?")
_LIBRARY_PATH = re.compile(r"(?:/(?:var|usr|opt|lib|lib64)(?:/[\w.+-]+)*:?)*")
_ENVIRONMENT_ID = re.compile(r"[0-9a-f]{32}")
_TARGETS = ("/var/lang", "/var/runtime", "/usr/", "/etc/")  # where installations may put what they bring
EPHEMERAL_MIB = (512, 10_240)
_MEMORY_MIB = (128, 10_240)
_PROGRAM_MAX_CHARACTERS = 16_384


class Refused(Exception):
    """The server asked for what it may not have, or the machine cannot give it."""


class Launch:
    """One environment, as it was asked for. Owns the descriptors from now on, and leaves an empty list of them.

    Raises Refused, KeyError, TypeError, ValueError for nonsense, and then owns nothing.
    """

    def __init__(self, message: dict[str, object], descriptors: list[int]) -> None:
        self.environment_id = str(message["id"])
        if not _ENVIRONMENT_ID.fullmatch(self.environment_id):
            raise Refused("the environment's id must be 32 hex digits")
        self.internet = bool(message["internet"])
        self.memory_bytes = _bounded(message["memory_mib"], _MEMORY_MIB, "memory") << 20
        self.ephemeral_mib = _bounded(message["ephemeral_mib"], EPHEMERAL_MIB, "/tmp")
        self.program = program(message["program"])
        self._for_init = 4 if message["watched"] else 3
        self._before_directories = self._for_init + (1 if message["ordered"] else 0)
        expected = self._before_directories + (2 if message["layers"] else 1)
        if len(descriptors) != expected:
            raise Refused(f"{len(descriptors)} descriptors came instead of {expected}")
        for directory in descriptors[self._before_directories :]:
            _check_directory(directory)
        self._descriptors = descriptors.copy()
        descriptors.clear()

    @property
    def for_init(self) -> list[int]:
        """Control socket, output, log, and shared memory of the watchdog where there is one."""
        return self._descriptors[: self._for_init]

    @property
    def for_runtime(self) -> list[int]:
        """Output, log, and where the order to start comes from; nothing where that will go to init, over the control socket."""
        if self._before_directories == self._for_init:
            return []
        return [*self._descriptors[1:3], *self.order]

    @property
    def order(self) -> list[int]:
        """Where the order to start the runtime is read from, if there is to be one."""
        return self._descriptors[self._for_init : self._before_directories]

    @property
    def is_watched(self) -> bool:
        return self._for_init > 3

    @property
    def directories(self) -> list[tuple[str, int]]:
        """(target, descriptor) of code and layers."""
        return list(zip(("/var/task", "/opt"), self._descriptors[self._before_directories :]))

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())


def program(message: object) -> dict[str, object] | None:
    """What cells may start ahead, or `layout.RESTORE`. It runs as they run functions, so only its form is looked at. Raises Refused."""
    if message is None:
        return None
    if message == layout.RESTORE:
        return layout.RESTORE
    if not isinstance(message, dict) or set(message) != {"argv", "variables", "connected"}:
        raise Refused("a program to start ahead has argv and variables, and is connected or not")
    argv, variables = message["argv"], message["variables"]
    if not (isinstance(argv, list) and argv and isinstance(variables, dict) and isinstance(message["connected"], bool)):
        raise Refused("a program to start ahead has a list of arguments, and variables by name")
    texts = [str(text) for text in (*argv, *variables, *variables.values()) if isinstance(text, str)]
    if len(texts) < len(argv) + 2 * len(variables) or any("\0" in text for text in texts):
        raise Refused("a program to start ahead is made of texts")
    if sum(len(text) for text in texts) > _PROGRAM_MAX_CHARACTERS:
        raise Refused(f"a program to start ahead has at most {_PROGRAM_MAX_CHARACTERS} characters")
    return message


class Installation:
    """An interpreter's mounts, and how it is started. Raises Refused.

    What is checked is already the mount that will be shown: a name could come to mean another directory meanwhile.
    """

    def __init__(self, message: dict[str, object], allowed: list[str], *, rootless: bool) -> None:
        mounts = message["mounts"]
        if not isinstance(mounts, list):
            raise Refused("mounts must be a list")
        self._open: list[int] = []
        try:
            self.mounts = [
                self._mount(str(source), str(target), allowed, rootless=rootless) for source, target in mounts
            ]
            self._choose(message)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())

    def out_of_the_way(self) -> list[tuple[int, str]]:
        """The mounts with copies of their descriptors that are not 3, which a zygote's child needs for its socket."""
        return [(fcntl.fcntl(held, fcntl.F_DUPFD_CLOEXEC, 4), target) for held, target in self.mounts]

    def _choose(self, message: dict[str, object]) -> None:
        self.interpreter = str(message["interpreter"])
        self.library_path = str(message["library_path"])
        runtime_dir = next((held for held, target in self.mounts if target == "/var/runtime"), None)
        self.forks = bool(message["fork"]) and runtime_dir is not None and self._may_be_imported(runtime_dir)
        if self.forks and not (_is_interpreter(self.interpreter) and _LIBRARY_PATH.fullmatch(self.library_path)):
            raise Refused(f"{self.interpreter} is not an interpreter that a zygote can run on")

    def _mount(self, source: str, target: str, allowed: list[str], *, rootless: bool) -> tuple[int, str]:
        """(detached mount, target)."""
        real = os.path.realpath(source)
        if not any(real == path or real.startswith(path + "/") for path in allowed):
            raise Refused(f"{source} was not among the installations when Lambent started; restart it")
        if os.path.normpath(target) != target or not target.startswith(_TARGETS):
            raise Refused(f"{target} is not a place for a part of an installation")
        exact = syscalls.open_exactly(real)
        try:
            self._open.append(roots.clone_readonly(exact, rootless=rootless))
        finally:
            os.close(exact)
        return self._open[-1], target

    def _may_be_imported(self, runtime_dir: int) -> bool:
        """Whether nobody but this process's user (root) can have written what a zygote would run.

        Where somebody can, the runtime is executed in the finished cage instead: slower, and no less safe.
        """
        if not all(_is_only_ours(os.fstat(held)) for held, _ in self.mounts):
            return False
        return all(
            _is_only_ours(os.stat(name, dir_fd=parent, follow_symlinks=False))
            for _, directories, files, parent in os.fwalk(".", dir_fd=runtime_dir)
            for name in (*directories, *files)
        )


def clone_directory(directory: int, *, rootless: bool) -> int:
    """A detached read-only mount of a directory that the server has open.

    The server has a mount namespace of its own, and what it opened there cannot be mounted here: so the directory is found
    again by its name, and must be the very one that the server has open. Raises Refused, OSError.
    """
    found = os.open(os.readlink(f"/proc/self/fd/{directory}"), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not os.path.samestat(os.fstat(found), os.fstat(directory)):
            raise Refused("a directory has moved while it was being mounted")
        return roots.clone_readonly(found, rootless=rootless)
    finally:
        os.close(found)


def _check_directory(directory: int) -> None:
    """An ordinary descriptor of a directory shows that its opener may read it; an O_PATH one does not."""
    flags = fcntl.fcntl(directory, fcntl.F_GETFL)
    if flags & os.O_PATH or flags & os.O_ACCMODE != os.O_RDONLY:
        raise Refused("a directory must be opened for reading: that shows that the server may read it")
    if not stat.S_ISDIR(os.fstat(directory).st_mode):
        raise Refused("code and layers must be directories")


def _is_interpreter(path: str) -> bool:
    return _PYTHON.fullmatch(path) is not None and os.path.normpath(path) == path


def _is_only_ours(status: os.stat_result) -> bool:
    if stat.S_ISLNK(status.st_mode):
        return True  # what it points to is checked where it is, or is not shown in the cage
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022


def _bounded(value: object, bounds: tuple[int, int], what: str) -> int:
    if not isinstance(value, int) or not bounds[0] <= value <= bounds[1]:
        raise Refused(f"{what} must be from {bounds[0]} to {bounds[1]} MiB, not {value}")
    return value
