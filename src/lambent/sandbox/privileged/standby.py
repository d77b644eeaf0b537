"""A runtime's program that is executed before anybody knows its function.

It waits in the sealed cell for its variables, which come over a pipe, and by then code, layers and limits are attached.
It was started with its installation's variables alone. Its output goes to pipes of the cell's own, because what a
program has for its output cannot be changed from outside.
"""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, NoReturn

from . import init, syscalls

WAIT_VARIABLE = "_LAMBENT_WAIT_FD"  # tells the program where its variables will come from

if TYPE_CHECKING:
    from . import wire


class Standby:
    """Init's hold on it. Once called, or let go, it is nobody's any more: it is never called twice."""

    def __init__(self, program: wire.Message, output_fd: int, log_fd: int) -> None:
        """Raises OSError when nothing can be forked; a program that cannot be executed ends, and is not there to call."""
        self.argv: list[str] = program["argv"]
        waiting, writing = os.pipe2(os.O_CLOEXEC)
        self.pid = syscalls.fork()
        if self.pid == 0:
            _become(self.argv, program["variables"], init.out_of_the_way(waiting), output_fd, log_fd)
        os.close(waiting)
        self.descriptor = init.out_of_the_way(writing)
        if self.pid < 0:
            os.close(self.descriptor)
            raise OSError("no process could be started")

    def suits(self, message: wire.Message) -> bool:
        """Whether it is what this order to start asks for."""
        return bool(message["ahead"]) and bool(message["argv"] == self.argv)

    def call(self, message: wire.Message, _descriptors: list[int]) -> bool:
        """Whether it was still there to hear it."""
        try:
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


def _become(argv: list[str], variables: dict[str, str], wait_fd: int, output_fd: int, log_fd: int) -> NoReturn:
    """In the child. Never returns, whatever happens; what goes wrong is met again by whoever starts the program anew."""
    try:
        null_fd = init.out_of_the_way(os.open("/dev/null", os.O_RDWR))
        init.become_ordinary(caged=True)
        init.settle(output_fd, log_fd, null_fd, fourth_fd=wait_fd)
        os.chdir("/")
        os.set_inheritable(init.STATUS_FD, True)
        os.execve(argv[0], argv, {**variables, WAIT_VARIABLE: str(init.STATUS_FD)})
    except BaseException:
        os._exit(1)
