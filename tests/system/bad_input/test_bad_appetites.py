"""Functions that take all they can get: processes, disk, memory, log."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor

from cage_census import control_groups, processes_in
from live_server import LiveServer, until

GROWTH_MAX_MIB = 150  # of the server, while functions print as fast as they can
FEW = 20  # processes of an environment that does nothing unusual
MANY = 30


def test_code_that_forks_without_end_is_held_at_the_limit(live: LiveServer) -> None:
    name = live.create(
        """
        import os, time
        def handler(event, context):
            while True:
                try:
                    os.fork()
                except OSError:
                    time.sleep(0.05)
        """,
        Timeout=2,
        MemorySize=256,
    )
    answer = live.invoke(name)
    assert answer.error["errorType"] in ("Sandbox.Timedout", "Runtime.OutOfMemory", "Runtime.ExitError")
    assert answer.seconds < 8.0
    until(lambda: all(len(processes_in([group])) < FEW for group in control_groups(live.data)))


FILLS = """
    import os
    def handler(event, context):
        written, block = 0, bytes(1 << 20)
        try:
            with open("/tmp/full", "wb", buffering=0) as file:
                while written < event:
                    written += file.write(block)
        except OSError as error:
            return {"errno": error.errno, "mib": written >> 20}
        finally:
            os.unlink("/tmp/full")
        return {"errno": 0, "mib": written >> 20}
"""


def test_a_full_tmp_says_so_and_is_not_the_functions_memory(live: LiveServer) -> None:
    name = live.create(FILLS, MemorySize=128, Timeout=60)
    written = live.invoke(name, 400 << 20)
    assert written.value == {"errno": 0, "mib": 400}
    assert written.max_memory_used_mb <= 128
    full = live.invoke(name, 4 << 30).value
    assert full["errno"] == errno.ENOSPC
    assert 500 <= full["mib"] <= 512
    assert live.invoke(name, 1 << 20).value == {"errno": 0, "mib": 1}


def test_memory_without_end_is_an_out_of_memory_error(live: LiveServer) -> None:
    name = live.create(
        """
        def handler(event, context):
            hoard = []
            while event:
                hoard.append(bytearray(b"x" * (1 << 20)))
            return "well"
        """,
        MemorySize=128,
        Timeout=20,
    )
    answer = live.invoke(name, 1)
    assert answer.error["errorType"] == "Runtime.OutOfMemory"
    assert answer.error["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert 125 <= answer.max_memory_used_mb <= 128
    assert live.invoke(name, 0).value == "well"


def test_a_gigabyte_of_log_is_held_by_the_timeout_and_not_kept_in_memory(live: LiveServer) -> None:
    name = live.create(
        """
        def handler(event, context):
            for number in range(1 << 20):
                print(str(number).ljust(1023, "."))
            return "all"
        """,
        Timeout=3,
        MemorySize=1769,
    )
    before = live.resident_mib()
    answer = live.invoke(name)
    assert live.resident_mib() - before < GROWTH_MAX_MIB
    if answer.function_error is None:
        assert answer.value == "all"
    else:
        assert answer.error["errorType"] == "Sandbox.Timedout"
    assert answer.seconds < 8.0
    assert "REPORT RequestId" in answer.log
    live.client("logs").delete_log_group(logGroupName=f"/aws/lambda/{name}")


def test_thirty_functions_at_once_each_answer_for_themselves(live: LiveServer) -> None:
    code = """
        import os, time
        def handler(event, context):
            time.sleep(0.2)
            return [os.environ["WHO"], event, open("/tmp/mine", "a+").tell()]
    """

    def once(number: int) -> object:
        name = live.create(code, Environment={"Variables": {"WHO": str(number)}}, Timeout=30)
        return live.invoke(name, {"n": number}).value

    with ThreadPoolExecutor(MANY) as pool:
        answers = list(pool.map(once, range(MANY)))
    assert answers == [[str(number), {"n": number}, 0] for number in range(MANY)]
