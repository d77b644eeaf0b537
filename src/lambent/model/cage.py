"""What a cage is asked to hold, and how it ended. Values only; `sandbox/` carries them out."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import attrs

_SHARE: Final = re.compile(r"\{(?:heap_mib|(?P<share>\d+)%)\}")


class IsolationLevel(enum.StrEnum):
    ROOT = "root"  # all namespaces, cgroups, seccomp
    ROOTLESS = "rootless"  # user namespaces; cgroups where they are delegated
    PROCESS = "process"  # no cage: rlimits and a watchdog


class StartMethod(enum.StrEnum):
    FORK = "fork"  # the interpreter's zygote forks; the guest client runs in the fork
    EXEC = "exec"  # the program is executed inside the cage


@attrs.frozen(kw_only=True)
class HostMount:
    """A directory of the host that the cage shows read-only."""

    source: Path
    target: str  # absolute, as the function sees it


@attrs.frozen
class Compiler:
    """How a runtime compiles the modules of a package ahead of the functions that import them."""

    handler: str  # of an environment whose package they are; in `runtime_dir`
    tag: str  # of the compiled files: "cpython-312"


@attrs.frozen(kw_only=True)
class RuntimeInstallation:
    """An interpreter that was found, and how environments of it are started."""

    runtime: str  # "python3.13"
    family: str  # "python", "nodejs", "java", "ruby", "provided"
    version: str  # "3.13.0", exact
    start: StartMethod
    executable: Path | None  # on the host; None for provided
    argv: tuple[str, ...]  # as executed inside the cage: full paths there; placeholders: EnvironmentSpec.argv
    host_mounts: tuple[HostMount, ...]  # what of the host the interpreter needs, besides the base root's /usr and /lib
    runtime_dir: Path | None  # our client and the SDK, shown read-only at /var/runtime
    environment: Mapping[str, str] = attrs.field(factory=dict)  # PATH, LD_LIBRARY_PATH, NODE_PATH … for this runtime
    # Its program can be started with `environment` alone and get a function's variables later, but for those whose names
    # match: they are read when it starts. None: it cannot.
    read_at_start: re.Pattern[str] | None = None
    takes_connection: bool = False  # one that waits is given a connection to the Runtime API
    compiler: Compiler | None = None


class ImageUse(enum.StrEnum):
    TAKE = "take"  # the runtime runs its init, writes the image and exits with status 0
    RESTORE = "restore"  # the runtime goes on where the image's did


@attrs.frozen
class Image:
    """The memory of an initialised runtime process, in a file without a name. The descriptor is its owner's to close."""

    fd: int
    use: ImageUse


@attrs.frozen(kw_only=True)
class EnvironmentSpec:
    """One execution environment, as the pool asks a sandbox for it."""

    environment_id: str  # 32 hex digits
    installation: RuntimeInstallation
    code_dir: Path  # unpacked, shown read-only at /var/task
    layers_dir: Path | None  # merged, shown read-only at /opt
    variables: Mapping[
        str, str
    ]  # the whole environment of the process, less credentials and what the sandbox itself adds
    credentials: Callable[[], Mapping[str, str]] = dict  # variables too, made when the sandbox has begun with the rest
    memory_mib: int
    ephemeral_mib: int
    internet: bool = False
    image: Image | None = None  # only where the cage `can_restore`

    @property
    def heap_mib(self) -> int:
        """What a managed heap may take of the memory: 85 %, as on AWS, but always leaving the JVM itself 48 MiB."""
        return min(self.memory_mib * 85 // 100, self.memory_mib - 48)

    @property
    def argv(self) -> tuple[str, ...]:
        """The installation's program for an environment of this size; empty for OS-only runtimes.

        In an argument, `{heap_mib}` becomes the heap's size and `{90%}` that share of the memory in MiB.
        """
        return tuple(_SHARE.sub(self._size, part) if "{" in part else part for part in self.installation.argv)

    def _size(self, placeholder: re.Match[str]) -> str:
        share = placeholder["share"]
        return str(self.heap_mib if share is None else self.memory_mib * int(share) // 100)


@attrs.frozen(kw_only=True)
class ProcessExit:
    """How a process of an environment ended."""

    exit_status: int | None  # None when a signal ended it
    signal: int | None
    out_of_memory: bool = False  # the kernel killed something in this environment for memory

    def __str__(self) -> str:
        """AWS's words: `exit status 1`, `signal: killed`."""
        if self.signal is None:
            return f"exit status {self.exit_status}"
        names = {1: "hangup", 2: "interrupt", 4: "illegal instruction", 6: "aborted", 7: "bus error",
                 8: "floating point exception", 9: "killed", 11: "segmentation fault", 13: "broken pipe",
                 15: "terminated", 31: "bad system call"}  # fmt: skip
        return f"signal: {names.get(self.signal, f'signal {self.signal}')}"

    @property
    def of_runtime(self) -> str:
        """AWS's sentence for a runtime that ended so; exit status 0 counts as no reason at all."""
        if self.exit_status == 0 and self.signal is None:
            return "Runtime exited without providing a reason"
        return f"Runtime exited with error: {self}"
