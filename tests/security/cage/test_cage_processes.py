"""What a caged process may not do to processes, and what it holds when it starts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from cage_census import command_lines, descendants
from cagebench import Bench
from conftest_types import Attempt
from lambent.app.preparing import SPARED
from lambent.model.errors import SandboxError


async def test_it_sees_no_process_but_its_own(attempt: Attempt) -> None:
    result = await attempt("tell([sorted(p for p in os.listdir('/proc') if p.isdigit()), os.getppid()])")
    assert result[0][0] == "1"
    assert len(result[0]) == 2
    assert result[1] == 1


async def test_init_is_out_of_reach(attempt: Attempt) -> None:
    result = await attempt("""
tell({name: attempt(os.listdir if name in ('fd', 'map_files') else open, '/proc/1/' + name)
      for name in ('environ', 'mem', 'maps', 'fd', 'root', 'cwd', 'exe', 'map_files', 'ns/mnt', 'stack', 'auxv')} |
     {'kill': attempt(os.kill, 1, 9), 'trace': call(101, 16, 1, 0, 0)})
""")
    assert result.pop("kill") == "ok"  # the kernel accepts it, and init does not hear it
    assert set(result.values()) <= {"EACCES", "EPERM", "ENOENT", "EISDIR"}, result


async def test_killing_everything_leaves_init_alone(bench: Bench) -> None:
    running = await bench.run("#!/bin/bash\nfor number in {1..64}; do kill -$number 1; done; exit 4\n")
    assert (await running.exited()).exit_status == 4


async def test_a_process_that_init_has_just_forked_holds_nothing_of_inits_once_others_may_look(
    bench: Bench, prologue: str
) -> None:
    """Who can write its memory could speak to the server as init. Stopped again and again, it is met in each of its states."""
    forks = 12
    spec = bench.spec(
        prologue
        + f"""
import signal, time
stop, go = int(signal.SIGSTOP), int(signal.SIGCONT)
def is_there(pid):
    try:
        os.kill(pid, stop)
    except ProcessLookupError:
        return False
    return True
def held_by(pid):
    held = {{}}
    for number in os.listdir(f'/proc/{{pid}}/fd'):
        try:
            held[number] = os.readlink(f'/proc/{{pid}}/fd/{{number}}')
        except OSError:
            pass  # it was not quite stopped yet
    return held
tell('ready')
for victim in range(os.getpid() + 1, os.getpid() + 1 + {forks}):
    while not is_there(victim):
        pass
    for _ in range(20_000):
        try:
            os.close(os.open(f'/proc/{{victim}}/mem', os.O_RDWR))
        except OSError:
            pass
        else:
            tell(held_by(victim))
            break
        try:
            os.kill(victim, go)
            os.kill(victim, stop)
        except ProcessLookupError:
            break
    attempt(os.kill, victim, go)
tell('done')
time.sleep(1000)
""",
        memory_mib=1769,
    )
    program = spec.code_dir / "waits"  # and does not end before it has been seen
    program.write_text("#!/usr/bin/tail -f\n")
    program.chmod(0o755)
    running = await bench.launch(spec)
    await running.cage.start_runtime()
    await running.printed('"ready"')
    for _ in range(forks):
        await running.cage.start_extension("/var/task/waits")
    shown = await running.printed('"done"')
    held = [json.loads(line.removeprefix("RESULT")) for line in shown.splitlines() if line.startswith('RESULT{"')]
    assert held
    assert [link for descriptors in held for link in descriptors.values() if link.startswith("socket:")] == []
    assert max(int(number) for descriptors in held for number in descriptors) < 10


async def test_it_starts_with_four_descriptors_and_nothing_else(attempt: Attempt) -> None:
    result = await attempt("""
opened = {}
for fd in range(1024):
    try:
        opened[fd] = os.readlink(f'/proc/self/fd/{fd}').split(':')[0]
    except OSError:
        pass
tell(opened)
""")
    script = result.pop("4", None) or result.pop("5", None)  # what the shebang's interpreter opened itself
    assert script in (None, "/var/task/bootstrap")
    assert result == {"0": "/dev/null", "1": "pipe", "2": "pipe", "3": "pipe"}


async def test_proc_leads_nowhere(attempt: Attempt) -> None:
    result = await attempt("""
def head(path):
    try:
        with open(path, 'rb') as file:
            return file.read(20).decode('latin1')
    except OSError as error:
        return errno.errorcode[error.errno]
tell({
    'read': [head(p) for p in ('/proc/kcore', '/proc/keys', '/proc/kmsg', '/proc/kallsyms', '/proc/timer_list', '/proc/sysrq-trigger')],
    'write': [attempt(open, p, 'w') for p in ('/proc/sys/kernel/core_pattern', '/proc/sys/kernel/hostname', '/proc/sys/vm/drop_caches',
              '/proc/sys/net/ipv4/ip_forward', '/proc/sysrq-trigger')],
    'cgroup': open('/proc/self/cgroup').read().splitlines(),
    'root': os.readlink('/proc/self/root'),
    'exe': attempt(open, '/proc/self/exe', 'r+b'),
    'adj': attempt(lambda: open('/proc/self/oom_score_adj', 'w').write('-1000')),
})
""")
    assert set(result["read"]) <= {"", "EACCES", "EPERM", "ENOENT"}, result["read"]
    assert "ok" not in result["write"][:4]
    assert all(line.endswith(":/") for line in result["cgroup"])
    assert result["root"] == "/"
    assert result["exe"] in ("EROFS", "EACCES", "ETXTBSY")


async def test_a_fork_bomb_ends_at_the_limit_and_nobody_else_notices(bench: Bench, prologue: str) -> None:
    bomb = await bench.run(
        prologue
        + """
import time
children = 0
while True:
    try:
        if os.fork() == 0:
            time.sleep(1000)
    except OSError as error:
        tell([children, errno.errorcode[error.errno]])
        break
    children += 1
""",
        memory_mib=1769,
    )
    other = await bench.output_of("#!/bin/sh\necho fine\n")
    assert other == "fine\n"
    shown = await bomb.printed("RESULT")
    assert "EAGAIN" in shown
    assert 900 < int(shown.split("[")[1].split(",")[0]) < 1024
    await asyncio.wait_for(bomb.cage.destroy(), 20)


async def test_descriptors_run_out_at_the_limit(attempt: Attempt) -> None:
    result = await attempt("""
held = []
try:
    while True:
        held.append(os.open('/dev/null', os.O_RDONLY))
except OSError as error:
    tell([len(held), errno.errorcode[error.errno]])
""")
    assert result[1] == "EMFILE"
    assert 1000 < result[0] < 1024


async def test_memory_without_end_is_an_out_of_memory_kill_and_shared_memory_counts(
    bench: Bench, prologue: str
) -> None:
    running = await bench.run(
        prologue
        + """
for i in range(60):
    with open(f'/dev/shm/{i}', 'wb') as file:
        file.write(bytes(1 << 20))
held = []
while True:
    held.append(os.urandom(1 << 20))
""",
        memory_mib=128,
    )
    how = await running.exited()
    assert how.out_of_memory
    assert how.signal == 9
    assert 120 << 20 < running.cage.peak_memory_bytes() <= 128 << 20


async def test_what_nobody_reads_from_its_connections_does_not_fill_the_hosts_memory(attempt: Attempt) -> None:
    sent_mib = await attempt(
        """
listener = socket.create_server(('127.0.0.1', 0), backlog=1000)
held, sent = [], 0
for _ in range(200):
    writer = socket.socket()
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    writer.connect(listener.getsockname())
    held += [writer, listener.accept()[0]]
    writer.setblocking(False)
    try:
        while True:
            sent += writer.send(bytes(1 << 16))
    except BlockingIOError:
        pass
tell(sent >> 20)
""",
        memory_mib=256,
    )
    assert 16 < sent_mib < 256


async def test_a_frozen_environment_stands_still_and_can_be_destroyed(bench: Bench) -> None:
    running = await bench.run("#!/bin/bash\nwhile :; do echo tick; read -t 0.01 < <(:); done\n", memory_mib=1769)
    await running.printed("tick")
    running.cage.freeze()
    used = running.cage.processor_time_s()
    running.output.clear()
    await asyncio.sleep(0.2)  # what is shown is that nothing happens
    assert running.cage.processor_time_s() - used < 0.01
    running.cage.thaw()
    running.output.clear()
    await running.printed("tick")
    running.cage.freeze()
    await asyncio.wait_for(running.cage.destroy(), 10)


async def test_nothing_outlives_its_environment(bench: Bench, prologue: str) -> None:
    running = await bench.run(
        prologue
        + """
import signal, time
for number in range(1, 32):
    attempt(signal.signal, number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print('daemon ' + open('/proc/self/uid_map').read().split()[1], flush=True)
        while True:
            time.sleep(1)
    os._exit(0)
time.sleep(1000)
"""
    )
    host_id = int((await running.printed("daemon")).split()[1])
    assert _processes_of(host_id)
    await running.cage.destroy()
    assert _processes_of(host_id) == []


def _processes_of(host_id: int) -> list[str]:
    """Those that are dead and wait for a busy zygote to take note of it hold nothing any more."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if (
                Path(f"/proc/{pid}").stat().st_uid == host_id
                and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
            ):
                found.append(pid)
        except OSError:
            continue
    return found


async def test_no_control_group_is_left(bench: Bench) -> None:
    running = await bench.run("#!/bin/bash\ncat /proc/self/uid_map; sleep 1000\n")
    host_id = int((await running.printed("\n")).split()[1])
    memberships = Path(f"/proc/{_processes_of(host_id)[0]}/cgroup").read_text()
    group = next(line.split("/")[-1] for line in memberships.splitlines() if "/lambent/" in line)
    assert _groups_named(group)
    await running.cage.destroy()
    assert _groups_named(group) == []


def _groups_named(name: str) -> list[str]:
    found = subprocess.run(["find", "/sys/fs/cgroup", "-name", name], capture_output=True, text=True)
    return found.stdout.split()


async def test_ipc_of_another_environment_is_not_there(bench: Bench, attempt: Attempt, prologue: str) -> None:
    other = await bench.run(
        prologue
        + """
import time
key = call(29, 0x4c414d, 4096, 0o1666)
listener = socket.socket(socket.AF_UNIX)
listener.bind('\\0lambent-secret')
listener.listen()
os.mkfifo('/dev/shm/pipe')
tell(key)
time.sleep(1000)
"""
    )
    assert '"ok"' in await other.printed("RESULT")
    result = await attempt("""
tell([call(29, 0x4c414d, 4096, 0), attempt(socket.socket(socket.AF_UNIX).connect, '\\0lambent-secret'), os.listdir('/dev/shm')])
""")
    assert result == ["ENOENT", "ECONNREFUSED", []]


async def test_the_hosts_loopback_and_other_runtime_apis_cannot_be_reached(bench: Bench, attempt: Attempt) -> None:
    other = await bench.run("#!/bin/sh\nsleep 1000\n")
    with socket.create_server(("127.0.0.1", 0)) as service, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0lambent-host-service")
        abstract.listen()
        port = service.getsockname()[1]
        result = await attempt(f"""
def reach(*address):
    return attempt(socket.create_connection, address, 2)
hosts = [line.split()[0] for line in open('/proc/net/route').read().splitlines()[1:]]
tell({{'service': reach('127.0.0.1', {port}), 'own api': reach('127.0.0.1', 9001), 'own endpoint': reach('127.0.0.1', 4566),
      'internet': reach('1.1.1.1', 53), 'metadata': reach('169.254.169.254', 80), 'routes': hosts,
      'abstract': attempt(socket.socket(socket.AF_UNIX).connect, '\\0lambent-host-service'),
      'interfaces': [name for _, name in socket.if_nameindex()]}})
""")
    assert result == {
        "service": "ECONNREFUSED", "own api": "ok", "own endpoint": "ok", "internet": "ENETUNREACH",
        "metadata": "ENETUNREACH", "routes": [], "abstract": "ECONNREFUSED", "interfaces": ["lo"],
    }  # fmt: skip
    with pytest.raises(BlockingIOError):  # nobody reached this one's Runtime API
        other.cage.runtime_api.accept()


async def test_a_killed_launcher_takes_every_environment_along_and_is_reported(bench: Bench) -> None:
    running = await bench.run("#!/bin/bash\ncat /proc/self/uid_map; sleep 1000\n")
    host_id = int((await running.printed("\n")).split()[1])
    handle = bench.sandbox._handle  # type: ignore[attr-defined]
    os.kill(handle.process.pid, signal.SIGKILL)
    how = await running.exited()
    assert how.signal == 9
    async with asyncio.timeout(10):
        while _processes_of(host_id):
            await asyncio.sleep(0.01)
    with pytest.raises(SandboxError, match="launcher has ended"):
        await bench.run("#!/bin/sh\n")


def may_lower_its_score() -> bool:
    """Root of a container may often not."""
    return subprocess.run(["sh", "-c", "echo -1000 > /proc/self/oom_score_adj"], check=False).returncode == 0


async def test_when_memory_runs_out_a_function_goes_before_the_server_and_the_launcher_last(attempt: Attempt) -> None:
    own, lowest = await attempt("""
own = int(open('/proc/self/oom_score_adj').read())
for wanted in range(-1000, 501, 50):
    if attempt(lambda: open('/proc/self/oom_score_adj', 'w').write(str(wanted))) == 'ok':
        break
tell([own, int(open('/proc/self/oom_score_adj').read())])
""")
    assert own == 500
    may_lower = may_lower_its_score()
    assert lowest >= (-900 if may_lower else 0) > SPARED  # the server's own, where it may lower that
    lines = command_lines()
    launchers = [pid for pid in descendants(os.getpid()) if "privileged.launcher" in lines.get(pid, "")]
    shown = {int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in launchers}
    assert shown == {-1000 if may_lower else 0}
