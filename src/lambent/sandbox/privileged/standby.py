"""A runtime's program that is executed before anybody knows its function.

It waits in the sealed cell for its variables, which come over a pipe, and by then code, layers and limits are attached.
It was started with its installation's variables alone. Its output goes to pipes of the cell's own, because what a
program has for its output cannot be changed from outside. Its working directory is one with init's until it is called: code
is attached over the directory in which it was started, and not every program could enter it anew.
"""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, NoReturn

from . import init, syscalls

WAIT_VARIABLE = "_LAMBENT_WAIT_FD"  # tells the program where its variables will come from
CONNECTION_VARIABLE = "_LAMBENT_CONNECTION_FD"  # where there is a connection to the Runtime API, for one that wants it
_CONNECTION_FD = 5
_DIRECTORY = "/var/task"

if TYPE_CHECKING:
    from . import wire


class Standby:
    """Init's hold on it. Once called, or let go, it is nobody's any more: it is never called twice."""

    def __init__(self, program: wire.Message, output_fd: int, log_fd: int) -> None:
        """Raises OSError when nothing can be forked; a program that cannot be executed ends, and is not there to call."""
        self.argv: list[str] = program["argv"]
        waiting, writing = os.pipe2(os.O_CLOEXEC)
        try:
            self.pid = syscalls.fork_sharing_directory()
        except OSError:
            os.close(waiting)
            os.close(writing)
            raise
        if self.pid == 0:
            _become(program, init.out_of_the_way(waiting), output_fd, log_fd)
        os.close(waiting)
        self.descriptor = init.out_of_the_way(writing)

    def suits(self, message: wire.Message) -> bool:
        """Whether it is what this order to start asks for."""
        return bool(message["ahead"]) and bool(message["argv"] == self.argv)

    def call(self, message: wire.Message, _descriptors: list[int]) -> bool:
        """Whether it was still there to hear it."""
        try:
            os.chdir(_DIRECTORY)  # where the function's code is by now
            syscalls.unshare(syscalls.CLONE_FS)
            data = memoryview(json.dumps(message["variables"]).encode())
            while data:
                data = data[os.write(self.descriptor, data) :]
        except OSError:
            return False
        finally:
            os.close(self.descriptor)
        return True

    def forget(self) -> None:
        """It has ended."""
        os.close(self.descriptor)

    def let_go(self) -> None:
        self.forget()
        os.kill(self.pid, signal.SIGKILL)  # it has not been reaped: init would have forgotten it then


def _become(program: wire.Message, wait_fd: int, output_fd: int, log_fd: int) -> NoReturn:
    """In the child. Never returns, whatever happens; what goes wrong is met again by whoever starts the program anew."""
    try:
        null_fd = init.out_of_the_way(os.open("/dev/null", os.O_RDWR))
        init.become_ordinary(caged=True)
        init.settle(output_fd, log_fd, null_fd, fourth_fd=wait_fd)
        os.chdir(_DIRECTORY)
        os.set_inheritable(init.STATUS_FD, True)
        variables = {**program["variables"], WAIT_VARIABLE: str(init.STATUS_FD)}
        if program["connected"] and (connection_fd := init.connect_to_runtime_api()) is not None:
            os.dup2(connection_fd, _CONNECTION_FD)
            variables[CONNECTION_VARIABLE] = str(_CONNECTION_FD)
        os.execve(program["argv"][0], program["argv"], variables)
    except BaseException:
        os._exit(1)
