"""Starting the launcher, before the server gives up its rights. See `privileged/launcher.py` for what it does."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from lambent.model.cage import IsolationLevel
from lambent.model.errors import SandboxError
from lambent.sandbox.memory import total_mib
from lambent.sandbox.privileged import wire

HELLO_TIMEOUT_S: Final = 20.0
READY_SHARE: Final = 20  # a twentieth
_PROGRAM: Final = "import sys; sys.path.insert(0, {!r}); from privileged.launcher import main; main()"


@attrs.frozen(kw_only=True)
class LauncherHandle:
    """A running launcher. Closing the socket makes it end everything and exit."""

    level: IsolationLevel
    socket: socket.socket
    process: subprocess.Popen[bytes]
    endpoint_port: int  # inside every cage, on 127.0.0.1; 0 for none
    cgroup_version: int | None  # None: memory is watched, not limited
    disks: bool  # /tmp is a disk and not memory
    warnings: tuple[str, ...]  # what is missing on this machine, and what follows from that

    def close(self) -> None:
        """Ends the launcher and every environment, and waits for it. Safe to call twice."""
        self.socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=15)


def start_launcher(
    directory: Path,
    allowed: Sequence[Path],
    *,
    level: IsolationLevel = IsolationLevel.ROOT,
    endpoint_port: int = 4566,
    internet: bool = False,
    internet_private: bool = False,
    ready_memory_mib: int = 0,
    memory_reserve_mib: int = 0,
) -> LauncherHandle:
    """Starts the launcher as the present user and waits until it is ready. To be called before threads and event loop.

    `directory` is the launcher's own (made when absent). `allowed` are the only host directories, with all below them,
    that cages may be shown besides the system's and the functions' code: the installations' `host_mounts` and the
    directories that hold their `runtime_dir`. With `internet` every cage has a way to the internet, and with
    `internet_private` to private networks too (level `root` only). Cells that wait for a function take `ready_memory_mib`
    together, or a twentieth of the machine's memory when that is 0; they go when less than `memory_reserve_mib` is
    available. Raises SandboxError.
    """
    if level is IsolationLevel.PROCESS:
        raise SandboxError("level `process` needs no launcher; use ProcessSandbox")
    if level is IsolationLevel.ROOT and os.geteuid() != 0:
        raise SandboxError("level `root` needs root; start Lambent as root, or at level `rootless`")
    if internet and level is not IsolationLevel.ROOT:
        raise SandboxError("only level `root` can give cages internet access; start Lambent as root")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    rootless = level is IsolationLevel.ROOTLESS
    settings = {
        "rootless": rootless,
        "directory": str(directory.resolve()),
        "allowed": [str(path) for path in allowed],
        "endpoint_port": endpoint_port,
        "internet": {"private": internet_private} if internet else None,
        "ready_memory_mib": ready_memory_mib or int(total_mib() / READY_SHARE),
        "memory_reserve_mib": memory_reserve_mib,
    }
    ours, theirs = wire.pair()
    with theirs:
        program = _PROGRAM.format(str(Path(__file__).parent))
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", program, str(theirs.fileno()), json.dumps(settings)],
            stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env={"LC_CTYPE": "C.UTF-8", "PATH": "/usr/bin:/bin"},
            start_new_session=True,
        )  # fmt: skip
    try:
        hello = _hello(ours)
    except SandboxError:
        ours.close()
        process.kill()
        process.wait()
        raise
    ours.setblocking(False)
    return LauncherHandle(
        level=level, socket=ours, process=process, endpoint_port=endpoint_port, cgroup_version=hello["cgroups"],
        disks=bool(hello["disks"]), warnings=tuple(hello["warnings"]),
    )  # fmt: skip


def _hello(channel: socket.socket) -> wire.Message:
    channel.settimeout(HELLO_TIMEOUT_S)
    try:
        message, descriptors = wire.receive(channel)
    except TimeoutError as error:
        raise SandboxError(f"the launcher did not become ready within {HELLO_TIMEOUT_S:.0f} s") from error
    except (EOFError, wire.MessageError) as error:
        raise SandboxError("the launcher ended before it was ready; its reason is on the error output") from error
    wire.close_all(descriptors)
    if message["event"] != "hello":
        raise SandboxError(
            f"this machine cannot make the cages that were asked for: {message.get('reason')}; see `lambent doctor`"
        )
    return message
