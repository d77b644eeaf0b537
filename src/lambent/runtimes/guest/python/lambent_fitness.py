"""What a process holds besides its memory: what of it can be had again where the process is continued, and what cannot."""

import ctypes
import os
import re
import signal
import socket

import lambent_leftovers

READ_ONLY_ROOTS = ("/var/task/", "/opt/", "/var/lang/", "/var/runtime/", "/usr/", "/lib", "/bin/", "/etc/")


class Unfit(Exception):
    """This process cannot be continued from an image; says why, for the function's owner."""


class Beginning:
    """What a process has before the function's code runs: these descriptors, and filters of system calls."""

    def __init__(self, numbers):
        self.descriptors = _targets(numbers)
        self.filters = _filters()


def check(beginning):
    """What can be had again: files ([number, path, flags, position] …), sockets ([number, family, flags] …), paths in /tmp.

    Raises Unfit.
    """
    if len(os.listdir("/proc/self/task")) > 1:
        _let_threads_leave()
    threads = len(os.listdir("/proc/self/task")) - 1
    if threads:
        raise Unfit(f"the init code left {threads} thread{'s' if threads > 1 else ''} running besides the main one")
    own = {"1", str(os.getpid())}
    if any(name.isdigit() and name not in own for name in os.listdir("/proc")):
        raise Unfit("the init code left another process running")
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        if signal.getitimer(timer)[0]:
            raise Unfit("the init code left a timer running")
    if _filters() != beginning.filters:
        raise Unfit("the init code installed a filter of system calls")
    shared = sorted(os.listdir("/dev/shm"))
    if shared:
        raise Unfit(f"the init code left /dev/shm/{shared[0]}; files there are not kept")
    left, reason = lambent_leftovers.survey()
    if reason is not None:
        raise Unfit(reason)
    return (*_descriptors(beginning.descriptors), left)


def _let_threads_leave():
    """Threads of libraries that prepare for a fork, as those of OpenBLAS do, end themselves for one."""
    pid = ctypes.PyDLL(None).fork()
    if pid == 0:
        os._exit(0)
    if pid > 0:
        os.waitpid(pid, 0)


def _descriptors(started_with):
    files, sockets = [], []
    if _targets(started_with) != started_with:
        raise Unfit("the init code replaced a descriptor that it was started with")
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        number = int(name)
        if number in started_with:
            continue
        try:
            path = os.readlink(f"/proc/self/fd/{number}")
            with open(f"/proc/self/fdinfo/{number}", encoding="ascii") as file:
                info = dict(line.split(":", 1) for line in file if ":" in line)
        except OSError:
            continue  # the one that the directory was read with
        flags = int(info["flags"], 8)
        family = _family_of_connection(number) if path.startswith("socket:") else None
        if family is not None:
            sockets.append([number, family, flags])
            continue
        is_device = path in ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random", "/dev/full")
        is_read = path.startswith(READ_ONLY_ROOTS) and flags & os.O_ACCMODE == os.O_RDONLY
        if not (is_device or (is_read and os.path.isfile(path))):
            raise Unfit(f"the init code left {_what(path)} open (descriptor {number})")
        files.append([number, path, flags & ~os.O_CLOEXEC, int(info["pos"])])
    return files, sockets


def _family_of_connection(number):
    """Of a TCP socket that listens to nobody; None for any other."""
    with socket.socket(fileno=os.dup(number)) as found:
        is_tcp = found.family in (socket.AF_INET, socket.AF_INET6) and found.proto == socket.IPPROTO_TCP
        listens = is_tcp and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        return int(found.family) if is_tcp and not listens else None


def _what(target):
    for prefix, words in (("socket:", "a socket"), ("pipe:", "a pipe"), ("anon_inode:", "")):
        if target.startswith(prefix):
            return words or "an " + target.partition(":")[2].strip("[]")
    return target


def _filters():
    """How many there are; None where the kernel does not say."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        found = re.search(r"^Seccomp_filters:\s+(\d+)$", file.read(), re.MULTILINE)
    return found and int(found[1])


def _targets(numbers):
    """What these descriptors are, in the kernel's words."""
    return {number: os.readlink(f"/proc/self/fd/{number}") for number in numbers}
