"""How a zygote arranges its memory for its children, on every interpreter of this machine."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from guests import installed
from lambent.model.cage import RuntimeInstallation
from lambent.runtimes import python
from lambent.sandbox import privileged

FOUND = installed(python.find)
every_version = pytest.mark.parametrize("installation", FOUND, ids=[found.runtime for found in FOUND])
HEAD = """
import json, os, sys, types
sys.path.insert(0, sys.argv[1])
from privileged import gaps, gathering, pages, syscalls

def pages_of(objects):
    return len({id(one) // 4096 for one in objects})
"""


def _tell(installation: RuntimeInstallation, program: str) -> Any:
    assert installation.executable is not None
    beside = str(Path(privileged.__file__).parent.parent)
    command = [str(installation.executable), "-I", "-S", "-B", "-c", HEAD + program, beside]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@every_version
def test_what_is_allocated_later_lies_together(installation: RuntimeInstallation) -> None:
    told = _tell(
        installation,
        r"""
def scattered(size):
    many = [bytes(size) for _ in range(6_000)]
    kept = many[::2]
    del many
    return kept

kept = [scattered(size) for size in (30, 200, 700, 3_000)]
before = {size: pages_of([bytes(size) for _ in range(100)]) for size in (30, 200, 700, 3_000)}
gaps.take_up()
after = {size: pages_of([bytes(size) for _ in range(100)]) for size in (30, 200, 700, 3_000)}
print(json.dumps([before, after]))
""",
    )
    before, after = told
    for size in after:
        least = 100 * (int(size) + 48) // 4096 + 1
        assert after[size] <= least + 2, size
        assert after[size] < before[size]


@every_version
def test_code_that_runs_is_put_together_and_does_the_same(installation: RuntimeInstallation) -> None:
    told = _tell(
        installation,
        r"""
functions, between = [], []
for number in range(300):
    source = f"def made(x):\n    'documented'\n    return [x + {number} for _ in range(2)], max(x, {number})"
    exec(source)
    functions.append(made)
    between.append([object() for _ in range(200)])
hot, cold = functions[::30], functions[1]
before, cold_code, said = pages_of([one.__code__ for one in hot]), cold.__code__, [one(7) for one in hot]
gaps.take_up()
gathering.gather(lambda: [one(1) for one in hot], always="nothing")
print(json.dumps({
    "before": before, "after": pages_of([one.__code__ for one in hot]), "same": [one(7) for one in hot] == said,
    "cold": cold.__code__ is cold_code, "name": hot[0].__code__.co_name, "doc": hot[0].__doc__, "profiled": sys.getprofile(),
}))
""",
    )
    assert told["after"] < told["before"] == 10
    assert (told["same"], told["cold"], told["name"], told["doc"]) == (True, True, "made", "documented")
    assert told["profiled"] is None


@every_version
def test_a_child_has_the_pages_that_one_before_it_wrote(installation: RuntimeInstallation) -> None:
    """Where the kernel cannot do so, nothing happens."""
    told = _tell(
        installation,
        r"""
import mmap, resource
shared = mmap.mmap(-1, 400 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(400):
    shared[page * 4096] = 1

def child(needed):
    heard, said = os.pipe()
    go, gone = os.pipe()
    pid = syscalls.fork()
    if pid == 0:
        needed.have()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for page in range(100, 300):
            shared[page * 4096] = 2
        os.write(said, b"%d" % (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))
        os.read(go, 1)
        os._exit(0)
    faults = int(os.read(heard, 100))
    runs = pages.needed(pid, os.getpid())
    os.write(gone, b"x")
    os.waitpid(pid, 0)
    return faults, runs

first, runs = child(pages.Needed())
second, _ = child(pages.Needed(*runs))
print(json.dumps({"first": first, "second": second, "shared": shared[100 * 4096]}))
""",
    )
    assert told["first"] >= 200
    assert told["second"] < 20 or told["second"] >= 200
    assert told["shared"] == 1


@every_version
def test_what_others_read_of_files_is_there_too(installation: RuntimeInstallation) -> None:
    told = _tell(
        installation,
        r"""
import mmap, resource, tempfile
file = tempfile.TemporaryFile()
file.write(b"x" * 400 * 4096)
file.flush()
shared = mmap.mmap(file.fileno(), 400 * 4096, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
other = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
other[0] = 1

def child(needed):
    heard, said = os.pipe()
    go, gone = os.pipe()
    pid = syscalls.fork()
    if pid == 0:
        had = needed.have()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for page in range(400):
            shared[page * 4096]
        after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        other[0] = 2
        os.write(said, b"%d %d" % (had, after - before))
        os.read(go, 1)
        os._exit(0)
    had, faults = map(int, os.read(heard, 100).split())
    runs = pages.needed(pid, os.getpid())
    os.write(gone, b"x")
    os.waitpid(pid, 0)
    return bool(had), faults, runs

first_had, first, runs = child(pages.Needed())
second_had, second, _ = child(pages.Needed(*runs))
print(json.dumps({"had": [first_had, second_had], "first": first, "second": second}))
""",
    )
    assert told["had"][0] is False
    assert told["first"] >= 20
    assert told["second"] < 10 or told["had"][1] is False


@every_version
def test_practising_inits_part_leaves_the_process_as_it_was(installation: RuntimeInstallation) -> None:
    """It runs where cells can be made: it asks the kernel for what a cell asks for."""
    before, after = _tell(
        installation,
        r"""
import signal
from privileged import trial

def state():
    # The number that is listed for the listing itself is in both.
    return {"open": os.listdir("/proc/self/fd"), "handler": str(signal.getsignal(signal.SIGCHLD)), "here": os.getcwd(),
            "wakeup": signal.set_wakeup_fd(-1), "variables": dict(os.environ)}

before = state()
for _ in range(3):
    trial.practise({"LANG": "C.UTF-8"})
print(json.dumps([before, state()]))
""",
    )
    assert before == after
