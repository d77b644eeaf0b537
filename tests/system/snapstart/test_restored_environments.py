"""Published versions with SnapStart: init once, then environments that go on from there."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import re
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

import snapstart
from cage_census import descendants
from live_server import Answer, LiveServer

REMEMBERING = """
import os, random, secrets, ssl, sys, time, uuid, _strptime, decimal, sqlite3, multiprocessing
from snapshot_restore_py import register_after_restore, register_before_snapshot

MOMENTS = ["init " + os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]]
HELD = {n: str(n) * 50 for n in range(20000)}
HERE = open(__file__)
HERE.readline()
DATABASE = sqlite3.connect(":memory:")
DATABASE.execute("create table t (x)")
DATABASE.execute("insert into t values (41)")
random.random(), ssl.RAND_bytes(8), uuid.uuid4()
os.environ["SET_BY_INIT"] = "kept"
os.umask(0o027)
os.makedirs("/tmp/deep/er")
open("/tmp/deep/er/file", "wb").write(b"0123456789" * 200_000)
os.chmod("/tmp/deep/er/file", 0o640)
os.chmod("/tmp/deep/er", 0o500)
os.symlink("deep/er/file", "/tmp/link")
print("init speaks")

@register_before_snapshot
def before_registered_first():
    MOMENTS.append("before 1")

@register_before_snapshot
def before_registered_second():
    MOMENTS.append("before 2")

def after(number, word):
    MOMENTS.append(f"after {number} {word}")

register_after_restore(after, 1, word="one")
register_after_restore(after, 2, word="two")

def deep(n):
    return 0 if n == 0 else 1 + deep(n - 1)

def handler(event, context):
    time.sleep(event.get("sleep_s", 0))
    sys.setrecursionlimit(100_000)
    import threading
    thread = threading.Thread(target=lambda: HELD.setdefault("thread", "ran"))
    thread.start(), thread.join()
    return {
        "moments": MOMENTS, "held": len(HELD), "line": HERE.readline(), "mask": os.umask(0o027), "deep": deep(20_000),
        "row": DATABASE.execute("select x from t").fetchone()[0], "set": os.environ["SET_BY_INIT"], "now": time.time(),
        "unique": [random.random(), ssl.RAND_bytes(8).hex(), uuid.uuid4().hex, secrets.token_hex(8), context.aws_request_id,
                   multiprocessing.current_process().authkey.hex()],
        "variables": sorted(os.environ), "token": os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        "left": [os.path.getsize("/tmp/link"), os.stat("/tmp/link").st_mode & 0o777, os.stat("/tmp/deep/er").st_mode & 0o777,
                 open("/tmp/link", "rb").read(2_000_000) == b"0123456789" * 200_000],
        "stream": context.log_stream_name, "left_ms": context.get_remaining_time_in_millis(),
    }
"""


@pytest.fixture(scope="module")
def published(live: LiveServer) -> tuple[str, dict[str, Any]]:
    name = snapstart.create(live, REMEMBERING)
    return name, snapstart.publish(live, name)


@pytest.fixture(scope="module")
def two(live: LiveServer, published: tuple[str, dict[str, Any]]) -> list[Answer]:
    """Of two environments of one version."""

    def invoke(_: int) -> Answer:
        return live.invoke(published[0], {"sleep_s": 1}, Qualifier="1")

    with concurrent.futures.ThreadPoolExecutor() as threads:
        return list(threads.map(invoke, range(2)))


def test_init_runs_once_for_the_version_and_the_hooks_run_around_the_snapshot(two: list[Answer]) -> None:
    for answer in two:
        assert answer.value["moments"] == ["init snap-start", "before 2", "before 1", "after 1 one", "after 2 two"]


def test_what_init_made_is_there(two: list[Answer]) -> None:
    for answer in two:
        value = answer.value
        assert (value["held"], value["row"], value["mask"], value["set"]) == (20_001, 41, 0o027, "kept")
        assert value["line"].startswith("import os")
        assert value["deep"] == 20_000
        assert value["left"] == [2_000_000, 0o640, 0o500, True]


def test_what_must_be_unique_is(two: list[Answer]) -> None:
    one, other = (answer.value for answer in two)
    assert not set(one["unique"]) & set(other["unique"])
    assert one["token"] != other["token"]


def test_variables_are_those_of_snapstart(two: list[Answer]) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/snapstart-monitoring.html, and of credentials snapstart-activate.html"""
    variables = two[0].value["variables"]
    assert {"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"} <= set(variables)
    absent = {"AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"}
    assert not absent & set(variables)
    assert not [name for name in variables if "LAMBENT" in name]


def test_the_first_report_tells_the_restore(live: LiveServer, two: list[Answer], published: tuple[str, Any]) -> None:
    for answer in two:
        found = re.search(r"\tRestore Duration: ([\d.]+) ms\tBilled Restore Duration: (\d+) ms", answer.log)
        assert found
        assert float(found[1]) <= int(found[2])
        assert "Init Duration" not in answer.log
    assert "Restore Duration" not in live.invoke(published[0], {}, Qualifier="1").log


def test_the_log_tells_init_and_restore(live: LiveServer, two: list[Answer], published: tuple[str, Any]) -> None:
    log = live.log_of(published[0])
    assert log.count("INIT_START Runtime Version: python:3.") == 1
    assert log.count("init speaks") == 1
    assert len(re.findall(r"^INIT_REPORT Init Duration: [\d.]+ ms\tPhase: snap-start$", log, re.MULTILINE)) == 1
    assert len(re.findall(r"^RESTORE_START Runtime Version: python:3\S+\tRuntime Version ARN: \S+$", log, re.M)) == 2
    assert len(re.findall(r"^RESTORE_REPORT Restore Duration: [\d.]+ ms$", log, re.MULTILINE)) == 2


def test_the_status_is_on_for_the_version_alone(live: LiveServer, published: tuple[str, dict[str, Any]]) -> None:
    name, configuration = published
    assert snapstart.status_of(configuration) == ("Active", "On")
    assert "StateReason" not in configuration
    latest = live.client().get_function_configuration(FunctionName=name)
    assert latest["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}


def test_latest_starts_as_other_functions_do(live: LiveServer, published: tuple[str, Any]) -> None:
    answer = live.invoke(published[0], {})
    assert answer.value["moments"] == ["init on-demand"]
    assert "AWS_LAMBDA_LOG_STREAM_NAME" in answer.value["variables"]


WHERE = """
import os
def handler(event, context):
    return os.stat("/proc/self/ns/net").st_ino
"""


def test_what_is_restored_has_waited_with_no_memory_but_its_libraries_code(live: LiveServer) -> None:
    name = snapstart.create(live, WHERE)
    assert snapstart.status_of(snapstart.publish(live, name)) == ("Active", "On")
    empty: dict[int, str] = {}  # by network namespace
    for pid in descendants(live.process.pid):
        with contextlib.suppress(OSError):
            mapped = Path(f"/proc/{pid}/maps").read_text()
            if "libpython" in mapped and "[heap]" not in mapped and "lambent-image" not in mapped:
                empty[os.stat(f"/proc/{pid}/ns/net").st_ino] = mapped
    assert live.invoke(name, {}, Qualifier="1").value in empty
    for mapped in empty.values():
        writable = [line for line in mapped.splitlines() if line.split()[1].startswith("rw") and "[stack]" not in line]
        assert len(writable) <= 3, "the area for images, and what the kernel writes to of a thread"


CREDENTIALS = """
import boto3, json, os, socket, urllib.request
CLIENT = boto3.client("sts")
CLIENT.get_caller_identity()
BROKEN = socket.create_connection(os.environ["AWS_LAMBDA_RUNTIME_API"].split(":"))
AT_INIT = CLIENT._request_signer._credentials.get_frozen_credentials().access_key

def asked(token):
    request = urllib.request.Request(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers={"Authorization": token})
    try:
        with urllib.request.urlopen(request) as answer:
            return sorted(json.load(answer))
    except urllib.error.HTTPError as error:
        return error.code

def said(connection):
    try:
        return connection.send(b"x")
    except OSError as error:
        return type(error).__name__

def handler(event, context):
    keys = CLIENT._request_signer._credentials.get_frozen_credentials()
    return {"renewed": keys.access_key != AT_INIT, "key": keys.access_key, "arn": CLIENT.get_caller_identity()["Arn"],
            "right": asked(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]), "wrong": asked("x"),
            "broken": said(BROKEN)}
"""


def test_a_client_used_in_init_connects_anew_with_credentials_of_its_environment(live: LiveServer) -> None:
    name = snapstart.create(live, CREDENTIALS, MemorySize=1024)
    assert snapstart.status_of(snapstart.publish(live, name)) == ("Active", "On")
    value = live.invoke(name, {}, Qualifier="1").value
    assert value["renewed"]
    assert value["key"].startswith("ASIA")
    assert value["right"] == ["AccessKeyId", "Expiration", "SecretAccessKey", "Token"]
    assert value["wrong"] == 403
    assert value["broken"] in ("BrokenPipeError", "ConnectionError", "OSError")


LEAVING = {
    "a thread": ("import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
                 "left 1 thread running"),
    "a process": ("import subprocess; P = subprocess.Popen(['sleep', '60'])", "left another process running"),
    "a listener": ("import socket; S = socket.create_server(('127.0.0.1', 0))", "left a socket open"),
    "a socket of another kind": ("import socket; S = socket.socketpair()", "left a socket open"),
    "a loop": ("import asyncio; L = asyncio.new_event_loop()", "left an eventpoll open"),
    "a file that is open": ("F = open('/tmp/x', 'w')", "left /tmp/x open"),
    "a pipe with a name": ("import os; os.mkfifo('/tmp/fifo')", "left /tmp/fifo, which is no file"),
    "too many files": ("import os; open('/tmp/x', 'wb').truncate(100 << 20)", "left 100 MiB in 1 files in /tmp"),
    "a shared file": ("open('/dev/shm/x', 'w').close()", "left /dev/shm/x"),
    "shared memory": ("import mmap; M = mmap.mmap(-1, 4096)", "mapped shared memory"),
    "a timer": ("import signal; signal.signal(signal.SIGALRM, lambda *_: 0); signal.setitimer(signal.ITIMER_REAL, 60)",
                "left a timer running"),
    "a filter": ("import ctypes, struct; B = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7FFF0000)); "
                 "ctypes.CDLL(None).prctl(22, 2, struct.pack('HxxxxxxP', 1, ctypes.addressof(B)), 0, 0)",
                 "installed a filter of system calls"),
    "another output": ("import os; os.dup2(os.open('/dev/null', os.O_WRONLY), 1)", "replaced a descriptor"),
}  # fmt: skip


def test_what_an_image_cannot_hold_turns_snapstart_off_with_the_reason(live: LiveServer) -> None:
    code = "import os\n{}\ndef handler(event, context):\n    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n"
    names = {what: snapstart.create(live, code.format(line)) for what, (line, _) in LEAVING.items()}
    for name in names.values():
        live.client().publish_version(FunctionName=name)
    for what, name in names.items():
        assert snapstart.status_of(snapstart.settled(live, name)) == ("Active", "Off"), what
        log = live.log_of(name)
        assert "SnapStart is off for version 1: " in log, (what, log)
        assert LEAVING[what][1] in log, (what, log)
    assert live.invoke(names["a thread"], {}, Qualifier="1").value == "on-demand"


FAILING = {
    "module": ("raise ValueError('no')", "FunctionError.RuntimeInitError"),
    "exit": ("import os; os._exit(3)", "FunctionError.RuntimeInitError"),
    "memory": ("X = bytearray(1 << 30)", "FunctionError.InitResourceExhausted"),
    "hook": ("import snapshot_restore_py as s\n@s.register_before_snapshot\ndef f(): raise KeyError('no')",
             "FunctionError.RuntimeInitError"),
}  # fmt: skip


def test_a_version_whose_init_fails_fails(live: LiveServer) -> None:
    names = {
        what: snapstart.create(live, f"{code}\ndef handler(event, context): return 1\n")
        for what, (code, _) in FAILING.items()
    }
    for name in names.values():
        live.client().publish_version(FunctionName=name)
    for what, name in names.items():
        configuration = snapstart.settled(live, name)
        assert snapstart.status_of(configuration) == ("Failed", "Off"), what
        assert configuration["StateReasonCode"] == FAILING[what][1], what
    assert "Runtime.BeforeSnapshotError" in live.log_of(names["hook"])


def test_an_error_in_a_hook_after_the_restore_is_the_callers(live: LiveServer) -> None:
    code = """
from snapshot_restore_py import register_after_restore
@register_after_restore
def after():
    raise ValueError("the vault is closed")
def handler(event, context):
    return 1
"""
    name = snapstart.create(live, code)
    assert snapstart.status_of(snapstart.publish(live, name)) == ("Active", "On")
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        live.invoke(name, {}, Qualifier="1")
    answer = raised.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("SnapStartException", 400)
    log = live.log_of(name)
    assert "the vault is closed" in log
    assert re.search(r"^RESTORE_REPORT .*\tStatus: error\tError Type: Runtime\.AfterRestoreError$", log, re.MULTILINE)
    assert snapstart.status_of(snapstart.settled(live, name)) == ("Active", "On")


def test_the_librarys_own_copy_of_the_hooks_works_as_well(live: LiveServer) -> None:
    """Functions may bring the library of that name along: theirs comes first."""
    library = """
_hooks = {"before": [], "after": []}
def register_before_snapshot(f): _hooks["before"].append((f, (), {})); return f
def register_after_restore(f): _hooks["after"].append((f, (), {})); return f
def get_before_snapshot(): return _hooks["before"]
def get_after_restore(): return _hooks["after"]
"""
    code = """
import snapshot_restore_py as library
M = []
@library.register_before_snapshot
def b(): M.append("b")
@library.register_after_restore
def a(): M.append("a")
def handler(event, context): return [M, library.__file__]
"""
    name = live.create(
        {"app.py": code, "snapshot_restore_py.py": library},
        Runtime=snapstart.runtime(live), SnapStart={"ApplyOn": "PublishedVersions"},
    )  # fmt: skip
    assert snapstart.status_of(snapstart.publish(live, name)) == ("Active", "On")
    assert live.invoke(name, {}, Qualifier="1").value == [["b", "a"], "/var/task/snapshot_restore_py.py"]
