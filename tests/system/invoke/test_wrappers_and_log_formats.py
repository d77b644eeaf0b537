"""Wrapper scripts, JSON logs and log groups of a function's own, on a real server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extensions import layer
from live_server import RUNNING_PYTHON, LiveServer, until

WRAPPER = """\
#!/bin/sh
echo "wrapped: $(basename "$1")"
export FROM_WRAPPER=yes
exec "$@"
"""
PYTHON = "import os\ndef handler(event, context):\n    return [event, os.environ.get('FROM_WRAPPER')]"
NODEJS = "exports.handler = async (event) => [event, process.env.FROM_WRAPPER];"


def wrapped(live: LiveServer, script: str, **members: Any) -> dict[str, Any]:
    return {
        "Layers": [layer(live, {"wrapper": script})],
        "Environment": {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}},
        "Timeout": 10,
        **members,
    }


def test_a_wrapper_script_starts_python(live: LiveServer) -> None:
    name = live.create(PYTHON, **wrapped(live, WRAPPER))
    assert live.invoke(name, 1).value == [1, "yes"]
    assert "wrapped: python" in live.log_of(name)


def test_a_wrapper_script_starts_nodejs(live: LiveServer) -> None:
    runtime = live.installed("nodejs")
    if runtime is None:
        pytest.skip("no Node.js on this machine")
    name = live.create({"index.js": NODEJS}, "index.handler", Runtime=runtime, **wrapped(live, WRAPPER))
    assert live.invoke(name, 1).value == [1, "yes"]
    assert "wrapped: node" in live.log_of(name)


def test_a_wrapper_script_that_is_missing_or_fails(live: LiveServer) -> None:
    members = wrapped(live, WRAPPER)
    members["Environment"]["Variables"]["AWS_LAMBDA_EXEC_WRAPPER"] = "/opt/absent"
    error = live.invoke(live.create(PYTHON, **members)).error
    assert error["errorType"] == "Runtime.InvalidEntrypoint"
    assert error["errorMessage"].endswith("Error: fork/exec /opt/absent: no such file or directory")
    error = live.invoke(live.create(PYTHON, **wrapped(live, "#!/bin/sh\nexit 5\n"))).error
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].endswith("Error: Runtime exited with error: exit status 5")


LOGS = """
    import json, logging, sys
    def handler(event, context):
        for level in ("debug", "info", "warning", "error"):
            getattr(logging.getLogger(), level)("logged as %s", level)
        print("plain text")
        stamp = {"timestamp": "2026-11-21T08:00:00.000Z"}
        print(json.dumps({"level": "debug", "message": "printed as debug", **stamp}))
        print(json.dumps({"level": "error", "message": "printed as error", **stamp}))
        print(json.dumps({"message": "printed without a level"}))
        sys.stdout.flush()
"""


def documents(live: LiveServer, group: str) -> list[Any]:
    """The events of a log group; JSON ones decoded."""

    def read() -> list[str]:
        pages = live.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
        events = [event["message"] for page in pages for event in page["events"]]
        return events if any("platform.report" in event for event in events) else []

    return [json.loads(event) if event.startswith("{") else event.rstrip("\n") for event in until(read)]


def messages(events: list[Any]) -> list[str]:
    return [event.get("message", "") if isinstance(event, dict) else event for event in events
            if not (isinstance(event, dict) and "record" in event)]  # fmt: skip


def platform_events(events: list[Any]) -> list[str]:
    return [event["type"] for event in events if isinstance(event, dict) and "record" in event]


def test_with_the_json_format_platform_and_function_write_json(live: LiveServer) -> None:
    name = live.create(LOGS, LoggingConfig={"LogFormat": "JSON"})
    answer = live.invoke(name)
    events = documents(live, f"/aws/lambda/{name}")
    assert platform_events(events) == ["platform.initStart", "platform.start", "platform.report"]
    assert messages(events) == [
        "logged as info",
        "logged as warning",
        "logged as error",
        "plain text",
        "printed as error",
        "printed without a level",
    ]
    logged = next(event for event in events if isinstance(event, dict) and event.get("message") == "logged as info")
    start = next(event for event in events if isinstance(event, dict) and event.get("type") == "platform.start")
    assert logged["level"] == "INFO"
    assert logged["requestId"] == start["record"]["requestId"]
    assert '"type":"platform.report"' in answer.log


def test_levels_are_those_that_were_asked_for(live: LiveServer) -> None:
    config = {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "SystemLogLevel": "DEBUG"}
    name = live.create(LOGS, LoggingConfig=config)
    live.invoke(name)
    events = documents(live, f"/aws/lambda/{name}")
    assert {"platform.initRuntimeDone", "platform.initReport", "platform.runtimeDone"} < set(platform_events(events))
    assert {"logged as debug", "printed as debug"} < set(messages(events))


def test_at_level_warn_only_problems_are_logged(live: LiveServer) -> None:
    config = {"LogFormat": "JSON", "ApplicationLogLevel": "ERROR", "SystemLogLevel": "WARN"}
    code = LOGS + "        if event: raise ValueError('no')\n"
    name = live.create(code, LoggingConfig=config)
    live.invoke(name)
    assert live.invoke(name, 1).error["errorType"] == "ValueError"
    events = documents(live, f"/aws/lambda/{name}")
    assert platform_events(events) == ["platform.runtimeDone", "platform.report"]  # of the invocation that failed
    assert "logged as warning" not in messages(events)
    assert messages(events).count("printed as error") == 2


def test_a_log_group_of_ones_own(live: LiveServer) -> None:
    group = f"/shared/{RUNNING_PYTHON}"
    config = {"LogFormat": "JSON", "LogGroup": group}
    names = [live.create(LOGS, LoggingConfig=config) for _ in range(2)]
    for name in names:
        live.invoke(name)
    until(lambda: platform_events(documents(live, group)).count("platform.report") == 2)
    logs = live.client("logs")
    assert not logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{names[0]}")["logGroups"]
    streams = [stream["logStreamName"] for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]]
    assert len(streams) == 2
