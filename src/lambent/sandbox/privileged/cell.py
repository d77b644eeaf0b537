"""One cell: what a zygote's child does between being forked and being the init of an environment.

Cells are made ahead: sealed, without privileges, and empty. The launcher puts a function's code into one from outside.

The order matters. Control groups come first, so that everything after is charged to the environment. Mounts need the
host's root. The user namespace comes late, so that it owns none of the other namespaces. The filter comes last.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct

from . import init, layout, seccomp, syscalls, wire
from .standby import Standby
from .understudy import Understudy
from .watchdog import Watchdog

_FILTER = seccomp.assemble()
_NAMESPACES = (
    syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWNET
    | syscalls.CLONE_NEWCGROUP
)
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_LISTEN_BACKLOG = 1024
_SPARED = b"-900"  # oom_score_adj of init, and the least that a function can choose: it goes before launcher and server


class Order:
    """What the zygote was told. The first descriptor is the launcher's socket, the others are groups to join."""

    def __init__(self, message: wire.Message, descriptors: list[int]) -> None:
        if not descriptors:
            raise wire.MessageError("an order came without a descriptor")
        self.name = str(message["name"])
        self.host_id = int(message["host_id"])
        self.endpoint_port = int(message["endpoint_port"])
        self.rootless = bool(message["rootless"])
        self.hurried = bool(message["hurried"])  # somebody waits for it
        self.restores = message["program"] == layout.RESTORE  # the runtime is to wait for an image
        self.program: wire.Message | None = None if self.restores else message["program"]  # to be started ahead
        self.descriptors = descriptors
        self.intake, self.groups = descriptors[0], descriptors[1:]


def live(order: Order, client: init.Client | None) -> None:
    """In the forked child, already first in its PID namespace: seals itself, waits for a function, and is its init.

    Returns when the environment has ended, or when the launcher has no use for it.
    """
    intake = socket.socket(fileno=init.out_of_the_way(order.intake))
    try:
        listeners = _enter(order)
        mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _settle(order)
        pipes = _Pipes() if order.program is not None else None
        ours = pipes.ours if pipes else []
        channels = wire.pair() if client is not None and order.program is None else None
        channel = [channels[0].fileno()] if channels else []
        sealed = [mounts, network, *ours, *channel, *(listener.fileno() for listener in listeners)]
        wire.send(intake, {"event": "sealed", "pipes": pipes is not None, "waits": channels is not None}, sealed)
    except (OSError, wire.MessageError) as error:
        wire.send(intake, {"event": "broken", "reason": str(error)})
        return
    for listener in listeners:
        listener.detach()
    channel_fds = [end.fileno() for end in channels or ()]
    init.close_all_but([intake.fileno(), *channel_fds, *(pipes.theirs if pipes else [])])
    made = init.Init("/var/task", client, _start_ahead(order, client, pipes, channels), caged=True)
    try:
        message, descriptors = wire.receive(intake)
    except EOFError:
        return
    if pipes is not None:  # instead of the server's, which has the other ends of these
        wire.close_all(descriptors[1:3])
        descriptors[1:3] = pipes.theirs
    # By now the launcher has attached code, layers and /tmp, from outside.
    first_order = socket.socket(fileno=descriptors.pop()) if message["ordered"] else None
    control, output, log, *watch = (init.out_of_the_way(descriptor) for descriptor in descriptors)
    watchdog = Watchdog(watch[0], int(message["memory_bytes"]), init.descendants) if watch else None
    made.take_over(control, output, log, watchdog)
    if message["called"]:
        made.runtime_was_called()
    elif first_order is not None:
        made.obey_first(first_order)
    intake.close()
    made.keep_only_its_own()
    made.run()


class _Pipes:
    """For output and log of a cell whose runtime is started ahead. `ours` are read, and handed over."""

    def __init__(self) -> None:
        output, log = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        self.ours = [output[0], log[0]]
        self.theirs = [init.out_of_the_way(output[1]), init.out_of_the_way(log[1])]


def _start_ahead(
    order: Order, client: init.Client | None, pipes: _Pipes | None, channels: tuple[socket.socket, socket.socket] | None
) -> Standby | Understudy | None:
    if order.program is not None and pipes is not None:
        return Standby(order.program, *pipes.theirs)
    if client is not None and channels is not None:
        return Understudy(client, *channels, restores=order.restores, hurried=order.hurried)
    return None


def _enter(order: Order) -> list[socket.socket]:
    """Everything that needs privileges."""
    for group in order.groups:
        os.write(group, b"0")
    syscalls.unshare(_NAMESPACES)
    listeners = _listen(order.endpoint_port)
    _mount()
    # Containers without CAP_SYS_RESOURCE refuse it; then init, being small, is still the last that the kernel picks.
    with contextlib.suppress(OSError):
        syscalls.write_to("/proc/self/oom_score_adj", _SPARED)
    socket.sethostname(layout.HOST_NAME)
    return listeners


def _listen(endpoint_port: int) -> list[socket.socket]:
    """Brings the loopback up and listens on the cage's side: whoever connects is inside this environment."""
    ports = [layout.RUNTIME_API_PORT] + ([endpoint_port] if endpoint_port else [])
    listeners: list[socket.socket] = []
    for port in ports:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if not listeners:
            fcntl.ioctl(listener, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
        listener.bind(("127.0.0.1", port))
        listener.listen(_LISTEN_BACKLOG)
        listeners.append(listener)
    return listeners


def _mount() -> None:
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("proc", "/proc", "proc", flags | syscalls.MS_NOEXEC)
    for path in layout.MASKED_FILES:
        with contextlib.suppress(FileNotFoundError):  # kernels differ
            syscalls.mount("/dev/null", path, None, syscalls.MS_BIND)
    for path in layout.READ_ONLY_DIRS:
        with contextlib.suppress(FileNotFoundError):
            syscalls.mount(path, path, None, syscalls.MS_BIND)
            remount = syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY | flags | syscalls.MS_NOEXEC
            syscalls.mount("none", path, None, remount)
    syscalls.mount("shm", "/dev/shm", "tmpfs", flags, f"size={layout.SHARED_MEMORY},mode=1777")


def _settle(order: Order) -> None:
    """Gives up every privilege."""
    init.limit_resources(layout.PROCESSES_MAX, layout.DESCRIPTORS_MAX)
    os.setsid()
    init.stand_back()
    become_nobody(order.host_id, rootless=order.rootless)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.install_seccomp(_FILTER)


def become_nobody(host_id: int, *, rootless: bool) -> None:
    """Another user on the host; in a user namespace that knows nobody else; without any capability."""
    if not rootless:
        os.setgroups([])
        os.setresgid(host_id, host_id, host_id)
        os.setresuid(host_id, host_id, host_id)
    else:
        host_id = 0  # all that the outer namespace maps
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # or /proc/self would belong to root and its maps could not be written
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    syscalls.write_to("/proc/self/setgroups", b"deny")
    syscalls.write_to("/proc/self/uid_map", b"%d %d 1" % (layout.USER_ID, host_id))
    syscalls.write_to("/proc/self/gid_map", b"%d %d 1" % (layout.GROUP_ID, host_id))
    syscalls.drop_capabilities()
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
