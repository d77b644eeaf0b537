"""Environments that were restored from one image: apart from one another, and none can reach the image.

The function's code has run before the image is taken, so it may have prepared whatever it likes.
"""

from __future__ import annotations

import concurrent.futures
import textwrap
from typing import Any

import pytest

import snapstart
from live_server import LiveServer

NEIGHBOURS = """
import ctypes, glob, os, signal, socket, time
libc = ctypes.CDLL(None, use_errno=True)
STATE = bytearray(b"as init left it")

def attempt(action, *arguments):
    try:
        return action(*arguments) or "ok"
    except OSError as error:
        return error.strerror

def own_marks():
    open("/tmp/mark", "w").write("mine")
    open("/dev/shm/mark", "w").write("mine")
    libc.shmget(0x4C4D, 4096, 0o1666)
    LISTENERS.append(socket.create_server(("127.0.0.1", 7007)))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\\0mark")
    abstract.listen()
    LISTENERS.append(abstract)
    STATE[:] = b"changed by one of them"

LISTENERS = []

def look():
    abstract, shared = socket.socket(socket.AF_UNIX), libc.shmget(0x4C4D, 4096, 0)
    reached = attempt(abstract.connect, "\\0mark")
    return {
        "tmp": os.listdir("/tmp"), "shm": os.listdir("/dev/shm"), "sysv": shared,
        "abstract": reached, "port": attempt(lambda: str(socket.create_connection(("127.0.0.1", 7007), 1))),
        "state": bytes(STATE).decode(),
    }

def handler(event, context):
    if event["mark"]:
        own_marks()
        time.sleep(event["mark"])
        return None
    time.sleep(1)  # so that each of two has an environment to itself
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
    return {
        **look(),
        "pids": sorted(int(p) for p in os.listdir("/proc") if p.isdigit()),
        "capabilities": [status[n].strip("0 ") for n in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
        "seccomp": status["Seccomp"], "no_new_privs": status["NoNewPrivs"],
        "host_user": open("/proc/self/uid_map").read().split()[1],
        "namespaces": {n: os.readlink(f"/proc/self/ns/{n}") for n in os.listdir("/proc/self/ns") if "for" not in n},
        "descriptors": sorted(os.readlink(f) for f in glob.glob("/proc/self/fd/*") if os.path.exists(f)),
        "cannot": [attempt(os.kill, 1, signal.SIGKILL), attempt(open, "/proc/1/mem", "r+b"),
                   -1 if libc.unshare(0x10000000) else 0, -1 if libc.ptrace(16, 1, 0, 0) else 0],
    }
"""


@pytest.fixture(scope="module")
def neighbours(live: LiveServer) -> list[dict[str, Any]]:
    """What two fresh environments find while a third of the same version has left its marks everywhere."""
    assert live.level == "root"
    name = snapstart.create(live, NEIGHBOURS)
    assert snapstart.status_of(snapstart.publish(live, name)) == ("Active", "On")
    with concurrent.futures.ThreadPoolExecutor() as threads:
        marking = threads.submit(live.invoke, name, {"mark": 2.5}, Qualifier="1")
        found: list[dict[str, Any]] = [
            answer.value for answer in threads.map(lambda _: live.invoke(name, {"mark": 0}, Qualifier="1"), range(2))
        ]
        assert not marking.done()
        assert marking.result().value is None
    return found


def test_they_share_no_file_no_memory_no_socket(neighbours: list[dict[str, Any]]) -> None:
    for found in neighbours:
        assert [name for name in found["tmp"] if name != "lost+found"] == []
        assert found["shm"] == []
        assert found["sysv"] == -1
        assert (found["abstract"], found["port"]) == ("Connection refused", "Connection refused")


def test_what_one_changes_in_its_memory_no_other_sees(neighbours: list[dict[str, Any]]) -> None:
    assert [found["state"] for found in neighbours] == ["as init left it"] * 2


def test_each_is_alone_with_its_init_and_without_rights(neighbours: list[dict[str, Any]]) -> None:
    for found in neighbours:
        assert found["pids"] == [1, 2]
        assert found["capabilities"] == [""] * 5
        assert (found["seccomp"], found["no_new_privs"]) == ("2", "1")
        assert found["cannot"][0] in ("Operation not permitted", "ok")  # init is deaf to signals from inside
        assert found["cannot"][1:] == ["Permission denied", -1, -1]


def test_each_has_a_user_and_namespaces_of_its_own(neighbours: list[dict[str, Any]]) -> None:
    one, other = neighbours
    assert one["host_user"] != other["host_user"]
    assert set(one["namespaces"]) >= {"ipc", "mnt", "net", "pid", "user", "uts", "cgroup"}
    for kind in set(one["namespaces"]) - {"time"}:
        assert one["namespaces"][kind] != other["namespaces"][kind], kind


def test_no_descriptor_leads_to_the_image(neighbours: list[dict[str, Any]]) -> None:
    for found in neighbours:
        assert not [path for path in found["descriptors"] if "memfd" in path or "lambent" in path], found["descriptors"]


# What its code changed in the client before the image was taken leaves it the image's descriptor after the restore.
PREPARED = """
import ctypes, fcntl, mmap, os, random, socket, sys
import lambent_restore
lambent_restore.os = type(os)("os")
lambent_restore.os.__dict__.update({**vars(os), "close": lambda fd: None if fd == 4 else os.close(fd)})

WORD = b"a word that lies in the image " * 200

def attempt(action, *arguments):
    try:
        action(*arguments)
    except (OSError, ValueError) as error:
        return type(error).__name__
    return "ok"

def write_all():
    for at in range(0, os.fstat(4).st_size, 4096):
        os.pwrite(4, b"poison", at)

def reopened(flags):
    os.close(os.open("/proc/self/fd/4", flags))

def handler(event, context):
    return {
        "there": "lambent-image" in os.readlink("/proc/self/fd/4"),
        "word": WORD[:30].decode(),
        "write": attempt(write_all),
        "map": attempt(mmap.mmap, 4, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
        "shorten": attempt(os.ftruncate, 4, 0), "lengthen": attempt(os.ftruncate, 4, 1 << 40),
        "mode": attempt(os.fchmod, 4, 0o777), "owner": attempt(os.fchown, 4, os.getuid(), os.getgid()),
        "reopen": attempt(reopened, os.O_RDWR), "fill": attempt(os.posix_fallocate, 4, 0, 1 << 20),
        "unseal": attempt(fcntl.fcntl, 4, fcntl.F_ADD_SEALS, 0),
    }
"""


def test_code_that_keeps_the_images_descriptor_cannot_change_it(live: LiveServer) -> None:
    name = snapstart.create(live, PREPARED)
    assert snapstart.status_of(snapstart.publish(live, name)) == ("Active", "On")
    found = live.invoke(name, {}, Qualifier="1").value
    assert found.pop("there") is True
    assert found.pop("word").startswith("a word that lies in the image")
    assert {what: answer for what, answer in found.items() if answer == "ok"} == {}
    with concurrent.futures.ThreadPoolExecutor() as threads:  # and those restored afterwards are as they were
        for answer in threads.map(lambda _: live.invoke(name, {}, Qualifier="1"), range(4)):
            assert answer.value["word"].startswith("a word that lies in the image")


HOSTILE_IMAGES = {
    "none at all": "import os; os._exit(0)",
    "rubbish": "import os; [os.pwrite(4, os.urandom(4096), n * 4096) for n in range(64)]; os._exit(0)",
    "an endless description": "import os, struct; os.pwrite(4, struct.pack('<16sQQ', b'lambent image 1\\n', 0, 1 << 60), 0); "
    "os._exit(0)",
    "a nested description": "import os, struct; os.pwrite(4, struct.pack('<16sQQ', b'lambent image 1\\n', 32, 500_000), 0); "
    "os.pwrite(4, b'[' * 500_000, 32); os._exit(0)",
    "another zygote's": """
import os, struct
os.pwrite(4, struct.pack('<16sQQ', b'lambent image 1\\n', 4096, 2), 0); os.pwrite(4, bytes(16), 64); os.pwrite(4, b'{}', 4096)
os._exit(0)""",
    "no calls": """
import lambent_image as i
i._Writer.write_calls = lambda self, *kernel: None""",
    "calls that crash": """
import lambent_image as i
i._Writer._gaps = lambda self: [i.call(11, 0x10000, 0x7FFFFFFFF000 - 0x10000)]""",
    "more than fits": """
import os
try:
    for n in range(1 << 20): os.pwrite(4, b'x' * (1 << 20), n << 20)
except OSError as error:
    print("stopped:", error.strerror)
os._exit(0)""",
    "a terminal's language": "import lambent_image as i, os; i.decline('\\x1b[2J\\n' * 100); os._exit(0)",
}


def test_no_image_that_a_function_makes_up_harms_anybody_else(live: LiveServer) -> None:
    """Whatever it wrote: the version works without, or fails alone, and the server lives on."""
    handler = "def handler(event, context):\n    return 'still here'\n"
    names = {}
    for what, code in HOSTILE_IMAGES.items():
        guarded = "import os\nif os.environ['AWS_LAMBDA_INITIALIZATION_TYPE'] == 'snap-start':\n" + textwrap.indent(
            code, "    "
        )
        names[what] = snapstart.create(live, f"{guarded}\n{handler}", MemorySize=128)
        live.client().publish_version(FunctionName=names[what])
    for what, name in names.items():
        assert snapstart.settled(live, name)["State"] == "Active", what
        for _ in range(2):
            assert live.invoke(name, {}, Qualifier="1").value == "still here", what
    assert "stopped:" in live.log_of(names["more than fits"])
    assert "\x1b" not in live.log_of(names["a terminal's language"])
