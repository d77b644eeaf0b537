"""A zygote: one thread, one interpreter, already inside the read-only root; every message makes it fork an environment.

It still is the host's root, because its children have to mount. So it listens to the launcher alone, and runs no code
that anybody but root can have written.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys

from . import cell, gaps, gathering, immortal, init, layout, syscalls, trial, wire

_ROUNDS = 24  # after as many lives no interpreter learns more about the code; 3.11 is the slowest
_PRELOAD = "lambent_runtime"  # in /var/runtime: preload() is called once here, main() in each environment


def serve(channel: socket.socket, client: init.Client | None) -> None:
    """Until the launcher closes its end."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    gc.disable()  # neither this loop nor an init leaves garbage; a runtime turns it on again
    _settle(client)
    wire.send(channel, {"event": "ready"})
    while True:
        try:
            message, descriptors = wire.receive(channel)
        except EOFError:
            return
        if message["op"] == "reap":
            os.waitpid(int(message["pid"]), 0)
        else:
            _fork(channel, message, descriptors, client)


def _settle(client: init.Client | None) -> None:
    """Brings this process's memory into a state in which its children need as few pages of their own as can be."""
    rehearsal = client.rehearsal if client is not None else None
    if rehearsal is not None:
        gaps.take_up()
        gathering.gather(rehearsal.live, always=__package__)
        for _ in range(_ROUNDS):
            rehearsal.live()
            trial.practise(rehearsal.variables)
        init.take_variables(rehearsal.variables)  # most of them are every function's, and its process has them then
    gc.collect()
    immortal.make_everything_immortal()
    gaps.take_up()
    gc.freeze()
    if client is not None and rehearsal is not None:
        with contextlib.suppress(OSError, EOFError, wire.MessageError):  # then its children meet their pages one by one
            trial.learn(client, rehearsal)


def _fork(channel: socket.socket, message: wire.Message, descriptors: list[int], client: init.Client | None) -> None:
    """What this process writes to between two forks, the children do not share: so it does as little as can be."""
    name = message["name"]
    try:
        pid, pidfd = syscalls.fork_into(syscalls.CLONE_NEWPID)
        if pid == 0:
            channel.close()
            if client is not None:
                client.needed_by_init.have()
            _live(message, descriptors, client)
    except OSError as error:
        wire.close_all(descriptors)
        wire.send(channel, {"event": "failed", "name": name, "reason": str(error)})
        return
    wire.close_all(descriptors)
    wire.send(channel, {"event": "forked", "name": name, "pid": pid}, [pidfd])
    os.close(pidfd)


def _live(message: wire.Message, descriptors: list[int], client: init.Client | None) -> None:
    try:
        cell.live(cell.Order(message, descriptors), client)
    except BaseException:  # the outermost edge: report where the server reads the output, and end
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0)


def main() -> None:
    """A zygote that was executed on the function's own interpreter: argv is CHANNEL_FD."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(channel.fileno(), False)
    sys.argv = ["/var/runtime/bootstrap.py"]
    sys.path[0] = "/var/runtime"  # instead of ours, which is about to go
    __import__(_PRELOAD)
    client = sys.modules[_PRELOAD]
    client.preload()
    syscalls.unmount(f"{layout.PRIVATE_DIR}/privileged")
    rehearsal = init.Rehearsal(*client.rehearsal()) if hasattr(client, "rehearsal") else None
    optional = {name: getattr(client, name, None) for name in ("touch", "restore", "connected", "attaching", "forget")}
    serve(channel, init.Client(client.main, rehearsal=rehearsal, **optional))
