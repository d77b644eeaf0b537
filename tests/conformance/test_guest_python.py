"""The Python client as functions and their users see it, on every CPython of this machine."""

from __future__ import annotations

import decimal
import json
import subprocess
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from fake_runtime_api import ARN, FakeRuntimeApi, Posted, Reply, Runtime, function_variables
from guests import NO_DATA
from lambent.model.cage import RuntimeInstallation
from lambent.runtimes import python
from lambent.runtimes.family import copy_guest
from lambent.runtimes.search import standard_paths

INSTALLED = sorted(
    {found.runtime: found for found in python.find(standard_paths(NO_DATA))}.values(),
    key=lambda found: int(found.runtime.partition(".")[2]),
)
ERROR_TEXT_FRAME = 0xA55A0017

# What the sandbox's zygote does, without the cage.
FORKING = """
import os, signal, sys
sys.path[0] = sys.argv[1]
variables = dict(os.environ)
os.environ.pop("PYTHONPATH", None)
import lambent_runtime
lambent_runtime.preload()
rehearse, *_ = lambent_runtime.rehearsal()
rehearse(), rehearse()
pid = os.fork()
if pid == 0:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(variables)
    lambent_runtime.main()
status = os.waitpid(pid, 0)[1]
os._exit(status >> 8 if not status & 127 else 128 + (status & 127))
"""

# The oldest and the newest are asked everything, those between what differs between interpreters.
every_version = pytest.mark.parametrize("installation", INSTALLED, ids=lambda found: found.runtime, indirect=True)

Start = Callable[..., Runtime]


@pytest.fixture(params=[INSTALLED[0], INSTALLED[-1]], ids=lambda found: found.runtime, scope="module")
def installation(request: pytest.FixtureRequest) -> RuntimeInstallation:
    found: RuntimeInstallation = request.param
    return found


@pytest.fixture(scope="module")
def client_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runtime")
    copy_guest(INSTALLED[0], directory)
    return directory


@pytest.fixture
def api() -> Iterator[FakeRuntimeApi]:
    with FakeRuntimeApi() as api:
        yield api


@pytest.fixture
def start(api: FakeRuntimeApi, installation: RuntimeInstallation, client_dir: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a function from its source: `start(source, handler=..., forked=..., framed=..., **variables)`."""
    code = tmp_path / "task"
    code.mkdir()
    running: list[Runtime] = []

    def start_it(
        source: str | Mapping[str, str],
        *,
        handler: str = "app.handler",
        forked: bool = False,
        framed: bool = False,
        **variables: str,
    ) -> Runtime:
        for name, text in ({"app.py": source} if isinstance(source, str) else source).items():
            file = code / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))
        argv = [str(installation.executable), "-B", str(client_dir / "bootstrap.py")]
        if forked:
            argv[2:] = ["-S", "-c", FORKING, str(client_dir)]
        environment = function_variables(api, code, handler, installation.runtime)
        running.append(
            Runtime(argv, {**environment, "LAMBDA_RUNTIME_DIR": str(client_dir), **variables}, framed=framed)
        )
        return running[-1]

    yield start_it
    for runtime in running:
        runtime.stop()


@pytest.fixture(params=[False, True], ids=["executed", "forked"])
def forked(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@every_version
def test_a_handler_sees_the_event_and_every_attribute_of_the_context(
    api: FakeRuntimeApi, start: Start, forked: bool
) -> None:
    start(
        """
        import os
        names = ("aws_request_id function_name function_version invoked_function_arn memory_limit_in_mb log_group_name "
                 "log_stream_name tenant_id").split()
        def handler(event, context):
            shown = {name: getattr(context, name) for name in names}
            shown["event"] = event
            shown["remaining"] = context.get_remaining_time_in_millis()
            shown["identity"] = context.identity.cognito_identity_id
            shown["title"] = context.client_context.client.app_title
            shown["custom"] = context.client_context.custom
            shown["trace"] = os.environ.get("_X_AMZN_TRACE_ID")
            shown["repr"] = repr(context)
            return shown
        """,
        forked=forked,
    )

    request_id = api.send(
        {"key": "Zürich"},
        aws_tenant_id="blue",
        client_context='{"client": {"app_title": "shop"}, "custom": {"a": 1}}',
        cognito_identity='{"cognitoIdentityId": "id-1", "cognitoIdentityPoolId": "pool-1"}',
        trace_id="Root=1-2-3",
    )
    answer = api.posted()

    assert answer.path == f"/2018-06-01/runtime/invocation/{request_id}/response"
    assert answer.headers["content-type"] == "application/json"
    shown = answer.json()
    assert 0 < shown.pop("remaining") <= 3000
    assert shown.pop("repr").startswith(f"LambdaContext([aws_request_id={request_id},log_group_name=/aws/lambda/hello,")
    assert shown == {
        "aws_request_id": request_id,
        "function_name": "hello",
        "function_version": "$LATEST",
        "invoked_function_arn": ARN,
        "memory_limit_in_mb": "128",
        "log_group_name": "/aws/lambda/hello",
        "log_stream_name": "2026/11/21/[$LATEST]0123456789abcdef0123456789abcdef",
        "tenant_id": "blue",
        "event": {"key": "Zürich"},
        "identity": "id-1",
        "title": "shop",
        "custom": {"a": 1},
        "trace": "Root=1-2-3",
    }


@every_version
def test_an_exception_is_posted_and_logged_from_the_users_first_frame_on(
    api: FakeRuntimeApi, start: Start, forked: bool, tmp_path: Path
) -> None:
    runtime = start(
        """
        def inner():
            raise ValueError("no\\ngood")

        def handler(event, context):
            inner()
        """,
        forked=forked,
        framed=True,
    )

    posted = api.call({})

    file = tmp_path / "task" / "app.py"
    stack = [
        f'  File "{file}", line 6, in handler\n    inner()\n',
        f'  File "{file}", line 3, in inner\n    raise ValueError("no\\ngood")\n',
    ]
    assert posted.kind == "error"
    assert posted.headers["lambda-runtime-function-error-type"] == "ValueError"
    assert posted.json() == {
        "errorMessage": "no\ngood",
        "errorType": "ValueError",
        "requestId": "00000000-0000-4000-8000-000000000001",
        "stackTrace": stack,
    }
    assert api.call({}).kind == "error", "the environment goes on"
    frame_type, message = runtime.log_frames()[0]
    assert frame_type == ERROR_TEXT_FRAME
    assert message.replace("\u00a0", " ") == "[ERROR] ValueError: no\ngood\nTraceback (most recent call last):\n" + (
        "".join(stack).rstrip("\n")
    )


@pytest.mark.parametrize(
    ("source", "handler", "error_type", "message"),
    [
        ("", "nothing.handler", "Runtime.ImportModuleError", "Unable to import module 'nothing': No module named 'nothing'"),
        ("import nowhere", "app.handler", "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'nowhere'"),
        ("x = 1", "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ("x = 1", "handler", "Runtime.MalformedHandlerName", "Bad handler 'handler': not enough values to unpack (expected 2, got 1)"),
        ("x = 1", "sys.exit", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
        ("def handler(:\n  pass", "app.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app': invalid syntax"),
        ("raise KeyError('x')", "app.handler", "KeyError", "'x'"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith(("Runtime.", "KeyError")) else "",
)  # fmt: skip
def test_an_error_in_the_init_phase_is_posted_and_ends_the_process_with_status_1(
    api: FakeRuntimeApi, start: Start, source: str, handler: str, error_type: str, message: str
) -> None:
    runtime = start(source, handler=handler)

    posted = api.posted()

    assert posted.path == "/2018-06-01/runtime/init/error"
    assert posted.headers["lambda-runtime-function-error-type"] == error_type
    assert posted.json()["errorType"] == error_type
    assert posted.json()["errorMessage"].startswith(message)
    assert posted.json()["requestId"] == ""
    status, out, _ = runtime.wait()
    assert status == 1
    assert f"[ERROR] {error_type}: {message}" in out
    assert "LAMBDA_WARNING: Unhandled exception. The most likely cause is an issue in the function code." in out


def test_handlers_are_found_in_directories_and_packages(
    api: FakeRuntimeApi, start: Start, installation: RuntimeInstallation
) -> None:
    sources = {"src/deep/app.py": "def handler(event, context):\n    return __name__"}

    start(sources, handler="src/deep/app.handler")
    assert api.call().json() == "src.deep.app"


@every_version
def test_responses_are_encoded_as_aws_encodes_them(
    api: FakeRuntimeApi, start: Start, installation: RuntimeInstallation
) -> None:
    start(
        """
        import collections, decimal
        Point = collections.namedtuple("Point", "x y")
        ANSWERS = {
            "decimal": lambda: {"price": decimal.Decimal("1.10"), "many": [decimal.Decimal("1E+3"), decimal.Decimal("NaN")]},
            "named": lambda: [Point(1, (2, 3))],
            "bytes": lambda: {b"key": b"text"},
            "raw": lambda: b"\\x00\\xff",
            "text": lambda: "Zürich \\u2028",
            "none": lambda: None,
            "set": lambda: {1},
            "circle": lambda: circle(),
            "surrogate": lambda: chr(0xD800),
        }
        def circle():
            line = []
            line.append(line)
            return line
        def handler(event, context):
            return ANSWERS[event]()
        """
    )

    decimals = json.loads(api.call("decimal").body, parse_float=decimal.Decimal, parse_constant=str)
    assert decimals == {"price": decimal.Decimal("1.10"), "many": [1000, "NaN"]}
    assert api.call("named").body == b'[{"x": 1, "y": [2, 3]}]'
    assert api.call("bytes").body == b'{"key": "text"}'
    raw = api.call("raw")
    assert (raw.body, raw.headers["content-type"]) == (b"\x00\xff", "application/unknown")
    modern = int(installation.runtime.partition(".")[2]) >= 12
    assert api.call("text").body == ('"Zürich \u2028"'.encode() if modern else b'"Z\\u00fcrich \\u2028"')
    assert api.call("none").body == b"null"
    refused = api.call("set")
    assert refused.kind == "error"
    assert refused.headers["lambda-runtime-function-error-type"] == "Runtime.MarshalError"
    assert refused.json()["errorMessage"] == "Unable to marshal response: Object of type set is not JSON serializable"
    assert refused.json()["stackTrace"] == []
    assert api.call("circle").json()["errorMessage"] == "Unable to marshal response: Circular reference detected"
    assert api.call("surrogate").kind == ("error" if modern else "response")


@every_version
def test_long_strings_are_encoded_as_short_ones_are(api: FakeRuntimeApi, start: Start) -> None:
    start(
        """
        import collections, lambent_json
        encoder = lambent_json.Marshaller().encoder
        Point = collections.namedtuple("Point", "x")
        def told(encode, value):
            try:
                return encode(value)
            except Exception as error:
                return repr(error)
        def differs(value):
            return told(encoder.encode_utf8, value) != told(lambda value: encoder.encode(value).encode(), value)
        def handler(event, context):
            found = []
            for code in [*range(0x300), 0x2028, 0xD800, 0x1F600]:
                text = "x" * lambent_json.LONG_CHARACTERS + chr(code)
                found += [code for value in (
                    text, {"a": text}, {"b": chr(code), chr(code): text, "c": [1, (2.5, None)], "d": Point(text)},
                    {1: text, b"e": text}, {"f": text, "g": {1}}, {True: text}, {"h": [text]},
                ) if differs(value)]
            return found
        """
    )

    assert api.call().json() == []


def test_text_logs_carry_level_time_and_request_id_and_stay_one_event(
    api: FakeRuntimeApi, start: Start, forked: bool
) -> None:
    runtime = start(
        """
        import logging
        logging.warning("before")
        logger = logging.getLogger("shop")
        logger.setLevel(logging.INFO)
        def handler(event, context):
            logger.info("two\\nlines %s", event)
            logger.debug("too quiet")
            print("printed", end="")
        """,
        forked=forked,
        framed=True,
    )

    request_id = api.send(7)
    api.posted()

    (_, before), (kind, inside) = runtime.log_frames()
    assert before.split("\t")[0] == "[WARNING]"
    assert before.split("\t")[2:] == ["", "before\n"]
    assert kind == 0xA55A0003
    level, when, which, text = inside.split("\t")
    assert (level, which, text) == ("[INFO]", request_id, "two\nlines 7\n")
    assert len(when) == len("2026-11-21T08:00:00.123Z")
    assert runtime.stop()[0] == "printed"


@every_version
def test_json_logs_have_aws_members_and_levels(api: FakeRuntimeApi, start: Start) -> None:
    runtime = start(
        """
        import logging
        def handler(event, context):
            logging.debug("quiet")
            logging.info("plain %s", 1, extra={"order": 5})
            logging.info({"a": {"b": 1}})
            try:
                1 / 0
            except ZeroDivisionError:
                logging.exception("failed")
            raise KeyError("gone")
        """,
        framed=True,
        AWS_LAMBDA_LOG_FORMAT="JSON",
        AWS_LAMBDA_LOG_LEVEL="INFO",
    )

    request_id = api.send({}, aws_tenant_id="blue")
    api.posted()

    frames = runtime.log_frames()
    assert [kind for kind, _ in frames] == [0xA55A000E, 0xA55A000E, 0xA55A0016, 0xA55A0016]
    plain, structured, failed, uncaught = (json.loads(message) for _, message in frames)
    assert plain.pop("timestamp").endswith("Z")
    assert plain == {
        "level": "INFO",
        "message": "plain 1",
        "logger": "root",
        "requestId": request_id,
        "tenantId": "blue",
        "order": 5,
    }
    assert structured["message"] == {"a": {"b": 1}}
    assert failed["errorType"] == "ZeroDivisionError"
    assert failed["errorMessage"] == "division by zero"
    assert failed["location"].endswith("app.py:handler:10")
    assert "in handler" in failed["stackTrace"][0]
    assert (uncaught["level"], uncaught["errorType"], uncaught["requestId"]) == ("ERROR", "KeyError", request_id)


def test_without_a_descriptor_for_frames_an_error_is_one_line_of_output(api: FakeRuntimeApi, start: Start) -> None:
    runtime = start("def handler(event, context):\n    print('first')\n    raise RuntimeError('bad')")

    api.call()

    first, error, end = runtime.stop()[0].split("\n")
    assert (first, end) == ("first", "")
    assert error.split("\r")[:2] == ["[ERROR] RuntimeError: bad", "Traceback (most recent call last):"]


@every_version
def test_a_handler_with_the_wrong_parameters_shows_the_runtimes_own_frame(api: FakeRuntimeApi, start: Start) -> None:
    start("def handler():\n    pass", forked=True)

    error = api.call().json()

    assert error["errorMessage"] == "handler() takes 0 positional arguments but 2 were given"
    assert len(error["stackTrace"]) == 1
    assert "bootstrap.py" in error["stackTrace"][0]
    assert "response = request_handler(event, lambda_context)" in error["stackTrace"][0]


@pytest.mark.parametrize(
    ("statement", "status", "shown"),
    [
        ("sys.exit(7)", 7, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('reason')", 1, "reason"),
        ("raise KeyboardInterrupt", 1, "KeyboardInterrupt"),
        ("os._exit(3)", 3, ""),
    ],
)
def test_a_function_that_ends_its_process_ends_it_with_its_own_status(
    api: FakeRuntimeApi, start: Start, forked: bool, statement: str, status: int, shown: str
) -> None:
    source = f"""
    import atexit, os, sys
    atexit.register(print, "at exit")
    def handler(event, context):
        {statement}
    """
    runtime = start(source, forked=forked)

    api.send({})

    ended, out, err = runtime.wait()
    assert ended == status
    assert shown in err
    assert "lambent_" not in err
    assert out == ("" if "_exit" in statement else "at exit\n")


def test_a_refused_response_is_logged_and_the_next_event_is_served(api: FakeRuntimeApi, start: Start) -> None:
    too_large = (
        b'{"errorMessage":"Exceeded maximum allowed payload size (6291556 bytes).","errorType":"RequestEntityTooLarge"}'
    )

    def replies(posted: Posted) -> Reply:
        if len(posted.body) > 6 * 1024 * 1024:
            return Reply(status="413 Request Entity Too Large", body=too_large, hang_up=True)
        return Reply()

    api.replies = replies
    runtime = start("def handler(event, context):\n    return 'x' * event")

    assert len(api.call(7 * 1024 * 1024).body) > 7 * 1024 * 1024
    assert api.call(3).body == b'"xxx"'
    assert len(api.call(6 * 1024 * 1024 - 2).body) == 6 * 1024 * 1024
    complaint = runtime.stop()[1]
    assert "LAMBDA_RUNTIME Failed to post handler success response. Http response code: 413." in complaint
    assert "RequestEntityTooLarge" in complaint


def test_events_of_6_mb_arrive_whole(api: FakeRuntimeApi, start: Start) -> None:
    start("def handler(event, context):\n    return len(event)")

    assert api.call("x" * (6 * 1024 * 1024 - 2)).json() == 6 * 1024 * 1024 - 2
    assert api.connections_made == 1


def test_memory_for_large_events_is_taken_once(api: FakeRuntimeApi, start: Start) -> None:
    start(
        """
        import resource
        def handler(event, context):
            return {"text": event, "faults": resource.getrusage(resource.RUSAGE_SELF).ru_minflt}
        """
    )

    text = "x" * 5_900_000
    for _ in range(3):
        api.call(text)
    before, after = (api.call(text).json()["faults"] for _ in range(2))
    assert after - before < 500  # one of its copies alone has 1440 pages


def test_a_function_that_closes_every_descriptor_is_still_answered(api: FakeRuntimeApi, start: Start) -> None:
    start("import os\ndef handler(event, context):\n    os.closerange(0, 1024)\n    return event", framed=True)

    assert api.call(1).json() == 1
    assert api.call(2).json() == 2


def test_code_comes_before_layers_and_layers_before_the_runtime(
    api: FakeRuntimeApi, start: Start, forked: bool, tmp_path: Path, client_dir: Path
) -> None:
    layers = tmp_path / "opt"
    (layers / "python").mkdir(parents=True)
    (layers / "python" / "in_layer.py").write_text("where = 'layer'")
    (layers / "python" / "app.py").write_text("raise AssertionError('the code comes first')")
    start(
        """
        import sys, os
        import in_layer
        def handler(event, context):
            return {"path": sys.path, "layer": in_layer.where, "cwd": os.getcwd(), "main": sys.modules["__main__"].__file__,
                    "argv": sys.argv, "environ": sorted(os.environ)}
        """,
        forked=forked,
        _LAMBENT_LAYERS_ROOT=str(layers),
        PYTHONPATH=str(client_dir),
    )

    seen = api.call().json()

    path = seen["path"]
    assert path[0] == seen["cwd"] == str(tmp_path / "task")
    assert path[1].startswith(f"{layers}/python/lib/python3.")
    assert path[2:4] == [f"{layers}/python", str(client_dir)]
    assert not [entry for entry in path if entry.endswith(("site-packages", "dist-packages"))][1:]
    assert seen["layer"] == "layer"
    assert seen["argv"] == [seen["main"]] == [str(client_dir / "bootstrap.py")]
    assert not [name for name in seen["environ"] if name.startswith(("_LAMBENT", "_LAMBDA"))]


def test_a_python_path_of_the_functions_own_replaces_the_layers(
    api: FakeRuntimeApi, start: Start, forked: bool, tmp_path: Path, client_dir: Path
) -> None:
    start(
        {"app.py": "import lib_module, sys\ndef handler(e, c):\n    return sys.path", "lib/lib_module.py": ""},
        forked=forked,
        PYTHONPATH=str(tmp_path / "task" / "lib"),
    )

    assert api.call().json()[:3] == [str(tmp_path / "task"), str(client_dir), str(tmp_path / "task" / "lib")]


def test_path_files_beside_the_code_are_followed(api: FakeRuntimeApi, start: Start, tmp_path: Path) -> None:
    extra = tmp_path / "extra"
    extra.mkdir()
    (extra / "far_away.py").write_text("")
    start({"app.py": "import far_away\ndef handler(e, c):\n    return 1", "my.pth": str(extra)})

    assert api.call().json() == 1


@every_version
def test_a_module_of_the_function_wins_over_one_that_was_imported_ahead(
    api: FakeRuntimeApi, start: Start, forked: bool
) -> None:
    start(
        {
            "app.py": "import queue, uuid, lambent_there\ndef handler(e, c):\n    return [queue.mine, uuid.mine, lambent_there.x]",
            "queue.py": "mine = 1",
            "uuid/__init__.py": "mine = 2",
            "lambent_there.py": "x = 3",
        },
        forked=forked,
    )

    assert api.call().json() == [1, 2, 3]


def test_a_fork_starts_the_interpreter_anew_for_variables_that_only_it_reads(api: FakeRuntimeApi, start: Start) -> None:
    runtime = start(
        "import sys, logging\ndef handler(e, c):\n    logging.error('logged')\n    return [sys.flags.optimize, sys.flags.no_site]",
        forked=True,
        framed=True,
        PYTHONOPTIMIZE="2",
    )

    assert api.call().json() == [2, 0]
    assert "logged" in runtime.log_frames()[0][1]


@every_version
def test_a_forked_function_has_the_builtins_of_an_executed_one(api: FakeRuntimeApi, start: Start) -> None:
    source = """
    import builtins, signal, sys, multiprocessing
    def handler(event, context):
        return [sorted(vars(builtins)), signal.getsignal(signal.SIGPIPE).name, sys.stdout.encoding, sys.stdout.errors]
    """
    seen = []
    for forked in (False, True):
        runtime = start(source, forked=forked)
        seen.append(api.call().json())
        runtime.stop()
    assert set(seen[0][0]) - {"_"} <= set(seen[1][0])
    assert seen[0][1:] == seen[1][1:] == ["SIG_IGN", "utf-8", "strict"]


def test_threads_that_a_function_left_behind_do_not_stop_the_next_event(api: FakeRuntimeApi, start: Start) -> None:
    start(
        """
        import threading
        done = threading.Event()
        def handler(event, context):
            if event == "start":
                threading.Thread(target=done.wait).start()
            else:
                done.set()
            return threading.active_count()
        """,
        forked=True,
    )

    assert api.call("start").json() == 2
    assert api.call("stop").kind == "response"


def test_a_connection_that_broke_while_waiting_is_made_again(api: FakeRuntimeApi, start: Start) -> None:
    api.replies = lambda posted: Reply(hang_up=True)
    start("def handler(event, context):\n    return event")

    assert [api.call(number).json() for number in range(3)] == [0, 1, 2]
    assert api.connections_made >= 3


def test_a_runtime_without_its_api_says_so_and_ends(start: Start) -> None:
    runtime = start("def handler(event, context):\n    pass", AWS_LAMBDA_RUNTIME_API="127.0.0.1:1")

    status, _, err = runtime.wait()

    assert status == 1
    assert "LAMBDA_RUNTIME Failed to get next invocation" in err


STATE = """
import gc, json, logging, os, signal, sys, time
sys.path[0] = sys.argv[1]
import lambent_runtime
lambent_runtime.preload()
from lambent_output import Current

def state():
    root = logging.getLogger()
    return {
        "modules": {name: id(module) for name, module in sys.modules.items()}, "variables": dict(os.environ),
        "path": list(sys.path), "finders": sorted(sys.path_importer_cache), "arguments": list(sys.argv),
        "streams": [id(one) for one in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)],
        "logging": [root.level, [id(one) for one in root.handlers], sorted(root.manager.loggerDict), str(logging.Formatter.converter)],
        "current": [Current.request_id, Current.tenant_id], "directory": os.getcwd(), "time": time.tzname, "umask": os.umask(0o022),
        "open": os.listdir("/proc/self/fd"), "threads": len(os.listdir("/proc/self/task")), "collects": gc.isenabled(),
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM, signal.SIGCHLD)],
        "bytecode": [sys.dont_write_bytecode, sys.pycache_prefix], "there": sorted(os.listdir(sys.argv[1] + "/rehearsal")),
    }

before = state()
rehearse, *_ = lambent_runtime.rehearsal()
rehearse()
after = state()
print(json.dumps([name for name in before if before[name] != after[name]]))
"""


@every_version
def test_a_rehearsal_leaves_the_process_as_it_was(installation: RuntimeInstallation, client_dir: Path) -> None:
    assert installation.executable is not None
    command = [str(installation.executable), "-S", "-c", STATE, str(client_dir)]
    environ = {"PATH": "/usr/bin:/bin", "PYTHONHASHSEED": "0", "TZ": "Asia/Tokyo"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ)
    assert (done.stdout, done.stderr) == ("[]\n", "")
