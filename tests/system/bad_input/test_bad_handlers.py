"""Functions that cannot be loaded, that end their own process, or that never answer."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from cage_census import is_frozen, processes_with
from live_server import Answer, LiveServer, until

SECOND_TRY_S = 1  # how long such a function may take for its second init, which is part of the invocation
PAUSE_S = 1.0  # between two invocations


def test_a_handler_that_does_not_exist(live: LiveServer) -> None:
    name = live.create("def other(event, context):\n    return 1")
    for _ in range(2):
        error = live.invoke(name).error
        assert error["errorType"] == "Runtime.HandlerNotFound"
        assert error["errorMessage"] == "Handler 'handler' missing on module 'app'"


def test_a_module_that_is_missing(live: LiveServer) -> None:
    error = live.invoke(live.create("x = 1", "absent.handler")).error
    assert error["errorType"] == "Runtime.ImportModuleError"
    assert error["errorMessage"] == "Unable to import module 'absent': No module named 'absent'"
    error = live.invoke(live.create("import no_such_package")).error
    assert error["errorMessage"] == "Unable to import module 'app': No module named 'no_such_package'"


def test_a_syntax_error(live: LiveServer) -> None:
    error = live.invoke(live.create("def handler(event, context)\n    return 1")).error
    assert error["errorType"] == "Runtime.UserCodeSyntaxError"
    assert error["errorMessage"].startswith("Syntax error in module 'app': ")
    assert any("app.py" in line for line in error["stackTrace"])


ENDS = """
    import os, signal, sys
    def handler(event, context):
        if event:
            exec(event)
        return "well"
"""


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("sys.exit(3)", "exit status 3"),
        ("os._exit(4)", "exit status 4"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal: killed"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "signal: segmentation fault"),
        ("os.abort()", "signal: aborted"),
    ],
)
def test_a_function_that_ends_its_process_says_how_and_is_started_anew(
    live: LiveServer, code: str, reason: str
) -> None:
    name = live.create(ENDS)
    answer = live.invoke(name, code)
    assert answer.error["errorType"] == "Runtime.ExitError"
    assert answer.error["errorMessage"].endswith(f" Error: Runtime exited with error: {reason}")
    assert live.invoke(name).value == "well"


def test_a_function_that_ends_well_gives_no_reason_and_its_last_words_are_kept(live: LiveServer) -> None:
    answer = live.invoke(live.create(ENDS), "print('last words'); os._exit(0)")
    assert answer.error["errorType"] == "Runtime.ExitError"
    assert answer.error["errorMessage"].endswith(" Error: Runtime exited without providing a reason")
    last = r"last words\nRequestId: \S+ Error: Runtime exited without providing a reason\nRuntime.ExitError\nEND"
    assert re.search(last, answer.log)


def test_an_init_that_ends_its_process_is_told_to_the_first_caller_and_in_the_log(live: LiveServer) -> None:
    for _ in range(2):
        answer = live.invoke(live.create("import os\nos._exit(5)"))
        assert answer.error["errorType"] == "Runtime.ExitError"
        assert re.fullmatch(
            r"RequestId: \S+ Error: Runtime exited with error: exit status 5", answer.error["errorMessage"]
        )
        assert f"{answer.error['errorMessage']}\nRuntime.ExitError\nEND RequestId: " in answer.log
        assert "Phase: invoke\tStatus: error\tError Type: Runtime.ExitError" in answer.log
        assert answer.max_memory_used_mb > 0


def test_a_deadlock_ends_with_the_timeout(live: LiveServer) -> None:
    name = live.create(
        """
        import threading
        def handler(event, context):
            lock = threading.Lock()
            lock.acquire()
            return lock.acquire() if event else "well"
        """,
        Timeout=1,
    )
    answer = live.invoke(name, 1)
    assert answer.error["errorType"] == "Sandbox.Timedout"
    assert answer.error["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert 1.0 <= answer.seconds < 4.0
    assert "Task timed out after 1.00 seconds" in answer.log
    assert live.invoke(name).value == "well"


def test_a_function_that_ignores_sigterm_ends_with_the_timeout_all_the_same(live: LiveServer) -> None:
    name = live.create(
        """
        import signal, subprocess, time
        def handler(event, context):
            for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_IGN)
            subprocess.Popen(["/bin/sleep", "86400.25"])
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    pass
        """,
        Timeout=1,
    )
    answer = live.invoke(name)
    assert answer.error["errorType"] == "Sandbox.Timedout"
    assert answer.seconds < 4.0
    until(lambda: not processes_with("sleep 86400.25"))


@pytest.fixture(scope="module")
def endless(live: LiveServer) -> Iterator[dict[str, Future[Answer]]]:
    """Two functions whose inits never end, side by side, since each takes more than ten seconds."""
    codes = {
        "sleeps": "import time\ntime.sleep(3600)",
        "prints": "while True:\n    print('x' * 1000)",
    }
    with ThreadPoolExecutor() as pool:
        yield {kind: pool.submit(live.invoke, live.create(code, Timeout=SECOND_TRY_S)) for kind, code in codes.items()}


def test_an_init_that_never_ends_is_ended_and_tried_once_more(
    live: LiveServer, endless: dict[str, Future[Answer]]
) -> None:
    answer = endless["sleeps"].result(60)
    assert answer.error["errorType"] == "Sandbox.Timedout"
    assert answer.error["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert 11.0 <= answer.seconds < 20.0
    assert "Task timed out after 1.00 seconds\n" in answer.log
    assert "Phase: invoke\tStatus: timeout" in answer.log


def test_an_init_that_prints_without_end_is_held_by_the_same_limits(
    live: LiveServer, endless: dict[str, Future[Answer]]
) -> None:
    answer = endless["prints"].result(60)
    assert answer.error["errorType"] == "Sandbox.Timedout"
    assert len(answer.log) <= 4096


def test_what_goes_on_after_the_answer_is_frozen_and_ends_with_the_environment(live: LiveServer) -> None:
    name = live.create(
        """
        import os, threading, time
        ticks = 0
        def count():
            global ticks
            while True:
                ticks += 1
                time.sleep(0.01)
        def handler(event, context):
            if event == "begin":
                threading.Thread(target=count, daemon=True).start()
                executed, held = os.pipe2(os.O_CLOEXEC)  # closed by the exec, which must come before the freeze
                if os.fork() == 0:
                    os.setsid()
                    if os.fork() == 0:
                        os.execv("/bin/sleep", ["sleep", "86400.75"])
                    os._exit(0)
                os.close(held)
                os.wait()
                os.read(executed, 1)
            return ticks
        """
    )
    live.invoke(name, "begin")
    (daemon,) = until(lambda: processes_with("sleep 86400.75"))
    if live.level == "root":
        until(lambda: is_frozen(daemon))
        before = live.invoke(name).value
        until(lambda: is_frozen(daemon))
        time.sleep(PAUSE_S)
        assert live.invoke(name).value - before < PAUSE_S * 50  # it would have been twice as many
    live.client().delete_function(FunctionName=name)
    until(lambda: not processes_with("sleep 86400.75"))
