"""The launcher: the one process that stays root. It builds zygotes, control groups and disks, and ends environments.

It speaks to the server, which parses the network's bytes and is not trusted: code and layers come as descriptors that the
server itself could open for reading; host directories must be on the list that was given before the server gave up its
rights; sizes are bounded; a zygote imports only files of root. It never sees a function's variables or its payloads.

Told:  {"op": "launch", "id", …} · {"op": "destroy", "id"} · {"op": "prepare", …}
Tells: {"event": "hello", …} · {"event": "launched" | "refused" | "prepared" | "gone", "id", …}
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import select
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable

from . import cgroups, disks, layout, roots, syscalls, wire, zygote

_PYTHON = re.compile(r"/(?:[\w.+-]+/)*python3(?:\.\d+)?")
_ENVIRONMENT_ID = re.compile(r"[0-9a-f]{32}")
_LIBRARY_PATH = re.compile(r"(?:/(?:var|usr|opt|lib|lib64)(?:/[\w.+-]+)*:?)*")
_TARGETS = ("/var/lang", "/var/runtime", "/usr/", "/etc/")  # where installations may put what they bring
_MEMORY_MIB, _EPHEMERAL_MIB = (128, 10_240), (512, 10_240)
_DISKS_READY = 4  # of the default size, made while nothing else is to do
_RETRY_MS = 20  # a control group that is still emptying

_START = "import sys; sys.path.insert(0, {!r}); from privileged.zygote import main; main()"


class Refused(Exception):
    """The server asked for what it may not have, or the machine cannot give it."""


class Zygote:
    """The launcher's view of one: its socket, its process, and who waits for it."""

    def __init__(self, channel: socket.socket, pid: int, forks: bool) -> None:
        self.channel = channel
        self.pid = pid
        self.forks = forks  # the runtime too is a fork of it; else the runtime is executed
        self.ready = False
        self.waiting: list[Callable[[str | None], None]] = []  # called with a reason when it failed


class Environment:
    """What has to be given back when an environment ends."""

    def __init__(self, environment_id: str, host_id: int, owner: Zygote) -> None:
        self.environment_id = environment_id
        self.host_id = host_id
        self.owner = owner
        self.pid = -1
        self.pidfd = -1
        self.doomed = False  # to be destroyed as soon as it exists


class Launcher:
    """The loop. Everything in it is quick, except making the first zygote's root and refilling disks."""

    def __init__(self, server: socket.socket, settings: wire.Message) -> None:
        self.server = server
        self.rootless = bool(settings["rootless"])
        self.directory = str(settings["directory"])
        self.allowed = [os.path.realpath(path) for path in settings["allowed"]]
        self.endpoint_port = int(settings["endpoint_port"])
        self.warnings: list[str] = []
        self.groups: cgroups.CgroupsV1 | cgroups.CgroupsV2 | None = None
        self.disks: disks.Disks | None = None
        self.zygotes: dict[str, Zygote] = {}
        self.environments: dict[str, Environment] = {}
        self.host_ids: set[int] = set()
        self.next_host_id = 0
        self.host_id_block = (-1, 0)  # the lock that is held, and the first id
        self.emptying: set[str] = set()
        self.poll = select.poll()
        self.readers: dict[int, Callable[[], None]] = {}
        self.ending = False

    # the loop

    def run(self) -> None:
        """Until the server closes its end; then everything is destroyed."""
        self._prepare()
        self._watch(self.server.fileno(), self._hear_server)
        hello = {"event": "hello", "cgroups": self.groups.version if self.groups else None,
                 "disks": self.disks is not None, "warnings": self.warnings}  # fmt: skip
        self._tell(hello)
        while not self.ending:
            self._turn()
        self._shut_down()

    def _turn(self) -> None:
        refilling = self.disks is not None and self._refill_wanted
        timeout_ms = 0 if refilling else _RETRY_MS if self.emptying else None
        events = self.poll.poll(timeout_ms)
        for descriptor, _ in events:
            reader = self.readers.get(descriptor)
            if reader is not None:
                reader()
        self._remove_emptied()
        if not events and refilling:
            self._refill()

    _refill_wanted = True

    def _refill(self) -> None:
        try:
            self._refill_wanted = self.disks is not None and self.disks.refill(_EPHEMERAL_MIB[0], _DISKS_READY)
        except OSError:
            self._refill_wanted = False  # the next launch meets the same error and tells the server

    def _watch(self, descriptor: int, reader: Callable[[], None]) -> None:
        self.readers[descriptor] = reader
        self.poll.register(descriptor, select.POLLIN)

    def _unwatch(self, descriptor: int) -> None:
        del self.readers[descriptor]
        self.poll.unregister(descriptor)

    def _tell(self, message: wire.Message, descriptors: list[int] | None = None) -> None:
        try:
            wire.send(self.server, message, descriptors or ())
        except OSError:
            self.ending = True

    # starting and ending

    def _prepare(self) -> None:
        os.makedirs(f"{self.directory}/root", mode=0o700, exist_ok=True)
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            mountinfo = file.read()
        with open("/proc/self/cgroup", encoding="ascii") as file:
            own = file.read()
        instance = f"{os.stat(self.directory).st_ino:x}"
        self.groups = self._usable_groups(cgroups.best(mountinfo, own, instance))
        if not self.rootless:
            self.host_id_block = _take_host_id_block()
            self._prepare_disks()

    def _usable_groups(
        self, found: cgroups.CgroupsV1 | cgroups.CgroupsV2 | None
    ) -> cgroups.CgroupsV1 | cgroups.CgroupsV2 | None:
        if found is None:
            self.warnings.append("no control groups with memory, cpu and pids: memory is watched, not limited")
            return None
        try:
            found.prepare()
        except OSError as error:
            self.warnings.append(f"control groups cannot be used ({error}): memory is watched, not limited")
            return None
        return found

    def _prepare_disks(self) -> None:
        found = disks.Disks(f"{self.directory}/disks")
        try:
            found.prepare()
        except OSError as error:
            self.warnings.append(f"/tmp is held in memory and raises its limit: {error.strerror or error}")
        else:
            self.disks = found

    def _shut_down(self) -> None:
        for environment in self.environments.values():
            self._kill(environment)
        deadline = time.monotonic() + 10
        while (self.environments or self.emptying) and time.monotonic() < deadline:
            for descriptor, _ in self.poll.poll(_RETRY_MS):
                reader = self.readers.get(descriptor)
                if reader is not None and descriptor != self.server.fileno():
                    reader()
            self._remove_emptied()
        for known in list(self.zygotes.values()):
            known.channel.close()
            os.kill(known.pid, signal.SIGKILL)
            os.waitpid(known.pid, 0)
        if self.disks is not None:
            self.disks.close()
        if self.groups is not None:
            self.groups.close()

    # the server

    def _hear_server(self) -> None:
        try:
            message, descriptors = wire.receive(self.server)
        except (EOFError, OSError, wire.MessageError):
            self.ending = True
            return
        try:
            self._obey(message, descriptors)
        except (Refused, OSError, KeyError, TypeError, ValueError) as error:
            reason = str(error) if isinstance(error, (Refused, OSError)) else f"a malformed request: {error!r}"
            self._tell({"event": "refused", "id": str(message.get("id")), "reason": reason})
        finally:
            wire.close_all(descriptors)

    def _obey(self, message: wire.Message, descriptors: list[int]) -> None:
        operation, environment_id = message["op"], str(message["id"])
        if operation == "destroy":
            environment = self.environments.get(environment_id)
            if environment is None:
                self._tell({"event": "gone", "id": environment_id})
            else:
                self._kill(environment)
        elif operation == "prepare":
            self._zygote(message, lambda failure: self._prepared(environment_id, failure))
        elif operation == "launch":
            self._launch(message, descriptors)
        else:
            raise Refused(f"there is no operation {operation}")

    def _prepared(self, environment_id: str, failure: str | None) -> None:
        if failure is not None:
            self._tell({"event": "refused", "id": environment_id, "reason": failure})
        else:
            self._tell({"event": "prepared", "id": environment_id})

    # launching

    def _launch(self, message: wire.Message, descriptors: list[int]) -> None:
        environment_id = str(message["id"])
        if not _ENVIRONMENT_ID.fullmatch(environment_id) or environment_id in self.environments:
            raise Refused("the environment's id is not 32 hex digits, or is in use")
        if message["internet"]:
            raise Refused("internet access for functions is not available in this version; set `internet = false`")
        _bounded(message["memory_mib"], _MEMORY_MIB, "memory")
        _bounded(message["ephemeral_mib"], _EPHEMERAL_MIB, "/tmp")
        expected = 6 if message["layers"] else 5
        if len(descriptors) != expected:
            raise Refused(f"{len(descriptors)} descriptors came instead of {expected}")
        kept = [os.dup(descriptor) for descriptor in descriptors]

        def go(failure: str | None) -> None:
            try:
                if failure is not None:
                    raise Refused(failure)
                self._order(message, kept, self._zygote(message, None))
            except (Refused, OSError) as error:
                self._tell({"event": "refused", "id": environment_id, "reason": str(error)})
            finally:
                wire.close_all(kept)

        try:
            self._zygote(message, go)
        except BaseException:
            wire.close_all(kept)
            raise

    def _order(self, message: wire.Message, descriptors: list[int], owner: Zygote) -> None:
        """Gathers what the environment needs, hands it to the zygote, and answers the server."""
        environment_id = str(message["id"])
        memory_bytes = int(message["memory_mib"]) << 20
        ephemeral_mib = int(message["ephemeral_mib"])
        roles = ["control", "output", "log", "watch"]
        passed = list(descriptors[:4])
        made: list[int] = []
        group = None
        try:
            for role, directory in zip(("code", "layers"), descriptors[4:]):
                made.append(self._tree(directory))
                roles.append(role)
            if self.disks is not None:
                made.append(self.disks.take(ephemeral_mib))
                roles.append("tmp")
                self._refill_wanted = True
            elif not self.rootless:
                memory_bytes += ephemeral_mib << 20  # what /tmp holds is charged to the function
            if self.groups is not None:
                group = self.groups.create(environment_id, memory_bytes, layout.PROCESSES_MAX)
                roles += ["cgroup"] * len(group.join)
                roles[3] = "unwatched"  # the group limits; nobody needs to watch
            environment = Environment(environment_id, self._take_host_id(), owner)
            order = {"op": "fork", "id": environment_id, "host_id": environment.host_id,
                     "endpoint_port": self.endpoint_port, "ephemeral_mib": ephemeral_mib, "memory_bytes": memory_bytes,
                     "rootless": self.rootless, "roles": roles}  # fmt: skip
            wire.send(owner.channel, order, passed + made + (group.join if group else []))
            self.environments[environment_id] = environment
            files = group.files if group else {}
            answer = {"event": "launched", "id": environment_id, "fork": owner.forks, "roles": list(files),
                      "host_id": environment.host_id}  # fmt: skip
            self._tell(answer, list(files.values()))
        except OSError:
            if self.groups is not None and environment_id not in self.environments:
                self.emptying.add(environment_id)
            raise
        finally:
            wire.close_all(made)
            if group is not None:
                group.close()

    def _tree(self, directory: int) -> int:
        """A read-only mount of a directory that the server has open for reading. Refuses any other descriptor."""
        flags = fcntl.fcntl(directory, fcntl.F_GETFL)
        if flags & os.O_PATH or flags & os.O_ACCMODE != os.O_RDONLY:
            raise Refused("a directory must be opened for reading: that shows that the server may read it")
        if not stat.S_ISDIR(os.fstat(directory).st_mode):
            raise Refused("code and layers must be directories")
        # The server has a mount namespace of its own, and what it opened there cannot be mounted here: so the directory is
        # found again by its name, and must be the very one that the server has open.
        known = os.fstat(directory)
        found = os.open(os.readlink(f"/proc/self/fd/{directory}"), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            status = os.fstat(found)
            if (status.st_dev, status.st_ino) != (known.st_dev, known.st_ino):
                raise Refused("a directory has moved while it was being mounted")
            return roots.clone_readonly("", rootless=self.rootless, directory=found)
        finally:
            os.close(found)

    def _take_host_id(self) -> int:
        if self.rootless:
            return 0
        first, count = self.host_id_block[1], layout.HOST_IDS_PER_BLOCK
        for _ in range(count):
            candidate = first + self.next_host_id
            self.next_host_id = (self.next_host_id + 1) % count
            if candidate not in self.host_ids:
                self.host_ids.add(candidate)
                return candidate
        raise Refused(f"all {count} user ids of environments are in use")

    # zygotes

    def _zygote(self, message: wire.Message, then: Callable[[str | None], None] | None) -> Zygote:
        """The zygote for an installation; `then` is called when it is ready, or with why it is not."""
        installation = message["installation"]
        key = json.dumps(installation, sort_keys=True)
        known = self.zygotes.get(key)
        if known is None:
            known = self._start_zygote(key, installation)
        if then is not None:
            if known.ready:
                then(None)
            else:
                known.waiting.append(then)
        return known

    def _start_zygote(self, key: str, installation: wire.Message) -> Zygote:
        mounts = [self._allowed_mount(str(source), str(target)) for source, target in installation["mounts"]]
        runtime_dir = next((source for source, target in mounts if target == "/var/runtime"), None)
        forks = bool(installation["fork"]) and runtime_dir is not None and self._may_be_imported(mounts, runtime_dir)
        interpreter = str(installation["interpreter"])
        library_path = str(installation["library_path"])
        if forks and not (_is_interpreter(interpreter) and _LIBRARY_PATH.fullmatch(library_path)):
            raise Refused(f"{interpreter} is not an interpreter that a zygote can run on")
        ours, theirs = wire.pair()
        pid = syscalls.fork()
        if pid < 0:
            raise OSError(errno.EAGAIN, "no process could be started for a zygote")
        if pid == 0:
            self._become_zygote(theirs, mounts, interpreter if forks else None, library_path)
        theirs.close()
        made = Zygote(ours, pid, forks)
        self.zygotes[key] = made
        self._watch(ours.fileno(), lambda: self._hear_zygote(key, made))
        return made

    def _allowed_mount(self, source: str, target: str) -> tuple[str, str]:
        real = os.path.realpath(source)
        if not any(real == allowed or real.startswith(allowed + "/") for allowed in self.allowed):
            raise Refused(f"{source} was not among the installations when Lambent started; restart it")
        if os.path.normpath(target) != target or not target.startswith(_TARGETS):
            raise Refused(f"{target} is not a place for a part of an installation")
        return real, target

    def _may_be_imported(self, mounts: list[tuple[str, str]], runtime_dir: str) -> bool:
        """Whether nobody but this process's user (root) can have written what a zygote would run.

        Where somebody can, the runtime is executed in the finished cage instead: slower, and no less safe.
        """
        if not all(_is_only_ours(source) for source, _ in mounts):
            return False
        return all(_is_only_ours(os.path.join(parent, name)) for parent, dirs, files in os.walk(runtime_dir)
                   for name in (*dirs, *files))  # fmt: skip

    def _become_zygote(
        self, channel: socket.socket, mounts: list[tuple[str, str]], interpreter: str | None, library_path: str
    ) -> None:
        """In the child. Without an interpreter it goes on as a fork of the launcher. Never returns."""
        try:
            channel_fd = _only(channel.detach())
            if interpreter is not None:
                package = os.path.dirname(os.path.realpath(__file__))
                mounts = [*mounts, (package, f"{layout.PRIVATE_DIR}/privileged")]
            roots.enter(f"{self.directory}/root", mounts, rootless=self.rootless)
            if interpreter is None:
                zygote.serve(socket.socket(fileno=channel_fd), None)
                os._exit(0)
            os.set_inheritable(channel_fd, True)
            argv = [interpreter, "-I", "-c", _START.format(layout.PRIVATE_DIR), str(channel_fd)]
            variables = {"PATH": "/usr/bin:/bin", "LC_CTYPE": "C.UTF-8", "LD_LIBRARY_PATH": library_path}
            os.execve(interpreter, argv, variables)
        except BaseException as error:  # the outermost edge of this process: the launcher passes it on
            with contextlib.suppress(OSError):
                wire.send(socket.socket(fileno=3), {"event": "broken", "reason": str(error)})
        os._exit(1)

    def _hear_zygote(self, key: str, speaker: Zygote) -> None:
        try:
            message, descriptors = wire.receive(speaker.channel)
        except (EOFError, OSError, wire.MessageError):
            self._lost_zygote(key, speaker, "it ended; its reason is on the launcher's error output")
            return
        event = message["event"]
        if event == "ready":
            speaker.ready = True
            self._answer_waiting(speaker, None)
        elif event == "broken":
            self._lost_zygote(key, speaker, str(message["reason"]))
        elif event == "forked":
            self._forked(str(message["id"]), int(message["pid"]), descriptors[0])
        elif event == "failed":
            self._finished(self.environments[str(message["id"])])

    def _answer_waiting(self, speaker: Zygote, failure: str | None) -> None:
        waiting, speaker.waiting = speaker.waiting, []
        for then in waiting:
            then(failure)

    def _lost_zygote(self, key: str, speaker: Zygote, reason: str) -> None:
        """Its environments die with it; the next launch starts another one."""
        self.zygotes.pop(key, None)
        self._unwatch(speaker.channel.fileno())
        speaker.channel.close()
        os.kill(speaker.pid, signal.SIGKILL)
        os.waitpid(speaker.pid, 0)
        for environment in [e for e in self.environments.values() if e.owner is speaker and e.pidfd < 0]:
            self._finished(environment)
        self._answer_waiting(speaker, f"the interpreter could not be made ready: {reason}")

    def _forked(self, environment_id: str, pid: int, pidfd: int) -> None:
        environment = self.environments[environment_id]
        environment.pid, environment.pidfd = pid, pidfd
        self._watch(pidfd, lambda: self._ended(environment))
        if environment.doomed:
            self._kill(environment)

    # ending environments

    def _kill(self, environment: Environment) -> None:
        environment.doomed = True
        if environment.pidfd < 0:
            return  # it is still being forked
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself, and its pidfd is about to say so
            syscalls.pidfd_kill(environment.pidfd, signal.SIGKILL)
        if self.groups is not None:
            self.groups.thaw(environment.environment_id)

    def _ended(self, environment: Environment) -> None:
        """The first process is dead, so by the kernel's rule every other of its PID namespace is."""
        self._unwatch(environment.pidfd)
        os.close(environment.pidfd)
        with contextlib.suppress(OSError):  # the zygote is gone, and its children went to somebody who reaps them
            wire.send(environment.owner.channel, {"op": "reap", "pid": environment.pid})
        self._finished(environment)

    def _finished(self, environment: Environment) -> None:
        del self.environments[environment.environment_id]
        self.host_ids.discard(environment.host_id)
        if self.groups is not None:
            self.emptying.add(environment.environment_id)
            self._remove_emptied()
        else:
            self._tell({"event": "gone", "id": environment.environment_id})

    def _remove_emptied(self) -> None:
        if self.groups is None:
            return
        for environment_id in list(self.emptying):
            if self.groups.remove(environment_id):
                self.emptying.discard(environment_id)
                self._tell({"event": "gone", "id": environment_id})


def _is_only_ours(path: str) -> bool:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return True  # what it points to is checked where it is, or is not shown in the cage
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022


def _take_host_id_block() -> tuple[int, int]:
    """A block of user ids that no other launcher on this host has: (lock that is held, first id)."""
    for number in range(layout.HOST_ID_BLOCKS):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(layout.HOST_ID_LOCK.format(number), flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return lock, layout.HOST_IDS_FROM + number * layout.HOST_IDS_PER_BLOCK
    raise OSError(errno.EAGAIN, f"{layout.HOST_ID_BLOCKS} other launchers run on this host")


def _is_interpreter(path: str) -> bool:
    return _PYTHON.fullmatch(path) is not None and os.path.normpath(path) == path


def _only(wanted: int) -> int:
    """Moves this descriptor to 3 and closes every other one from there on."""
    if wanted != 3:
        os.dup2(wanted, 3, inheritable=False)
    syscalls.close_from(4)
    return 3


def _bounded(value: object, bounds: tuple[int, int], what: str) -> None:
    if not isinstance(value, int) or not bounds[0] <= value <= bounds[1]:
        raise Refused(f"{what} must be from {bounds[0]} to {bounds[1]} MiB, not {value}")


def _enter_user_namespace() -> None:
    """Becomes root of a namespace in which only this user exists."""
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def main() -> None:
    """argv is SERVER_FD SETTINGS, the latter as JSON."""
    server = socket.socket(fileno=int(sys.argv[1]))
    settings = json.loads(sys.argv[2])
    os.set_inheritable(server.fileno(), False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the server, whose end we then see
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.umask(0o022)
    try:
        if settings["rootless"]:
            _enter_user_namespace()
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        launcher = Launcher(server, settings)
        launcher.run()
    except OSError as error:
        wire.send(server, {"event": "broken", "reason": str(error)})
        raise SystemExit(1) from error
