"""Images of Python processes, on every interpreter of this machine and without a cage.

A process forks as a zygote does, twice: one runs "init" code and has its image taken, the other becomes what that was.
"""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest

from guests import installed
from lambent.model.cage import RuntimeInstallation
from lambent.runtimes import python
from lambent.runtimes.family import GUESTS

PROGRAM = r"""
import array, ctypes, gc, json, os, signal, socket, sys
sys.path.insert(0, sys.argv[1])
import asyncio, decimal, lambent_fitness, lambent_image, lambent_restore, multiprocessing, random, ssl, threading
lambent_fitness.READ_ONLY_ROOTS = ("/",)
lambent_fitness.check = lambda beginning: ([], [], [])
area = lambent_restore.Area()
fork = ctypes.PyDLL(None).fork
os.dup2(1, 3)
image = os.memfd_create("image", 1)
if image != 4:
    os.dup2(image, 4)
    os.close(image)

def deep(n):
    return 0 if n == 0 else 1 + deep(n - 1)

def original():
    kept = lambent_image.unchanging()
    import sqlite3, xml.dom.minidom
    held = {str(n): [n] for n in range(100_000)}
    told = []
    signal.signal(signal.SIGUSR1, lambda *_: told.append("signalled"))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    if lambent_image.take(area, kept, None, lambda: None):
        os._exit(0)
    lambent_restore.be_unlike_others({}, lambent_restore.settle(area))
    del held["7"]
    more = [bytearray(100_000) for _ in range(50)]
    sys.setrecursionlimit(30_000)
    thread = threading.Thread(target=told.append, args=("threaded",))
    thread.start(), thread.join()
    signal.raise_signal(signal.SIGUSR1)
    gc.collect()
    answer = {
        "held": len(held), "deep": deep(10_000 if sys.version_info < (3, 12) else 5_000), "told": told,
        "set": os.environ["SET"], "random": [random.random(), ssl.RAND_bytes(8).hex()],
        "row": sqlite3.connect(":memory:").execute("select 6 * 7").fetchone()[0],
        "blocked": signal.SIGUSR2 in signal.pthread_sigmask(signal.SIG_BLOCK, []), "open": sorted(os.listdir("/proc/self/fd")),
        "child": os.waitstatus_to_exitcode(os.system("exit 3")) if sys.version_info >= (3, 9) else 3,
    }
    os.write(1, json.dumps(answer).encode() + b"\n")
    os._exit(0)

def run(what):
    pid = fork()
    if pid == 0:
        try:
            what()
        except BaseException:
            sys.excepthook(*sys.exc_info())
        os._exit(1)
    status = os.waitpid(pid, 0)[1]
    if status:
        sys.exit(f"{what} ended with {status:#x}")

run(original)
for number in range(2):
    run(lambda: lambent_restore.restore(area, {"SET": str(number)}))

def wait():
    os.dup2(theirs.fileno(), 10)
    os.closerange(11, 64)
    lambent_restore.wait(area, 10)

ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
ordering, order = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
def send(channel, data, *descriptors):
    channel.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else [])

send(ordering, b'{"variables": {"SET": "2"}}', 4)
send(ours, b"{}", 1, 2, order.fileno())
send(ours, b"begin")
run(wait)
for end in (ordering, order, ours):
    end.close()
pid = fork()
if pid == 0:
    wait()
sys.exit(0 if os.waitpid(pid, 0)[1] >> 8 == 71 else "nobody told it, and it did not end as it should")
"""

FOUND = installed(python.find)


def _run(installation: RuntimeInstallation, program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
    assert installation.executable is not None
    command = [str(installation.executable), "-I", "-S", "-B", "-c", program, str(GUESTS / "python")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the machine code is for x86-64")
@pytest.mark.parametrize("installation", FOUND, ids=[found.runtime for found in FOUND])
def test_a_process_goes_on_from_another_ones_image(installation: RuntimeInstallation) -> None:
    done = _run(installation)
    assert (done.returncode, done.stderr) == (0, "")
    answers: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["set"] for answer in answers] == ["0", "1", "2"]
    for answer in answers:
        assert answer["held"] == 99_999
        assert answer["deep"] >= 5_000
        assert answer["told"] == ["threaded", "signalled"]
        assert (answer["row"], answer["blocked"], answer["child"]) == (42, True, 3)
        assert answer["open"] == ["0", "1", "2", "3", "4"], "the last one is the listing's"
    drawn = [value for answer in answers for value in answer["random"]]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the machine code is for x86-64")
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ("pass", 0),
        ("area.identity = bytes(16)", 71),
        ("os.ftruncate(4, 0)", 71),
        ("os.ftruncate(4, lambent_restore.PAGE)", 71),
        ("os.utime(mapped, (1, 1))", 71),
        ("open(mapped, 'ab').write(b'more'), os.utime(mapped, ns=(before.st_mtime_ns,) * 2)", 71),
        ("os.remove(mapped)", 71),
    ],
)
def test_what_does_not_fit_is_not_restored(change: str, status: int, tmp_path: Path) -> None:
    mapped = tmp_path / "mapped"
    mapped.write_bytes(b"one" * 4096)
    begin = f"""
import mmap
mapped = {str(mapped)!r}
before = os.stat(mapped)
map_it = lambda: mmap.mmap(os.open(mapped, os.O_RDONLY), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
def original():
"""
    end = f"""
if True:
    {change}
pid = fork()
if pid == 0:
    lambent_restore.restore(area, {{"SET": "0"}})
sys.exit(os.waitpid(pid, 0)[1] >> 8)
"""
    head, _, _ = PROGRAM.partition("for number in range(2)")
    program = head.replace("def original():\n", begin).replace("    told = []\n", "    told, held_map = [], map_it()\n")
    done = _run(FOUND[0], program + end)
    assert (done.returncode, done.stderr) == (status, "")
