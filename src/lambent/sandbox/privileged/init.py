"""An environment's init: starts the runtime and the extensions, reaps, and tells the server how each of them ended.

In a cage it is the first process of the PID namespace. At level `process` it is an ordinary child of the server and the
subreaper of everything that the function starts. It has one thread, no privileges, and holds one end of a control
socket. When the other end closes, the environment ends.

It need not be init that is told to start the runtime: one that waits may be called by the launcher, see `understudy.py`.

Told:  {"op": "start", "name", "argv", "fork", "ahead", "variables", "telemetry"}, and a descriptor when it prints elsewhere
       {"op": "start", …, "image": "take" | "restore"}, and the image's descriptor: the runtime alone, and by fork alone
       {"op": "signal", "name", "number"} · {"op": "end"}
       {"op": "connect", "port", "id"}: to the loopback inside, which only the cage's own processes can reach
Tells: {"event": "started", "name", "pid"} · {"event": "failed", "name", "errno", "path"}
       {"event": "connected", "id", "errno"} with a descriptor when errno is 0
       {"event": "exit", "name", "status", "signal", "memory"}
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from . import layout, syscalls, wire
from .pages import Needed
from .watchdog import Watchdog

RUNTIME = "runtime"  # the name of that child
TELEMETRY_FD = 3  # what _LAMBDA_TELEMETRY_LOG_FD says in the runtime process
STATUS_FD = 4  # closed by a successful exec; otherwise tells its errno. One started ahead gets its variables by it
_CONNECT_TIMEOUT_S = 1.0
_FIRST_TO_GO = b"500"  # of 1,000; what else runs on a machine has 0
_NO_PRIORITY = os.sched_param(0)  # the only one that ordinary scheduling policies have
_SIGCHLD, _SIGINT, _SIGKILL = int(signal.SIGCHLD), int(signal.SIGINT), int(signal.SIGKILL)
_SIG_DFL = int(signal.SIG_DFL)
_RESET_SIGNALS = (_SIGCHLD, int(signal.SIGPIPE), _SIGINT, int(signal.SIGTERM))
_AS_BYTES = "surrogateescape"  # what is no UTF-8 in a variable
_KEY_BYTES = 32  # of what processes of one program know each other by; multiprocessing takes as many
_OWN_FDS_FROM = 10  # init's own descriptors, out of the way of those that children get

if TYPE_CHECKING:
    import signal as _signal

    from .standby import Standby
    from .understudy import Understudy
else:
    import _signal  # `signal` makes members of enumerations of all numbers, which touches much shared memory


class Rehearsal:
    """A life of a runtime to try: `live` here, from its variables to its end, and what one needs that lives elsewhere."""

    def __init__(self, live: Callable[[], None], variables: dict[str, str], event: bytes, accepted: bytes) -> None:
        self.live = live
        self.variables = variables
        self.event = event  # the Runtime API's answer to a request for one
        self.accepted = accepted  # the one to a response


class Client:
    """The preloaded client of a runtime that starts by fork. `touch`, if it has one, readies a process that waits; where its memory is
    there already, `forget` does: it takes away what belongs to the forking process.

    One that can be `connected(descriptor)` gets a connection to the Runtime API which was made while it waited. One that can be told that
    its code is still `attaching(wait)` is begun before it is there, and calls `wait()` before it looks.

    `restore(variables)` goes on from the image behind descriptor 4, and never returns; `restore(None, channel_fd)` waits for it.
    """

    def __init__(
        self,
        main: Callable[[], None],
        touch: Callable[[], None] | None = None,
        restore: Callable[..., None] | None = None,
        rehearsal: Rehearsal | None = None,
        connected: Callable[[int], None] | None = None,
        attaching: Callable[[Callable[[], None]], None] | None = None,
        forget: Callable[[], None] | None = None,
    ) -> None:
        self.main = main
        self.attaching = attaching
        self.forget = forget
        self.connected = connected
        self.touch = touch
        self.restore = restore
        self.rehearsal = rehearsal
        # Pages: of init, of init when the runtime has been forked, of the runtime.
        self.needed_by_init = self.needed_by_init_again = self.needed = Needed()


class Init:
    """The loop. `client` is None where every runtime starts by exec; `waiting` is a runtime that was started ahead.

    A sealed cell makes it before it has a function, and so before it has descriptors: `take_over`, then `run`.
    """

    control: socket.socket
    output_fd: int
    log_fd: int

    def __init__(
        self,
        directory: str,
        client: Client | None = None,
        waiting: Understudy | Standby | None = None,
        caged: bool = False,
    ) -> None:
        self.directory = directory
        self.client = client
        self.waiting = waiting
        self.watchdog: Watchdog | None = None
        self.caged = caged
        self.children: dict[int, str] = {}
        self.null_fd = out_of_the_way(os.open("/dev/null", os.O_RDWR))
        self._is_over = False
        self._wake_read, self._wake_write = (out_of_the_way(end) for end in os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
        self._poll = select.poll()
        self._poll.register(self._wake_read, select.POLLIN)
        _signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        _signal.signal(_SIGCHLD, lambda *_: None)
        if caged:
            # The kernel keeps from the first process of a namespace what those in it send, unless it has a handler.
            _signal.signal(_SIGINT, _SIG_DFL)

    def take_over(self, control_fd: int, output_fd: int, log_fd: int, watchdog: Watchdog | None) -> None:
        """An environment."""
        self.control = socket.socket(fileno=control_fd)
        self.output_fd = output_fd
        self.log_fd = log_fd
        self.watchdog = watchdog
        self._poll.register(self.control, select.POLLIN)

    def runtime_was_called(self) -> None:
        """By the launcher: the one that waited."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.forget()
            self._started(RUNTIME, waiting.pid)

    def obey_first(self, orders: socket.socket) -> None:
        """The order to start the runtime, before anything else: the rest of init's own can wait for it."""
        with orders, contextlib.suppress(EOFError):
            message, descriptors = wire.receive(orders)
            self._obey(message, descriptors)

    def keep_only_its_own(self) -> None:
        """Closes every descriptor that init does not need, and lets its own complaints go where the function's go."""
        os.dup2(self.null_fd, 0)
        os.dup2(self.output_fd, 1)
        os.dup2(self.output_fd, 2)
        kept_fds = [self.control.fileno(), self.output_fd, self.log_fd, self.null_fd, self._wake_read, self._wake_write]
        if self.waiting is not None:
            kept_fds.append(self.waiting.descriptor)
        close_all_but(kept_fds)

    def run(self) -> None:
        """Until the server closes its end or says "end"; then ends every descendant and returns."""
        interval_ms = self.watchdog.interval_ms if self.watchdog else None
        while not self._is_over:
            self._turn(interval_ms)
        self._end_all()

    def undo(self) -> None:
        """Leaves the process as it was before this was made. Descriptors that were given are the giver's."""
        _signal.set_wakeup_fd(-1)
        _signal.signal(_SIGCHLD, _SIG_DFL)
        self.control.close()
        wire.close_all([self._wake_read, self._wake_write, self.null_fd])

    def _turn(self, patience_ms: int | None) -> None:
        for descriptor, _ in self._poll.poll(patience_ms):
            if descriptor == self._wake_read:
                os.read(self._wake_read, 4096)
            elif not self._hear():
                self._is_over = True
        if self.watchdog is not None:
            self.watchdog.look(list(self.children))
        self._reap()

    def _hear(self) -> bool:
        try:
            message, descriptors = wire.receive(self.control)
        except EOFError:
            return False
        return self._obey(message, descriptors)

    def _obey(self, message: wire.Message, descriptors: list[int]) -> bool:
        operation = str(message["op"])
        if operation == "start" and message.get("image"):
            self._start_with_image(message, descriptors)
        elif operation == "start":
            self._start(message, descriptors[0] if descriptors else self.output_fd)
        elif operation == "signal":
            for pid, name in self.children.items():
                if name == message["name"]:
                    syscalls.signal_main_thread(pid, int(message["number"]))
        elif operation == "connect":
            self._connect(str(message["id"]), int(message["port"]))
        wire.close_all(descriptors)
        return operation != "end"

    def _connect(self, key: str, port: int) -> None:
        """A connection on loopback is made or refused at once; with a full backlog it is given up after a second."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
            connection.settimeout(_CONNECT_TIMEOUT_S)
            try:
                connection.connect(("127.0.0.1", port))
            except OSError as error:
                self._tell({"event": "connected", "id": key, "errno": error.errno or errno.ETIMEDOUT})
                return
            connection.settimeout(None)
            with contextlib.suppress(OSError):
                wire.send(self.control, {"event": "connected", "id": key, "errno": 0}, [connection.fileno()])

    def _tell(self, message: wire.Message) -> None:
        with contextlib.suppress(OSError):  # the server is gone; the next receive says so and ends us
            wire.send(self.control, message)

    def _start(self, message: wire.Message, output_fd: int) -> None:
        name = str(message["name"])
        if message["telemetry"] and self._call_waiting(name, message, output_fd):
            return
        status_read, status_write = (out_of_the_way(end) for end in os.pipe2(os.O_CLOEXEC))
        pid = syscalls.fork()
        if pid == 0:
            self._become(message, status_write, output_fd)
        os.close(status_write)
        failure = os.read(status_read, 16)
        os.close(status_read)
        if pid < 0:
            self._tell({"event": "failed", "name": name, "errno": errno.EAGAIN, "path": ""})
        elif failure:
            os.waitpid(pid, 0)
            self._tell({"event": "failed", "name": name, "errno": int(failure), "path": message["argv"][0]})
        else:
            self._started(name, pid)

    def _started(self, name: str, pid: int) -> None:
        self.children[pid] = name
        self._tell({"event": "started", "name": name, "pid": pid})

    def _start_with_image(self, message: wire.Message, descriptors: list[int]) -> None:
        """Only the understudy has the memory, and the process number, that the image is of."""
        name = str(message["name"])
        if not self._call_waiting(name, message, self.output_fd, descriptors):
            self._tell({"event": "failed", "name": name, "errno": errno.ESRCH, "path": ""})

    def _call_waiting(self, name: str, message: wire.Message, output_fd: int, image_fds: Sequence[int] = ()) -> bool:
        """Whether the runtime that waits is now the one asked for. If it is another one, nobody will ever call it."""
        waiting, self.waiting = self.waiting, None
        if waiting is None:
            return False
        if not waiting.suits(message):
            waiting.let_go()
            return False
        if not waiting.call(message, [output_fd, self.log_fd, *image_fds]):
            return False
        self._started(name, waiting.pid)
        return True

    def _become(self, message: wire.Message, status_fd: int, output_fd: int) -> NoReturn:
        """In the child. Never returns, whatever happens."""
        try:
            log_fd = self.log_fd if message["telemetry"] else None
            # First: extensions run already, and may read and write the memory of one that is ordinary.
            settle(output_fd, log_fd, self.null_fd, fourth_fd=status_fd)
            become_ordinary(caged=self.caged)
            os.chdir(self.directory)
            variables: dict[str, str] = message["variables"]
            if message["fork"] and self.client is not None:
                os.close(STATUS_FD)
                take_variables(variables)
                run_runtime(self.client)
            argv: list[str] = message["argv"]
            os.execve(argv[0], argv, variables)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.write(STATUS_FD, b"%d" % (error.errno or errno.EIO))
        except BaseException:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
        os._exit(1)

    def _reap(self) -> None:
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self.waiting is not None and pid == self.waiting.pid:
                self.waiting.forget()
                self.waiting = None
            name = self.children.pop(pid, None)
            if name is not None:
                status, number = _how(wait_status)
                memory = self.watchdog is not None and self.watchdog.killed
                self._tell({"event": "exit", "name": name, "status": status, "signal": number, "memory": memory})

    def _end_all(self) -> None:
        """Kills until nothing is left. In a PID namespace the kernel does the same when its first process exits."""
        if self.caged:
            return
        _signal.signal(_SIGCHLD, _SIG_DFL)
        while True:
            for pid in descendants(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return


def become_ordinary(*, caged: bool) -> None:
    """In a child: what init is and its children are not."""
    _signal.set_wakeup_fd(-1)
    for number in _RESET_SIGNALS:
        _signal.signal(number, _SIG_DFL)
    os.setsid()
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _SIGKILL)
    if caged:
        # Init is out of reach of its siblings; the function's process is an ordinary one, which may look at itself.
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    _be_first_to_go()
    stand_back()
    os.umask(0o022)


def settle(
    output_fd: int, log_fd: int | None, null_fd: int, *, fourth_fd: int | None = None, kept_fds: Sequence[int] = ()
) -> None:
    """In a child: the descriptors that a program finds. Those given are above 10.

    `fourth_fd` becomes descriptor 4, which ends with an exec: where a failed exec is told, an image, or a connection.
    """
    os.dup2(null_fd, 0)
    os.dup2(output_fd, 1)  # before the numbers below are taken, one of which it may have
    os.dup2(output_fd, 2)
    if fourth_fd is not None:
        os.dup2(fourth_fd, STATUS_FD, inheritable=False)
    if log_fd is not None:
        os.dup2(log_fd, TELEMETRY_FD)
    else:
        os.dup2(null_fd, TELEMETRY_FD, inheritable=False)
    close_all_but(kept_fds, first=TELEMETRY_FD + 1 if fourth_fd is None else STATUS_FD + 1)


def connect_to_runtime_api() -> int | None:
    """Ahead: its listener is there before it has a server, which finds the connection when it comes."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.connect(("127.0.0.1", layout.RUNTIME_API_PORT))
    except OSError:
        connection.close()
        return None  # the client will make its own
    return out_of_the_way(connection.detach())


def take_variables(variables: dict[str, str]) -> None:
    """These, and no others. Those that a rehearsal has left as they are to be stay: to set one takes the C library a search."""
    held: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]  # the mapping itself is slow, and touches much shared memory
    wanted = {name.encode("utf-8", _AS_BYTES): value.encode("utf-8", _AS_BYTES) for name, value in variables.items()}
    for name in [name for name in held if name not in wanted]:
        del held[name]
        os.unsetenv(name)
    for name, value in wanted.items():
        if held.get(name) != value:
            held[name] = value
            os.putenv(name, value)


def run_runtime(client: Client) -> NoReturn:
    random = sys.modules.get("random")
    if random is not None:
        random.seed()
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None:
        multiprocessing.current_process().authkey = os.urandom(_KEY_BYTES)
    gc.enable()
    client.main()
    os._exit(0)


def _be_first_to_go() -> None:
    """When the machine's memory runs out: before everything that is not a function."""
    with contextlib.suppress(OSError):  # a kernel without it
        syscalls.write_to("/proc/self/oom_score_adj", _FIRST_TO_GO)


def stand_back() -> None:
    """A function that is given its event takes the processor from nobody: the server hands out the rest of its answers first.

    Nor does an init, which would take it from the runtime that begins.
    """
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, _NO_PRIORITY)


def _how(wait_status: int) -> tuple[int | None, int | None]:
    if os.WIFSIGNALED(wait_status):
        return None, os.WTERMSIG(wait_status)
    return os.WEXITSTATUS(wait_status), None


def descendants(ancestor: int) -> list[int]:
    """Every process below `ancestor`, parents first. Reads /proc."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            parent = _parent_of(entry)
            if parent is not None:
                children.setdefault(parent, []).append(int(entry))
    found: list[int] = []
    pending = [ancestor]
    while pending:
        below = children.get(pending.pop(), [])
        found.extend(below)
        pending.extend(below)
    return found


def _parent_of(pid: str) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[1])
    except OSError:
        return None  # it has ended meanwhile


def out_of_the_way(descriptor: int) -> int:
    """The same descriptor at a number that children do not use; closes the old one."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _OWN_FDS_FROM)
    os.close(descriptor)
    return moved


def close_all_but(kept_fds: Sequence[int], *, first: int = 3) -> None:
    for kept in sorted(kept_fds):
        syscalls.close_from(first, kept - 1)
        first = kept + 1
    syscalls.close_from(first)


def limit_resources(processes: int, descriptors: int) -> None:
    # None, not even to a program: with 0 the kernel still starts the one that the host's core_pattern names, as the host's root.
    with contextlib.suppress(OSError, ValueError):  # a host that allows none, and no change of that
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    if processes:
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))


def main() -> None:
    """Level `process`: argv is CONTROL_FD OUTPUT_FD LOG_FD DIRECTORY MEMORY_BYTES WATCH_FD DESCRIPTORS."""
    control_fd, output_fd, log_fd = (out_of_the_way(int(number)) for number in sys.argv[1:4])
    watchdog = Watchdog(out_of_the_way(int(sys.argv[6])), int(sys.argv[5]), descendants)
    os.setsid()
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    # NPROC counts all of the user's processes at this level, so it is left alone.
    limit_resources(0, int(sys.argv[7]))
    made = Init(sys.argv[4])
    made.take_over(control_fd, output_fd, log_fd, watchdog)
    made.run()
