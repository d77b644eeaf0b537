"""One environment: what the zygote's child does between being forked and being an init without privileges.

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
_SPARED = b"-900"  # oom_score_adj of init: the function goes first


class Order:
    """What the zygote was told about one environment. Descriptors come with roles, in the message's order."""

    def __init__(self, message: wire.Message, descriptors: list[int]) -> None:
        self.environment_id = str(message["id"])
        self.host_id = int(message["host_id"])
        self.endpoint_port = int(message["endpoint_port"])
        self.ephemeral_mib = int(message["ephemeral_mib"])
        self.memory_bytes = int(message["memory_bytes"])
        self.rootless = bool(message["rootless"])
        roles: list[str] = message["roles"]
        if len(roles) != len(descriptors):
            wire.close_all(descriptors)
            raise wire.MessageError(f"{len(descriptors)} descriptors came for {len(roles)} roles")
        self.descriptors = descriptors
        self._by_role = [(fd, roles[index]) for index, fd in enumerate(descriptors)]

    def one(self, role: str) -> int | None:
        return next((fd for fd, name in self._by_role if name == role), None)

    def needed(self, role: str) -> int:
        found = self.one(role)
        if found is None:
            raise wire.MessageError(f"no descriptor came for {role}")
        return found

    def all(self, role: str) -> list[int]:
        return [fd for fd, name in self._by_role if name == role]


def live(order: Order, runtime_main: init.RuntimeMain | None) -> None:
    """In the forked child, already first in its PID namespace. Returns when the environment has ended."""
    control = socket.socket(fileno=init.out_of_the_way(order.needed("control")))
    try:
        listeners = _enter(order)
        environment = _settle(order, control, runtime_main)
        wire.send(control, {"event": "ready"}, [listener.fileno() for listener in listeners])
        for listener in listeners:
            listener.close()
        environment.keep_only_its_own()
    except (OSError, wire.MessageError) as error:
        wire.send(control, {"event": "broken", "reason": str(error)})
        return
    environment.run()


def _enter(order: Order) -> list[socket.socket]:
    """Everything that needs privileges."""
    for group in order.all("cgroup"):
        os.write(group, b"0")
    syscalls.unshare(_NAMESPACES)
    listeners = _listen(order.endpoint_port)
    _mount(order)
    # Containers without CAP_SYS_RESOURCE refuse it; then init, being small, is still the last that the kernel picks.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb", buffering=0) as score:
        score.write(_SPARED)
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


def _mount(order: Order) -> None:
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("proc", "/proc", "proc", flags | syscalls.MS_NOEXEC)
    for path in layout.MASKED_FILES:
        if os.path.exists(path):
            syscalls.mount("/dev/null", path, None, syscalls.MS_BIND)
    for path in layout.READ_ONLY_DIRS:
        if os.path.isdir(path):
            syscalls.mount(path, path, None, syscalls.MS_BIND)
            remount = syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY | flags | syscalls.MS_NOEXEC
            syscalls.mount("none", path, None, remount)
    syscalls.attach_mount(order.needed("code"), "/var/task")
    layers = order.one("layers")
    if layers is not None:
        syscalls.attach_mount(layers, "/opt")
    syscalls.mount("shm", "/dev/shm", "tmpfs", flags, f"size={layout.SHARED_MEMORY},mode=1777")
    disk = order.one("tmp")
    if disk is not None:
        syscalls.attach_mount(disk, "/tmp")
    else:
        syscalls.mount("tmp", "/tmp", "tmpfs", flags, f"size={order.ephemeral_mib}m,mode=1777")


def _settle(order: Order, control: socket.socket, runtime_main: init.RuntimeMain | None) -> init.Init:
    """Gives up every privilege."""
    output, log = init.out_of_the_way(order.needed("output")), init.out_of_the_way(order.needed("log"))
    watch = order.one("watch")
    watchdog = None
    if watch is not None:
        watchdog = Watchdog(init.out_of_the_way(watch), order.memory_bytes, init.descendants)
    environment = init.Init(control, output, log, "/var/task", runtime_main, watchdog, caged=True)
    init.limit_resources(layout.PROCESSES_MAX, layout.DESCRIPTORS_MAX)
    os.setsid()
    become_nobody(order.host_id, rootless=order.rootless)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.install_seccomp(_FILTER)
    return environment


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
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{layout.USER_ID} {host_id} 1"),
        ("gid_map", f"{layout.GROUP_ID} {host_id} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    syscalls.drop_capabilities()
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
