"""Making the objects of a zygote immortal, on every interpreter of this machine."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from guests import installed
from lambent.model.cage import RuntimeInstallation
from lambent.runtimes import python
from lambent.runtimes.python import FAMILY
from lambent.sandbox import privileged

FOUND = installed(python.find)
SINCE = (3, 12)
PROGRAM = r"""
import ctypes, gc, json, os, sys, weakref
sys.path.insert(0, sys.argv[1])
import asyncio, decimal, ssl, urllib.request
from privileged import immortal

class Own:
    pass

words = [f"word {number}" for number in range(50_000)]
shared = Own()
shared.inner = {"deep": [("tuple", 4.5, b"bytes")]}
gc.collect(), gc.disable()
made = immortal.make_everything_immortal()
again = immortal.make_everything_immortal()
gc.freeze(), gc.enable()

def dirty_kib():
    with open("/proc/self/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_Dirty"))

def child():
    dirty_kib()
    before = dirty_kib()
    for word in words:
        pass
    touched = dirty_kib() - before
    looked_at = [shared, shared.inner, shared.inner["deep"][0], words[7], json, json.dumps, json.dumps.__code__.co_consts]
    before = [sys.getrefcount(one) for one in looked_at]
    more = looked_at * 10
    same = [sys.getrefcount(one) for one in looked_at] == before
    ended = []
    new = Own()
    weakref.finalize(new, ended.append, "finalised")
    counted = sys.getrefcount(new)
    del new
    cycle = Own()
    cycle.itself, watched = cycle, weakref.ref(cycle)
    del cycle
    gc.collect(), gc.unfreeze(), gc.collect()
    del sys.modules["json"], shared.inner
    text = words[7]
    text += " more"
    words[7:9] = []
    anew = __import__("json")
    print(json.dumps({
        "made": made, "again": again, "touched_kib": touched, "same": same, "ended": ended, "counted": counted, "collected": watched() is None,
        "text": text, "words": len(words), "anew": anew is not json, "sum": str(decimal.Decimal("1.5") + 1),
    }))

pid = ctypes.PyDLL(None).fork()
if pid == 0:
    try:
        child()
        sys.stdout.flush()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    os._exit(0)
os.waitpid(pid, 0)
"""


def _tell(installation: RuntimeInstallation) -> dict[str, Any]:
    assert installation.executable is not None
    beside = str(Path(privileged.__file__).parent.parent)
    command = [str(installation.executable), "-I", "-S", "-B", "-c", PROGRAM, beside]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("installation", FOUND, ids=[found.runtime for found in FOUND])
def test_what_exists_is_no_longer_counted_and_what_comes_later_is(installation: RuntimeInstallation) -> None:
    told = _tell(installation)
    minor = tuple(int(part) for part in installation.runtime.removeprefix(FAMILY.name).split("."))
    assert (told["made"] > 50_000) == told["same"] == (minor >= SINCE)
    # Looking at 50,000 words writes to the pages of all of them, 3 MiB, where they are counted.
    assert (told["touched_kib"] < 300) == (minor >= SINCE)
    assert told["again"] < 100, "nothing was made for it that stays"
    assert (told["ended"], told["counted"], told["collected"]) == (["finalised"], 2, True)
    assert (told["text"], told["words"], told["anew"], told["sum"]) == ("word 7 more", 49_998, True, "2.5")
