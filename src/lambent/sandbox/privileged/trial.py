"""A life on trial: a cell whose function is our own, to see which pages its processes come to need.

Before that init's part is practised in the zygote, so that it is the zygote's memory in which the interpreter notes what it learns.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

from . import cell, init, pages, syscalls, understudy, wire

# A nobody in a user namespace of its own: no other id of the host's is taken.
_ORDER = {"name": "trial", "host_id": 0, "endpoint_port": 0, "rootless": True, "hurried": False, "program": None}
_LIVE = {"op": "live", "memory_bytes": 0, "called": True, "ordered": False}  # and no descriptor to watch memory by
_START = {"op": "start", "name": "runtime", "argv": [], "fork": True, "ahead": False, "telemetry": True, "image": None}
_BEYOND_DESCRIPTORS = 1 << 20
_TIMEOUT_S = 3.0
_READ_BYTES = 64 * 1024


def practise(variables: dict[str, str]) -> None:
    """What init and a runtime that waits do with their orders, with descriptors and with messages. Nothing is left of it."""
    ours, theirs = wire.pair()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        wire.send(ours, _ORDER, [null, null])
        order = cell.Order(*wire.receive(theirs))
        wire.close_all([init.out_of_the_way(descriptor) for descriptor in order.descriptors])
        made = init.Init("/", None, _Stand(), caged=True)
        wire.send(ours, {**_START, "variables": variables})
        wire.receive(theirs)
        made.take_over(theirs.detach(), null, null, None)
        made.runtime_was_called()
        wire.send(ours, {"op": "end"})
        made.run()
        made.undo()
        syscalls.write_to("/dev/null", b"0")
        syscalls.unshare(0)
        syscalls.close_from(_BEYOND_DESCRIPTORS)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)  # as it is already
    finally:
        os.close(null)
        ours.close()


class _Stand(understudy.Understudy):
    """For one that waits, and was called."""

    def __init__(self) -> None:
        self._restores = False
        self.pid = -1

    def forget(self) -> None:
        """It has no channel."""


def learn(client: init.Client, rehearsal: init.Rehearsal) -> None:
    """Tells `client` what its cells will need. Raises OSError, EOFError, wire.MessageError when that cannot be found out.

    Somebody else holds the trial: what this process wrote to meanwhile would seem to be written by the others.
    """
    ours, theirs = wire.pair()
    pid = syscalls.fork()
    if pid == 0:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            for runs in _try(client, rehearsal, os.getppid()):
                theirs.send(runs)
        except BaseException:  # the outermost edge of this process
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(0)
    theirs.close()
    if pid < 0:
        raise OSError("no process could be started")
    try:
        with ours:
            ours.settimeout(2 * _TIMEOUT_S)
            init_written, init_read, init_alone, written, read = (ours.recv(_READ_BYTES) for _ in range(5))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    client.needed_by_init = pages.Needed(init_written, init_read)
    client.needed_by_init_again = pages.Needed(init_alone)  # its fork shares all that it had
    client.needed = pages.Needed(written, read)


def _try(client: init.Client, rehearsal: init.Rehearsal, zygote: int) -> tuple[bytes, ...]:
    """In a process of its own, which ends after it, and the cell with that."""
    ours, theirs = wire.pair()
    pid, _ = syscalls.fork_into(syscalls.CLONE_NEWPID)
    if pid == 0:
        try:
            cell.live(cell.Order(_ORDER, [theirs.detach()]), client)
        finally:
            os._exit(0)
    theirs.close()
    ours.settimeout(_TIMEOUT_S)
    waiting, listener = _sealed(ours)
    _called(waiting, {**_START, "variables": rehearsal.variables})
    with _moved_in(ours), _served(listener, rehearsal):
        _show_processes()
        runtime = _only_child(pid)
        return (*pages.needed(pid, zygote), pages.needed(pid, pid)[0], *pages.needed(runtime, pid))


def _sealed(intake: socket.socket) -> tuple[socket.socket, socket.socket]:
    """The channel to the runtime that waits, and the Runtime API's listener."""
    message, descriptors = wire.receive(intake)
    if message["event"] != "sealed":
        raise OSError(str(message.get("reason")))
    mounts, network, waiting, listening = descriptors
    wire.close_all([mounts, network])
    return socket.socket(fileno=waiting), socket.socket(fileno=listening)


def _called(waiting: socket.socket, start: wire.Message) -> None:
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    ordering, order = wire.pair()
    with ordering, order:
        wire.send(ordering, start)
        understudy.call(waiting, [null, null, order.fileno()])
    understudy.let_begin(waiting)
    os.close(null)


def _moved_in(intake: socket.socket) -> socket.socket:
    """The server's end of init's control socket."""
    control, theirs = wire.pair()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    with theirs:
        wire.send(intake, _LIVE, [theirs.fileno(), null, null])
    os.close(null)
    return control


def _served(listener: socket.socket, rehearsal: init.Rehearsal) -> socket.socket:
    """The runtime's connection to its API, after two events: it asks for a third."""
    listener.settimeout(_TIMEOUT_S)
    connection, _ = listener.accept()
    connection.settimeout(_TIMEOUT_S)
    for said in (rehearsal.event, rehearsal.accepted + rehearsal.event):
        _hear(connection, b"/next ")
        connection.sendall(said)
    _hear(connection, b"/next ")
    return connection


def _hear(connection: socket.socket, awaited: bytes) -> None:
    heard = b""
    while awaited not in heard:
        data = connection.recv(_READ_BYTES)
        if not data:
            raise EOFError
        heard += data


def _show_processes() -> None:
    """In /proc, which is there for the cells to mount on."""
    if not os.path.exists("/proc/self"):
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)


def _only_child(pid: int) -> int:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        (child,) = file.read().split()
    return int(child)
