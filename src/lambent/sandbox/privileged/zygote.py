"""A zygote: one thread, one interpreter, already inside the read-only root; every message makes it fork an environment.

It still is the host's root, because its children have to mount. So it listens to the launcher alone, and runs no code
that anybody but root can have written.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys

from . import cell, init, layout, syscalls, wire

_PRELOAD = "lambent_runtime"  # in /var/runtime: preload() is called once here, main() in each environment


def serve(channel: socket.socket, own_pid_namespace: int, runtime_main: init.RuntimeMain | None) -> None:
    """Until the launcher closes its end."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    gc.collect()
    gc.freeze()
    wire.send(channel, {"event": "ready"})
    while True:
        try:
            message, descriptors = wire.receive(channel)
        except EOFError:
            return
        if message["op"] == "reap":
            os.waitpid(int(message["pid"]), 0)
        else:
            _fork(channel, cell.Order(message, descriptors), own_pid_namespace, runtime_main)


def _fork(
    channel: socket.socket, order: cell.Order, own_pid_namespace: int, runtime_main: init.RuntimeMain | None
) -> None:
    try:
        syscalls.unshare(syscalls.CLONE_NEWPID)  # for the next child
        pid = syscalls.fork()
        if pid == 0:
            channel.close()
            os.close(own_pid_namespace)
            _live(order, runtime_main)
        syscalls.setns(own_pid_namespace, syscalls.CLONE_NEWPID)
        if pid < 0:
            raise OSError("fork failed")
        # The child is ours and not reaped before the launcher says so, hence the number is still its own.
        pidfd = syscalls.pidfd_open(pid)
    except OSError as error:
        wire.close_all(order.descriptors)
        wire.send(channel, {"event": "failed", "id": order.environment_id, "reason": str(error)})
        return
    wire.close_all(order.descriptors)
    wire.send(channel, {"event": "forked", "id": order.environment_id, "pid": pid}, [pidfd])
    os.close(pidfd)


def _live(order: cell.Order, runtime_main: init.RuntimeMain | None) -> None:
    try:
        cell.live(order, runtime_main)
    except BaseException:  # the outermost edge: report where the server reads the output, and end
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0)


def main() -> None:
    """A zygote that was executed on the function's own interpreter: argv is CHANNEL_FD PID_NAMESPACE_FD."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    own_pid_namespace = int(sys.argv[2])
    for descriptor in (channel.fileno(), own_pid_namespace):
        os.set_inheritable(descriptor, False)
    sys.argv = ["/var/runtime/bootstrap.py"]
    sys.path[0] = "/var/runtime"  # instead of ours, which is about to go
    __import__(_PRELOAD)
    client = sys.modules[_PRELOAD]
    client.preload()
    syscalls.unmount(f"{layout.PRIVATE_DIR}/privileged")
    serve(channel, own_pid_namespace, client.main)
