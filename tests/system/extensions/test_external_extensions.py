"""External extensions in real cages of a real server: their phases, what they are told, and how they fail."""

from __future__ import annotations

import json
import re
import time
import uuid
from pathlib import Path
from typing import Any

from cage_census import is_frozen, processes_with
from extensions import end_environments, extension, layer, program
from live_server import LiveServer, running, start, until

ECHO = "import time\ndef handler(event, context):\n    print('working')\n    return event"
GRACEFUL = """
    register("INVOKE", "SHUTDOWN")
    say("ready")
    while True:
        event = next_event()
        if event["eventType"] == "SHUTDOWN":
            left_ms = event["deadlineMs"] - time.time() * 1000
            time.sleep(0.5)
            say("shutdown", event["shutdownReason"], 1000 < left_ms <= 2000)
            break
        say("invoke", event["requestId"], event["invokedFunctionArn"].rpartition(":")[2])
"""
SLACK_S = 5.0  # besides the time that the test is about


def report_of(log: str) -> str:
    [report] = [line for line in log.splitlines() if line.startswith("REPORT")]
    return report


def test_an_extension_lives_through_init_invoke_and_shutdown(live: LiveServer) -> None:
    name = live.create(ECHO, Layers=[extension(live, GRACEFUL)], Timeout=10)
    answers = [live.invoke(name, number) for number in range(2)]
    assert [answer.value for answer in answers] == [0, 1]
    end_environments(live, name)
    log = until(lambda: log if "shutdown" in (log := live.log_of(name)) else None)
    assert "EXTENSION\tName: watcher\tState: Ready\tEvents: [INVOKE, SHUTDOWN]" in log
    assert "extension: ready\n" in log
    for answer in answers:
        request_id = re.search(r"START RequestId: (\S+)", answer.log)
        assert request_id
        assert f"extension: invoke {request_id[1]} {name}\n" in log
    assert "extension: shutdown spindown True\n" in log


def test_an_extension_is_told_that_a_timeout_ended_it(live: LiveServer) -> None:
    name = live.create(
        "import time\ndef handler(event, context): time.sleep(60)", Layers=[extension(live, GRACEFUL)], Timeout=1
    )
    assert live.invoke(name).error["errorType"] == "Sandbox.Timedout"
    until(lambda: "extension: shutdown timeout True\n" in live.log_of(name))


def test_a_subscriber_is_told_of_platform_events_and_of_the_functions_lines(live: LiveServer) -> None:
    watcher = """
        register("SHUTDOWN")
        say("subscribed", collect(4243, "platform", "function")[0].status)
        next_event()
        time.sleep(0.2)
    """
    name = live.create(ECHO, Layers=[extension(live, watcher)])
    live.invoke(name, "hello")
    # Nobody else calls it: the environment may be frozen only after the events were delivered.
    until(lambda: '"platform.report"' in live.log_of(name))
    events = told(live, name)
    kinds = [event["type"] for event in events]
    assert kinds[0] == "platform.initStart"
    assert kinds.index("platform.start") < kinds.index("platform.runtimeDone") < kinds.index("platform.report")
    report = events[kinds.index("platform.report")]["record"]
    assert report["status"] == "success"
    assert report["metrics"]["memorySizeMB"] == 128
    assert {"function"} == {event["type"] for event in events if event["record"] == "working"}
    # What the extension itself prints is told to nobody who did not ask for it; else this would never end.
    assert not [event for event in events if "extension:" in str(event["record"])]


def told(live: LiveServer, name: str) -> list[dict[str, Any]]:
    lines = [line.partition("extension: telemetry ")[2] for line in live.log_of(name).splitlines()]
    return [json.loads(line) for line in lines if line]


def test_json_records_are_told_as_objects(live: LiveServer) -> None:
    watcher = """
        register()
        collect(4243, "function")
        next_event()
    """
    code = "import logging\ndef handler(event, context): logging.getLogger().warning('careful')"
    name = live.create(code, Layers=[extension(live, watcher)], LoggingConfig={"LogFormat": "JSON"})
    live.invoke(name)
    until(lambda: "careful" in json.dumps(told(live, name)))
    [record] = [event["record"] for event in told(live, name) if "careful" in str(event["record"])]
    assert (record["level"], record["message"]) == ("WARNING", "careful")


def test_an_extension_that_ends_while_it_starts_fails_the_function(live: LiveServer) -> None:
    name = live.create(ECHO, Layers=[extension(live, "say('no')\nsys.exit(3)")])
    answer = live.invoke(name)
    assert answer.error["errorType"] == "Extension.Crash"
    assert re.fullmatch(r"RequestId: [0-9a-f-]{36} Error: exit code 3", answer.error["errorMessage"])
    assert f"{answer.error['errorMessage']}\nExtension.Crash\n" in answer.log
    assert "Status: error\tError Type: Extension.Crash" in report_of(answer.log)
    log = live.log_of(name)
    assert "EXTENSION\tName: watcher\tState: Exited\tEvents: []\tError Type: Extension.Crash" in log
    assert log.count("INIT_REPORT") == 2  # init is tried again inside the invocation


def test_an_extension_that_reports_that_it_cannot_start(live: LiveServer) -> None:
    watcher = """
        register("INVOKE")
        ask("POST", "/2020-01-01/extension/init/error", {}, {"Lambda-Extension-Function-Error-Type": "Extension.NoKey"})
        sys.exit(1)
    """
    answer = live.invoke(live.create(ECHO, Layers=[extension(live, watcher)]))
    assert answer.error["errorType"] == "Extension.InitError"
    assert "Error Type: Extension.InitError" in report_of(answer.log)


def test_an_extension_that_cannot_be_executed(live: LiveServer) -> None:
    name = live.create(ECHO, Layers=[layer(live, {"extensions/watcher": "no program\n"})])
    assert live.invoke(name).error["errorType"] == "Extension.LaunchError"
    assert "EXTENSION\tName: watcher\tState: LaunchError\tEvents: []\tError Type: UnknownError" in live.log_of(name)


def test_an_extension_that_ends_in_an_invocation_takes_the_environment_with_it(live: LiveServer) -> None:
    watcher = """
        register("INVOKE")
        next_event()
        os._exit(9)
    """
    code = "import os, time\ndef handler(event, context):\n    time.sleep(5)\n"
    name = live.create(code, Layers=[extension(live, watcher)], Timeout=20)
    began = time.monotonic()
    answer = live.invoke(name)
    assert answer.error["errorType"] == "Extension.Crash"
    assert re.fullmatch(r"RequestId: [0-9a-f-]{36} Error: exit code 9", answer.error["errorMessage"])
    assert f"{answer.error['errorMessage']}\nExtension.Crash\n" in answer.log
    assert time.monotonic() - began < SLACK_S
    second = live.invoke(name)
    assert second.error["errorType"] == "Extension.Crash"
    assert "Init Duration" in report_of(second.log)  # in an environment of its own


def test_an_extension_that_never_comes_back_holds_the_invocation_up_to_its_timeout(live: LiveServer) -> None:
    watcher = """
        register("INVOKE")
        next_event()
        time.sleep(1000)
    """
    name = live.create(ECHO, Layers=[extension(live, watcher)], Timeout=2)
    answer = live.invoke(name, "answered")  # with the log's tail, which waits for REPORT
    assert answer.value == "answered"
    assert "Task timed out after 2.00 seconds" in answer.log
    assert "Status: timeout" in report_of(answer.log)
    prompt = live.invoke(name, "answered", LogType="None")
    assert prompt.value == "answered"
    assert prompt.seconds < 1.9  # the caller has the answer before the extension is given up on


def test_an_extension_that_ignores_shutdown_is_killed_after_two_seconds(live: LiveServer) -> None:
    watcher = """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        register("SHUTDOWN")
        next_event()
        say("going on")
        for second in range(1000):
            time.sleep(0.1)
            say("still here", time.time())
    """
    name = live.create(ECHO, Layers=[extension(live, watcher)])
    live.invoke(name)
    end_environments(live, name)
    until(lambda: "going on" in live.log_of(name))

    def quiet_for_s() -> float:
        last = re.findall(r"still here ([\d.]+)", live.log_of(name))
        return time.time() - float(last[-1]) if last else 0.0

    until(lambda: quiet_for_s() > 0.5)
    said = [float(moment) for moment in re.findall(r"still here ([\d.]+)", live.log_of(name))]
    assert 1.0 < said[-1] - said[0] < 2.0


def test_eleven_extensions_are_one_too_many(live: LiveServer) -> None:
    waiting = program('register("INVOKE")\nwhile True: next_event()')
    ten = {f"extensions/number-{number:02}": waiting for number in range(10)}
    assert live.invoke(live.create(ECHO, Layers=[layer(live, ten)], Timeout=10), 1).value == 1
    eleven = {**ten, "extensions/number-10": waiting}
    answer = live.invoke(live.create(ECHO, Layers=[layer(live, eleven)], Timeout=10), 1)
    assert answer.error["errorType"] == "Extension.TooManyExtensions"


def test_extensions_finish_when_the_server_is_stopped(tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = start(data)
    try:
        names = [server.create(ECHO, Layers=[extension(server, GRACEFUL)], Timeout=10) for _ in range(3)]
        for name in names:
            assert server.invoke(name, 1).value == 1
        began = time.monotonic()
    finally:
        server.stop()
    assert server.process.returncode == 0
    assert time.monotonic() - began < SLACK_S
    with running(data) as again:
        for name in names:
            assert "extension: shutdown spindown True\n" in again.log_of(name)


def test_a_subscriber_that_takes_nothing_holds_nobody_up(live: LiveServer) -> None:
    watcher = """
        import socket
        deaf = socket.create_server(("sandbox.localdomain", 4243))
        register("SHUTDOWN")
        ask("PUT", "/2022-07-01/telemetry", {
            "schemaVersion": "2022-12-13", "types": ["platform", "function"], "buffering": {"timeoutMs": 25},
            "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243"},
        })
        next_event()
    """
    extension_name = f"deaf-{uuid.uuid4().hex}"
    name = live.create(ECHO, Layers=[extension(live, watcher, extension_name)], Timeout=10)
    for number in range(3):
        answer = live.invoke(name, number)
        assert answer.value == number
        assert answer.seconds < SLACK_S
    if live.level == "root":
        [pid] = processes_with(f"/opt/extensions/{extension_name}")
        until(lambda: is_frozen(pid))  # although something is still to be delivered
    began = time.monotonic()
    end_environments(live, name)
    until(lambda: not processes_with(f"/opt/extensions/{extension_name}"))
    assert time.monotonic() - began < SLACK_S
