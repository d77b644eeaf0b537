"""The Node.js client as functions and their users see it, on every Node.js of this machine."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import pytest

from fake_runtime_api import ARN, WAIT_S, Posted, Reply, Runtime
from guests import MEMORY_MIB, Function, installed, running, write
from lambent.model.cage import RuntimeInstallation
from lambent.runtimes import nodejs
from lambent.runtimes.family import copy_guest

INSTALLED = installed(nodejs.find)
FIRST_WITHOUT_CALLBACKS = 24
MANY_BYTES = 1 << 16

pytestmark = pytest.mark.skipif(not INSTALLED, reason="no Node.js on this machine")


class Start(Protocol):
    def __call__(
        self,
        files: Mapping[str, str] | str,
        handler: str = "index.handler",
        variables: Mapping[str, str] | None = None,
        *,
        layers: Path | None = None,
        framed: bool = False,
    ) -> AbstractContextManager[Function]: ...


@pytest.fixture(params=INSTALLED, ids=lambda found: found.runtime)
def installation(request: pytest.FixtureRequest) -> RuntimeInstallation:
    found: RuntimeInstallation = request.param
    return found


@pytest.fixture
def runtime_dir(installation: RuntimeInstallation, tmp_path: Path) -> Path:
    directory = tmp_path / "runtime"
    directory.mkdir()
    copy_guest(installation, directory)
    return directory


@pytest.fixture
def start(installation: RuntimeInstallation, runtime_dir: Path, tmp_path: Path) -> Start:
    def function(
        files: Mapping[str, str] | str,
        handler: str = "index.handler",
        variables: Mapping[str, str] | None = None,
        *,
        layers: Path | None = None,
        framed: bool = False,
    ) -> AbstractContextManager[Function]:
        code = write(tmp_path / "task", {"index.js": files} if isinstance(files, str) else files)
        return running(installation, runtime_dir, code, handler, variables, layers=layers, framed=framed)

    return function


@pytest.fixture
def has_callbacks(installation: RuntimeInstallation) -> bool:
    return int(installation.version.split(".")[0]) < FIRST_WITHOUT_CALLBACKS


def error_of(posted: Posted) -> tuple[str, str, str]:
    document = posted.json()
    return posted.kind, document["errorType"], document["errorMessage"]


# Handlers


@pytest.mark.parametrize(
    ("files", "handler"),
    [
        ({"index.js": "exports.handler = async (event) => event.n + 1"}, "index.handler"),
        ({"index.cjs": "exports.handler = async (event) => event.n + 1"}, "index.handler"),
        ({"index.mjs": "export const handler = async (event) => event.n + 1"}, "index.handler"),
        (
            {"index.js": "export const handler = async (event) => event.n + 1", "package.json": '{"type": "module"}'},
            "index.handler",
        ),
        ({"deep/down/app.js": "exports.run = async (event) => event.n + 1"}, "deep/down/app.run"),
        ({"index.js": "exports.a = {b: {c: async (event) => event.n + 1}}"}, "index.a.b.c"),
        (
            {"index.mjs": "const one = await Promise.resolve(1); export const handler = async (e) => e.n + one"},
            "index.handler",
        ),
        ({"node_modules/packaged/index.js": "exports.handler = async (event) => event.n + 1"}, "packaged.handler"),
    ],
    ids=["js", "cjs", "mjs", "type module", "folders", "nested export", "top-level await", "package"],
)
def test_handlers_are_found_in_every_kind_of_module(start: Start, files: dict[str, str], handler: str) -> None:
    with start(files, handler) as function:
        assert function.api.call({"n": 1}).json() == 2
        assert function.api.call({"n": 41}).json() == 42


def test_the_context_says_what_it_says_on_lambda(start: Start) -> None:
    source = """
        exports.handler = async (event, context) => ({
            ...context, left: context.getRemainingTimeInMillis(), trace: process.env._X_AMZN_TRACE_ID,
            store: globalThis[Symbol.for('aws.lambda.runtime.requestId')],
        })
    """
    with start(source) as function:
        answer = function.api.call(
            deadline_s=10,
            client_context='{"custom": {"a": "b"}}',
            cognito_identity='{"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"}',
            aws_tenant_id="blue",
        ).json()
        plain = function.api.call(trace_id="").json()
    request_id = "00000000-0000-4000-8000-000000000001"
    assert 0 < answer.pop("left") <= 10_000
    answer.pop("callbackWaitsForEmptyEventLoop", None)
    assert answer == {
        "functionVersion": "$LATEST",
        "functionName": "hello",
        "memoryLimitInMB": "128",
        "logGroupName": "/aws/lambda/hello",
        "logStreamName": "2026/11/21/[$LATEST]0123456789abcdef0123456789abcdef",
        "clientContext": {"custom": {"a": "b"}},
        "identity": {"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"},
        "invokedFunctionArn": ARN,
        "awsRequestId": request_id,
        "tenantId": "blue",
        "trace": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
        "store": request_id,
    }
    assert not plain.keys() & {"tenantId", "clientContext", "identity", "trace"}


def test_undefined_is_sent_as_null(start: Start) -> None:
    with start("exports.handler = async () => undefined") as function:
        assert function.api.call().body == b"null"


def test_large_events_and_results_pass_unharmed(start: Start) -> None:
    event = {"text": "ü€😀" * 500_000}
    with start("exports.handler = async (event) => event") as function:
        assert function.api.call(event).json() == event
        assert function.api.call(1).json() == 1


def test_code_outside_the_handler_runs_once(start: Start) -> None:
    with start("let count = 0; exports.handler = async () => ++count") as function:
        assert [function.api.call().json() for _ in range(3)] == [1, 2, 3]
        assert function.api.connections_made == 1


def test_a_small_result_and_the_request_for_the_next_event_are_one_write(
    installation: RuntimeInstallation, runtime_dir: Path, tmp_path: Path
) -> None:
    code = write(tmp_path / "task", {"index.js": "exports.handler = async (event) => event"})
    argv = [str(installation.executable), str(runtime_dir / "bootstrap.cjs")]
    request = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(WAIT_S)
        variables = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{listener.getsockname()[1]}",
            "LAMBDA_TASK_ROOT": str(code),
            "_HANDLER": "index.handler",
        }
        with Runtime(argv, variables), listener.accept()[0] as connection:
            connection.settimeout(WAIT_S)
            assert connection.recv(MANY_BYTES) == request
            event = '"ü"'.encode()
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: r1\r\nContent-Length: %d\r\n\r\n" % len(event)
                + event
            )
            assert connection.recv(MANY_BYTES) == (
                b"POST /2018-06-01/runtime/invocation/r1/response HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(event) + event + request
            )


# Callbacks


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("callback(null, 'x')", "x"),
        ("setTimeout(() => callback(null, 'later'), 20)", "later"),
        ("context.succeed('s')", "s"),
        ("context.done(null, 'd')", "d"),
        ("callback(null, 'first'); callback(null, 'second')", "first"),
        ("let n = 0; setTimeout(() => { n = 1; }, 20); callback(null, {get n() { return n; }})", {"n": 1}),
        (
            "context.callbackWaitsForEmptyEventLoop = false; let n = 0; setTimeout(() => { n = 1; }, 20);"
            "callback(null, {get n() { return n; }})",
            {"n": 0},
        ),
        ("// never answers", None),
    ],
)
def test_callbacks_answer_until_node_22(start: Start, has_callbacks: bool, body: str, expected: Any) -> None:
    if not has_callbacks:
        pytest.skip("removed with Node.js 24")
    with start(f"exports.handler = (event, context, callback) => {{\n{body}\n}}") as function:
        assert function.api.call().json() == expected
        assert function.api.call().json() == expected


@pytest.mark.parametrize(
    "body", ["callback(new TypeError('x'))", "context.fail(new TypeError('x'))", "throw new TypeError('x')"]
)
def test_callbacks_fail_with_their_error(start: Start, has_callbacks: bool, body: str) -> None:
    if not has_callbacks:
        pytest.skip("removed with Node.js 24")
    with start(f"exports.handler = (event, context, callback) => {{ {body} }}") as function:
        assert error_of(function.api.call()) == ("error", "TypeError", "x")
        assert error_of(function.api.call()) == ("error", "TypeError", "x")


def test_a_callback_of_an_async_handler_wins_over_its_result(start: Start, has_callbacks: bool) -> None:
    if not has_callbacks:
        pytest.skip("removed with Node.js 24")
    with start(
        "exports.handler = async (e, c, callback) => { callback(null, 'callback'); return 'promise'; }"
    ) as function:
        assert function.api.call().json() == "callback"


def test_callback_handlers_are_refused_from_node_24(start: Start, has_callbacks: bool) -> None:
    if has_callbacks:
        pytest.skip("still there")
    with start("exports.handler = (event, context, callback) => callback(null, 1)") as function:
        kind, error_type, message = error_of(function.api.posted())
    assert (kind, error_type) == ("init/error", "Runtime.CallbackHandlerDeprecated")
    assert message.startswith(
        "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24."
    )


# Errors


def test_an_error_is_reported_with_its_trace_and_the_function_goes_on(start: Start) -> None:
    source = """
        class MyError extends Error { constructor(m) { super(m); this.name = 'MyError'; this.extra = 1; } }
        exports.handler = async (event) => { if (event) throw new MyError('went wrong'); return 'fine'; }
    """
    with start(source) as function:
        posted = function.api.call(True)
        assert function.api.call(False).json() == "fine"
        out, _ = function.runtime.stop()
    assert error_of(posted) == ("error", "MyError", "went wrong")
    assert posted.json()["trace"][0] == "MyError: went wrong"
    assert "index.js:3" in posted.json()["trace"][1]
    assert posted.headers["lambda-runtime-function-error-type"] == "MyError"
    assert json.loads(posted.headers["lambda-runtime-function-xray-error-cause"])["exceptions"][0]["type"] == "MyError"
    line = next(line for line in out.splitlines() if "Invoke Error" in line)
    assert line.split("\t")[1:4] == ["00000000-0000-4000-8000-000000000001", "ERROR", "Invoke Error "]
    assert json.loads(line.split("\t")[4]).items() >= {"errorType": "MyError", "extra": 1}.items()


@pytest.mark.parametrize(
    ("thrown", "error_type", "message"),
    [("'text'", "string", "text"), ("42", "number", "42"), ("undefined", "string", "handled")],
)
def test_whatever_is_thrown_is_reported(
    start: Start, has_callbacks: bool, thrown: str, error_type: str, message: str
) -> None:
    if thrown == "undefined" and not has_callbacks:
        error_type, message = (
            "handled",
            (
                "callback called with Error argument, but there was a problem while retrieving one or more of its message, "
                "name, and stack"
            ),
        )
    with start(f"exports.handler = async () => {{ throw {thrown}; }}") as function:
        assert error_of(function.api.call()) == ("error", error_type, message)


def test_a_result_that_is_no_json_is_an_error(start: Start) -> None:
    with start("exports.handler = async () => { const a = {}; a.a = a; return a; }") as function:
        assert error_of(function.api.call()) == ("error", "Error", "Unable to stringify response body")
        assert error_of(function.api.call()) == ("error", "Error", "Unable to stringify response body")


@pytest.mark.parametrize(
    ("files", "handler", "error_type", "message"),
    [
        ({}, "index.handler", "Runtime.ImportModuleError",
         "Error: Cannot find module 'index'\nRequire stack:\n- /var/runtime/index.mjs"),
        ({"index.js": "require('absent')"}, "index.handler", "Runtime.ImportModuleError",
         "Error: Cannot find module 'absent'\nRequire stack:\n- {task}/index.js\n- /var/runtime/index.mjs"),
        ({"index.js": "exports.other = 1"}, "index.handler", "Runtime.HandlerNotFound",
         "index.handler is undefined or not exported"),
        ({"index.js": "exports.handler = 1"}, "index.handler", "Runtime.HandlerNotFound", "index.handler is not a function"),
        ({"index.js": "exports.handler = async ( => 1"}, "index.handler", "Runtime.UserCodeSyntaxError",
         "SyntaxError: Unexpected token '=>'"),
        ({"index.js": ""}, "index", "Runtime.MalformedHandlerName", "Bad handler"),
        ({"index.js": ""}, "../index.handler", "Runtime.MalformedHandlerName",
         "'../index.handler' is not a valid handler name. Use absolute paths when specifying root directories in handler "
         "names."),
        ({"index.js": "throw new RangeError('at load')"}, "index.handler", "RangeError", "at load"),
        ({"index.mjs": "import 'absent'"}, "index.handler", "Error",
         "Cannot find package 'absent' imported from {task}/index.mjs"),
    ],
    ids=["no file", "no module", "no export", "no function", "syntax", "no dot", "dots", "throws", "no package"],
)  # fmt: skip
def test_a_function_that_cannot_be_loaded_fails_its_init(
    start: Start, tmp_path: Path, files: dict[str, str], handler: str, error_type: str, message: str
) -> None:
    (tmp_path / "task").mkdir(exist_ok=True)
    with start(files, handler) as function:
        posted = function.api.posted()
        status, _, _ = function.runtime.wait()
    assert error_of(posted) == ("init/error", error_type, message.replace("{task}", str(tmp_path / "task")))
    assert posted.headers["lambda-runtime-function-error-type"] == error_type
    assert status != 0


def test_an_uncaught_exception_ends_the_process_after_it_is_reported(start: Start) -> None:
    source = "exports.handler = () => new Promise(() => setTimeout(() => { throw new RangeError('late'); }, 5))"
    with start(source) as function:
        assert error_of(function.api.call()) == ("error", "RangeError", "late")
        status, out, _ = function.runtime.wait()
    assert status == 129
    assert "\tERROR\tUncaught Exception \t" in out


def test_an_unhandled_rejection_ends_the_process_after_it_is_reported(start: Start) -> None:
    source = """
        exports.handler = async () => { Promise.reject(new Error('nobody')); await new Promise((r) => setTimeout(r, 1000)); }
    """
    with start(source) as function:
        assert error_of(function.api.call()) == ("error", "Runtime.UnhandledPromiseRejection", "Error: nobody")
        status, out, _ = function.runtime.wait()
    assert status == 128
    assert "Unhandled Promise Rejection" in out


def test_a_promise_that_is_never_settled_is_an_error(start: Start) -> None:
    with start("exports.handler = async (event) => event || new Promise(() => {})") as function:
        assert error_of(function.api.call(0))[:2] == ("error", "Runtime.NodeJsExit")
        assert function.api.call(1).json() == 1


def test_process_exit_ends_it_with_its_status(start: Start) -> None:
    with start("exports.handler = async () => process.exit(7)") as function:
        function.api.send()
        assert function.runtime.wait()[0] == 7


# Log lines


LOGGING = """
    console.log('at load');
    exports.handler = async () => {
        console.trace('t'); console.debug('d'); console.info('i', {a: 1}); console.log('two\\nlines');
        console.warn('w'); console.error(new TypeError('e')); console.fatal('f');
    }
"""


def test_text_lines_carry_time_request_id_and_level(start: Start) -> None:
    with start(LOGGING) as function:
        function.api.call()
        out, _ = function.runtime.stop()
    lines = [line.split("\t") for line in out.split("\n")[:-1]]
    assert [line[1] for line in lines] == ["undefined"] + ["00000000-0000-4000-8000-000000000001"] * 7
    assert [line[2] for line in lines] == ["INFO", "TRACE", "DEBUG", "INFO", "INFO", "WARN", "ERROR", "FATAL"]
    assert [line[3] for line in lines[:6]] == ["at load", "t", "d", "i { a: 1 }", "two\rlines", "w"]
    assert lines[0][0].endswith("Z")


def test_frames_keep_lines_together_and_say_the_level(start: Start) -> None:
    with start(LOGGING, framed=True) as function:
        function.api.call()
        frames = function.runtime.log_frames()
    assert [frame[0] for frame in frames] == [0xA55A0003 | level << 2 for level in (3, 1, 2, 3, 3, 4, 5, 6)]
    assert frames[4][1].endswith("\tINFO\ttwo\nlines\n")


def test_json_lines_are_objects_of_the_wanted_level(start: Start) -> None:
    variables = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"}
    with start(LOGGING, variables=variables, framed=True) as function:
        function.api.call(aws_tenant_id="blue")
        frames = function.runtime.log_frames()
    assert [frame[0] for frame in frames] == [0xA55A0002 | level << 2 for level in (3, 3, 3, 4, 5, 6)]
    lines = [json.loads(message) for _, message in frames]
    assert lines[1].items() >= {"level": "INFO", "message": "i { a: 1 }", "tenantId": "blue"}.items()
    assert lines[1]["requestId"] == "00000000-0000-4000-8000-000000000001"
    assert lines[4]["message"].items() >= {"errorType": "TypeError", "errorMessage": "e"}.items()
    assert "requestId" not in lines[0]


# Streams


def test_a_stream_leaves_in_chunks_and_is_answered(start: Start) -> None:
    source = """
        const { pipeline } = require('stream/promises');
        const { Readable } = require('stream');
        exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
            stream.setContentType('text/plain');
            await pipeline(Readable.from(['one', 'two', context.awsRequestId.slice(-1)]), stream);
        });
    """
    with start(source) as function:
        for last in ("1", "2"):
            posted = function.api.call()
            assert posted.kind == "response"
            assert posted.body.decode() == "onetwo" + last
            assert posted.headers["lambda-runtime-function-response-mode"] == "streaming"
            assert posted.headers["content-type"] == "text/plain"
            assert "lambda-runtime-function-error-type" not in posted.headers


def test_an_http_stream_starts_with_its_prelude(start: Start) -> None:
    source = """
        exports.handler = awslambda.streamifyResponse(async (event, stream) => {
            const http = awslambda.HttpResponseStream.from(stream, {statusCode: 201, headers: {a: 'b'}});
            http.write({json: true});
            http.end();
        });
    """
    with start(source) as function:
        posted = function.api.call()
    prelude, _, body = posted.body.partition(bytes(8))
    assert json.loads(prelude) == {"statusCode": 201, "headers": {"a": "b"}}
    assert json.loads(body) == {"json": True}
    assert posted.headers["content-type"] == "application/vnd.awslambda.http-integration-response"


@pytest.mark.parametrize(
    "failing",
    [
        "throw new TypeError('midway')",
        "await require('stream/promises').pipeline((async function* () { throw new TypeError('midway'); })(), stream)",
    ],
)
def test_an_error_midway_is_told_in_the_trailers(start: Start, failing: str) -> None:
    source = f"""
        exports.handler = awslambda.streamifyResponse(async (event, stream) => {{
            if (!event) {{ stream.end('fine'); return; }}
            stream.write('some');
            {failing};
        }});
    """
    with start(source) as function:
        posted = function.api.call(1)
        after = function.api.call(0)
    assert posted.body == b"some"
    assert posted.headers["lambda-runtime-function-error-type"] == "TypeError"
    document = json.loads(base64.b64decode(posted.headers["lambda-runtime-function-error-body"]))
    assert (document["errorType"], document["errorMessage"]) == ("TypeError", "midway")
    assert after.body == b"fine"


def test_a_stream_may_end_after_the_handler_returned(start: Start) -> None:
    source = """
        exports.handler = awslambda.streamifyResponse(async (event, stream) => {
            stream.write('early ');
            setTimeout(() => stream.end('late'), 20);
        });
    """
    with start(source) as function:
        assert function.api.call().body == b"early late"
        assert function.api.call().body == b"early late"


def test_a_content_type_cannot_be_set_too_late(start: Start) -> None:
    source = """
        exports.handler = awslambda.streamifyResponse(async (event, stream) => {
            stream.write('x'); stream.setContentType('text/plain');
        });
    """
    with start(source) as function:
        assert function.api.call().headers["lambda-runtime-function-error-type"] == "Runtime.InvalidStreamingOperation"


# Packages in layers and of the runtime


PACKAGE = {
    "package.json": '{"name": "shared", "exports": {"import": "./index.mjs", "require": "./index.cjs"}}',
    "index.mjs": "export const where = 'es module in WHERE'",
    "index.cjs": "exports.where = 'commonjs in WHERE'",
}


def put_package(root: Path, where: str) -> None:
    write(root / "shared", {name: text.replace("WHERE", where) for name, text in PACKAGE.items()})


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"index.mjs": "import {where} from 'shared'; export const handler = async () => where"}, "es module"),
        ({"index.mjs": "export const handler = async () => (await import('shared')).where"}, "es module"),
        ({"index.mjs": "import {where} from './lib.mjs'; export const handler = async () => where",
          "lib.mjs": "export {where} from 'shared'"}, "es module"),
        ({"index.js": "exports.handler = async () => (await import('shared')).where"}, "es module"),
        ({"index.js": "exports.handler = async () => require('shared').where"}, "commonjs"),
    ],
    ids=["static import", "dynamic import", "import of an import", "import in commonjs", "require"],
)  # fmt: skip
@pytest.mark.parametrize("where", ["runtime", "layer", "layer of this version"])
def test_packages_outside_the_function_are_found(
    start: Start,
    installation: RuntimeInstallation,
    runtime_dir: Path,
    tmp_path: Path,
    files: dict[str, str],
    kind: str,
    where: str,
) -> None:
    layers = tmp_path / "opt"
    major = installation.version.split(".")[0]
    put_package(runtime_dir / "node_modules", "runtime")
    if where != "runtime":
        put_package(layers / "nodejs/node_modules", "layer")
    if where == "layer of this version":
        put_package(layers / f"nodejs/node{major}/node_modules", "layer of this version")
    with start(files, layers=layers) as function:
        assert function.api.call().json() == f"{kind} in {where}"


def test_a_package_of_the_function_wins(start: Start, runtime_dir: Path, tmp_path: Path) -> None:
    put_package(runtime_dir / "node_modules", "runtime")
    put_package(tmp_path / "task/node_modules", "function")
    with start({"index.mjs": "import {where} from 'shared'; export const handler = async () => where"}) as function:
        assert function.api.call().json() == "es module in function"


# The Runtime API


def test_a_connection_that_was_closed_in_between_is_opened_again(start: Start) -> None:
    with start("exports.handler = async (event) => event") as function:
        function.api.replies = lambda posted: Reply(hang_up=posted.body == b"1")
        assert [function.api.call(n).json() for n in (0, 1, 2)] == [0, 1, 2]


def test_a_refused_result_does_not_end_the_process(start: Start) -> None:
    with start("exports.handler = async (event) => event") as function:
        function.api.replies = lambda posted: Reply(status="413 Request Entity Too Large")
        assert [function.api.call(n).json() for n in (0, 1)] == [0, 1]


def test_the_heap_is_limited_by_the_functions_memory(start: Start) -> None:
    source = """
        const v8 = require('v8');
        exports.handler = async () => [v8.getHeapStatistics().heap_size_limit / 1024 / 1024, typeof gc];
    """
    with start(source) as function:
        limit_mib, collector = function.api.call().json()
    assert 0.9 * MEMORY_MIB <= limit_mib <= 1.1 * MEMORY_MIB
    assert collector == "function"
