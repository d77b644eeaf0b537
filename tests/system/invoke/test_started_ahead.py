"""Functions whose runtime was started before anybody knew them see nothing of it."""

from __future__ import annotations

from typing import Any

import pytest

from live_server import LiveServer, until

NODEJS = """
    const fs = require('fs'), v8 = require('v8');
    console.log('while loading');
    exports.handler = async (event) => ({
        event, ahead: fs.readFileSync('/proc/self/environ', 'latin1').includes('_LAMBENT_WAIT_FD'),
        environ: process.env, cwd: process.cwd(), argv: process.argv, execArgv: process.execArgv,
        child: require('child_process').execFileSync('/usr/bin/env').toString(),
        descriptors: fs.readdirSync('/proc/self/fd').length, random: Math.random(), heap: v8.getHeapStatistics().heap_size_limit,
        timeZone: new Date(0).getHours(), locale: Intl.DateTimeFormat().resolvedOptions().locale,
    });
"""


@pytest.fixture(scope="module")
def runtime(live: LiveServer) -> str:
    found = live.installed("nodejs")
    if found is None:
        pytest.skip("no Node.js on this machine")
    if live.level == "process":
        pytest.skip("level process starts nothing ahead")
    return found


def answer(live: LiveServer, runtime: str, variables: dict[str, str], **members: Any) -> dict[str, Any]:
    files = {"index.js": NODEJS}
    name = live.create(files, "index.handler", Runtime=runtime, Environment={"Variables": variables}, **members)
    value: dict[str, Any] = live.invoke(name, 1).value
    assert "while loading" in live.log_of(name)
    return value


def ahead(live: LiveServer, runtime: str, variables: dict[str, str], **members: Any) -> dict[str, Any]:
    """Once one waits, which is soon after the first cold start with this size of memory."""

    def started_ahead() -> dict[str, Any] | None:
        value = answer(live, runtime, variables, **members)
        return value if value["ahead"] else None

    return until(started_ahead, 30.0)


def test_a_nodejs_function_cannot_tell_that_its_process_waited_for_it(live: LiveServer, runtime: str) -> None:
    waited = ahead(live, runtime, {"OWN": "mine", "NODE_ENV": "production"})
    anew = answer(live, runtime, {"OWN": "mine", "NODE_ENV": "production", "NODE_OPTIONS": "--no-warnings"})
    assert anew["ahead"] is False
    assert anew["environ"].pop("NODE_OPTIONS") == "--no-warnings"
    for name in ("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"):
        assert waited["environ"].pop(name) != anew["environ"].pop(name)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "_X_AMZN_TRACE_ID"):
        assert waited["environ"].pop(name)
        assert anew["environ"].pop(name)
    for fact in ("environ", "cwd", "argv", "execArgv", "descriptors", "heap", "timeZone", "locale"):
        assert waited[fact] == anew[fact], fact
    assert "OWN=mine\n" in waited["child"]
    assert "_LAMBENT" not in waited["child"]
    assert waited["random"] != anew["random"]


def test_the_heap_of_a_process_that_waited_is_its_functions_size(live: LiveServer, runtime: str) -> None:
    for size in (256, 512):
        anew = answer(live, runtime, {"NODE_OPTIONS": "--no-warnings"}, MemorySize=size)
        assert ahead(live, runtime, {}, MemorySize=size)["heap"] == anew["heap"]


def test_a_time_zone_of_its_own_makes_a_start_anew(live: LiveServer, runtime: str) -> None:
    value = answer(live, runtime, {"TZ": "Asia/Tokyo"})
    assert (value["ahead"], value["timeZone"]) == (False, 9)
