"""Our Python client and AWS's own (awslambdaric) in the same conversations: what users see must be the same.

AWS's client is fetched with pip into a temporary directory; without a package index there is nothing to compare with.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from fake_runtime_api import FakeRuntimeApi, Posted, Runtime, function_variables
from lambent.runtimes.family import GUESTS

CLIENT = GUESTS / "python"


@pytest.fixture(scope="session")
def awslambdaric(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("awslambdaric")
    installing = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--target",
            target,
            "awslambdaric",
        ],
        capture_output=True,
        timeout=100,
        check=False,
    )
    if installing.returncode:
        pytest.skip("AWS's client could not be fetched: " + installing.stderr.decode()[-300:])
    return target


@attrs.frozen(kw_only=True)
class Conversation:
    source: str
    events: Sequence[Any] = (None,)
    handler: str = "app.handler"
    variables: Mapping[str, str] = attrs.field(factory=dict)
    headers: Mapping[str, Any] = attrs.field(factory=dict)
    framed: bool = True
    ends: bool = False  # the process ends by itself, and what was posted is all there is


@attrs.frozen(kw_only=True)
class Seen:
    """What a user or the platform can see of a conversation, without times and the clients' own paths."""

    posted: list[tuple[str, str | None, str]]
    output: str
    errors: str
    frames: list[tuple[int, str]]


RAISES = """
    class Wrong(Exception):
        pass
    def deep(n):
        if n:
            return deep(n - 1)
        raise Wrong("über\\nzwei Zeilen")
    def handler(event, context):
        try:
            {}["a"]
        except KeyError:
            deep(3)
    """
ANSWERS = """
    import collections, decimal, enum, datetime, math
    Point = collections.namedtuple("Point", "x y")
    class Colour(enum.IntEnum):
        RED = 1
    class Shade(str, enum.Enum):
        DARK = "dark"
    class Record:
        def _asdict(self):
            return {"as": "dict"}
    class Text(str):
        pass
    answers = [
        {"a": [1, 2.5, None, True, "ü\\u2028\\u0001\\"\\\\/"]}, "text", 1, None, [], {}, (1, (2,)), Point(1, Point(2, 3)),
        [Point(1, 2)], {"p": Point(1, {"q": Point(3, 4)})}, Colour.RED, {Colour.RED: Shade.DARK}, Text("t"),
        {1: 1, None: 2, True: 3, 2.5: 4}, {b"k": b"v"}, b"raw", [b"ok"], [b"\\xff"], [bytearray(b"x")], {(1, 2): 3},
        decimal.Decimal("1.10"), [decimal.Decimal("NaN"), decimal.Decimal("1E+400"), decimal.Decimal("-Infinity")],
        {"d": decimal.Decimal("0.1"), "s": '"0.1"'}, {decimal.Decimal("1"): 1}, math.nan, [math.inf, -math.inf], 10 ** 400,
        {1, 2}, object(), datetime.date(2026, 1, 1), Record(), [Record()], range(3), (i for i in range(3)), handler,
        collections.OrderedDict(b=1, a=2), collections.defaultdict(list, x=[1]), 1e22, 1e-7, -0.0, 1.0,
    ]
    """.replace("handler,", "print,")
LOGS = """
    import logging
    log = logging.getLogger("shop")
    logging.getLogger().warning("init")
    def handler(event, context):
        for level in (5, 10, 15, 20, 25, 30, 40, 45, 50, 60):
            log.log(level, "at %d", level)
        log.info({"dict": 1, "d": object}, extra={"order": 7, "level": "mine", "name2": [1, None]})
        log.warning("many\\nlines", extra={"thing": {1, }})
        log.error("args %s %s", "a", "b", stack_info=False)
        try:
            1 / 0
        except ZeroDivisionError:
            log.exception("failed %s", event)
        context.log("from the context")
        print("printed")
        print("no end", end="")
        print("three", "words", file=__import__("sys").stderr)
        return None
    """
CONTEXT = """
    def handler(event, context):
        return [repr(context), sorted(n for n in vars(context) if not n.startswith("_")), context.w3c(),
                repr(context.client_context), repr(context.identity), event]
    """

CONVERSATIONS = {
    "an exception": Conversation(source=RAISES),
    "an exception in JSON": Conversation(source=RAISES, variables={"AWS_LAMBDA_LOG_FORMAT": "JSON"}),
    "an exception without frames": Conversation(source=RAISES, framed=False),
    "a wrong signature": Conversation(source="def handler(): pass"),
    "an empty message": Conversation(source="def handler(event, context): raise ValueError"),
    "an exception group": Conversation(source="def handler(e, c): raise ExceptionGroup('g', [ValueError(1)])"),
    "a syntax error at run time": Conversation(source="def handler(event, context): exec('a b')"),
    "a stop": Conversation(source="def handler(event, context): raise StopIteration('x')"),
    "answers": Conversation(
        source=ANSWERS + "\n    def handler(event, context):\n        return answers[event]\n", events=range(41)
    ),
    "answers of the older runtimes": Conversation(
        source=ANSWERS + "\n    def handler(event, context):\n        return answers[event]\n",
        events=range(41),
        variables={"AWS_EXECUTION_ENV": "AWS_Lambda_python3.11"},
    ),
    "text logs": Conversation(source=LOGS),
    "text logs with a level": Conversation(source=LOGS, variables={"AWS_LAMBDA_LOG_LEVEL": "INFO"}),
    "text logs without frames": Conversation(source=LOGS, framed=False),
    "JSON logs": Conversation(
        source=LOGS, variables={"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "TRACE"}
    ),
    "JSON logs without frames": Conversation(
        source=LOGS,
        framed=False,
        variables={"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"},
        headers={"aws_tenant_id": "blue"},
    ),
    "the context": Conversation(source=CONTEXT, events=[{"ü": [1.5, 2**70]}]),
    "a full context": Conversation(
        source=CONTEXT,
        headers={
            "aws_tenant_id": "blue",
            "client_context": json.dumps(
                {
                    "client": {"app_title": "t", "installation_id": "i"},
                    "custom": {"a": 1},
                    "env": {"locale": "de"},
                    "w3c": {"traceparent": "00-1", "other": "x", "baggage": 5},
                }
            ),
            "cognito_identity": json.dumps({"cognitoIdentityId": "id", "cognitoIdentityPoolId": "pool"}),
        },
    ),
    "a bad client context": Conversation(source=CONTEXT, headers={"client_context": "{bad"}),
    "a module that is not there": Conversation(source="", handler="missing.handler", ends=True),
    "an import that fails": Conversation(source="import nowhere_to_be_found", ends=True),
    "a handler that is not there": Conversation(source="", ends=True),
    "a handler without a module": Conversation(source="", handler="handler", ends=True),
    "a handler in a built-in module": Conversation(source="", handler="sys.exit", ends=True),
    "a syntax error": Conversation(source="def handler(event, context):\n    return (\n", ends=True),
    "an indentation error": Conversation(source="def handler(event, context):\n return 1\n   return 2", ends=True),
    "an exception while importing": Conversation(source="def f():\n    raise OSError(5, 'no')\nf()", ends=True),
    "the same in JSON": Conversation(
        source="raise ValueError('no')", ends=True, variables={"AWS_LAMBDA_LOG_FORMAT": "JSON"}
    ),
    "the same without frames": Conversation(source="raise ValueError('no')", ends=True, framed=False),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_our_client_and_that_of_aws_show_the_same(name: str, awslambdaric: Path, tmp_path: Path) -> None:
    conversation = CONVERSATIONS[name]
    python = [sys.executable, "-B"]

    ours = hold(conversation, [*python, str(CLIENT / "bootstrap.py")], str(CLIENT), tmp_path / "task")
    theirs = hold(
        conversation,
        [*python, "-m", "awslambdaric", conversation.handler],
        f"{awslambdaric}:{tmp_path / 'task'}",
        tmp_path / "task",
    )

    assert ours == theirs


def hold(conversation: Conversation, argv: Sequence[str], python_path: str, code: Path) -> Seen:
    code.mkdir(exist_ok=True)
    (code / "app.py").write_text(textwrap.dedent(conversation.source))
    with FakeRuntimeApi() as api:
        environment = {
            **function_variables(api, code, conversation.handler, "python3.13"),
            "PYTHONPATH": python_path,
            **conversation.variables,
        }
        with Runtime(argv, environment, framed=conversation.framed) as runtime:
            if conversation.ends:
                posted = [api.posted()]
                assert runtime.wait()[0] == 1
            else:
                posted = [api.call(event, **conversation.headers) for event in conversation.events]
                api.send("the end", **conversation.headers)  # when it has been answered, everything before was written
                api.posted()
            output, errors = runtime.stop()
            frames = runtime.log_frames() if conversation.framed else []
    return Seen(
        posted=[(p.kind, _content_type(p), neutral(p.body.decode(errors="surrogateescape"))) for p in posted],
        output=neutral(output),
        errors=neutral(errors),
        frames=[(kind, neutral(message)) for kind, message in frames],
    )


def _content_type(posted: Posted) -> str | None:
    """AWS's client names none for errors of the init phase."""
    return None if posted.kind == "init/error" else posted.headers.get("content-type")


def neutral(text: str) -> str:
    """Without what differs by nature: times, addresses, and where the clients themselves lie and break their lines."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME", text)
    text = re.sub(r"0x[0-9a-f]{8,}", "0xADDRESS", text)
    return re.sub(r'(\\?")[^"]*/(?:awslambdaric|guest/python)/(\w+\.py\\?)", line \d+', r"\1CLIENT/\2", text)
