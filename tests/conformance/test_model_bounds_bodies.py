"""Requests that no SDK would send: bodies of any bytes, addresses of any characters. Always answered, and as AWS answers."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_harness import REGION, ROLE, Control, zipped
from lambent.front.gateway import LAMBDA_REQUEST_MAX_BYTES, Gateway
from lambent.http1.server import Server
from lambent.wire.models import Models
from model_cases import fitting
from raw_gateway import AUTHORIZATION, LAMBDA, Anything, NoRoad, Raw, Reply, ask, request_of

MODELS = Models()
NOT_INVOKES = [name for name in LAMBDA.operation_names if name not in ("Invoke", "InvokeWithResponseStream")]
WITH_BODY = [
    name
    for name in NOT_INVOKES
    for shape in [LAMBDA.operation_model(name).input_shape]
    if any("location" not in member.serialization for member in shape.members.values())
    and not ("payload" in shape.serialization and shape.members[shape.serialization["payload"]].type_name == "blob")
]
BY_ARN = "arn:{partition}:{service}:{region}:{account}:function:f"
MEMBER_NAMES = sorted({name for o in WITH_BODY for name in LAMBDA.operation_model(o).input_shape.members})


class Pair:
    """A gateway before a real Lambda service with one function, on a loop of its own so that hypothesis can use it."""

    def __init__(self, data: Path) -> None:
        self.runner = asyncio.Runner()
        self.run(self._start(data))

    async def _start(self, data: Path) -> None:
        self.control = Control(data)
        self.control.start_reconciling()
        service = Anything()  # for what is not built, so that its requests are read and validated all the same
        service.operations = {**service.operations, **self.control.service.operations}
        self.gateway = Gateway([service], NoRoad(), models=MODELS)
        await self.control.create("f")

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def answer(self, raw: Raw) -> Reply:
        reply: Reply = self.run(asyncio.wait_for(ask(self.gateway, raw), 10))
        return reply

    def close(self) -> None:
        self.run(self.gateway.close())
        self.run(self.control.close())
        self.runner.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(tmp_path_factory.mktemp("lambda"))
    yield made
    made.close()


def check_refused(reply: Reply) -> None:
    """AWS's shape, and never a fault of ours."""
    assert 400 <= reply.status < 500, reply
    assert reply.code, reply
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-amzn-requestid"]
    assert isinstance(json.loads(reply.body), dict)


def check_answered(reply: Reply) -> None:
    """The same, or success: bytes that happen to be a good request are one."""
    if reply.status >= 300:
        check_refused(reply)


def with_body(operation: str, body: bytes, content_type: str = "application/json") -> Raw:
    raw = request_of(operation, fitting(LAMBDA.operation_model(operation).input_shape))
    return attrs.evolve(raw, body=body, headers={"Content-Type": content_type})


NOT_JSON = [
    b"not json", b"{", b'{"a":', b'{"a":1}}', b"\x00", b'{"a":"\x00"}', b"\xff\xfe", b'{"Description":"\xff"}', b"{'a':1}",
    b'{"a":NaN}', b'{"a":Infinity}', b'{"a":01}', b'{"a":1,}', b"\xef\xbb\xbf{}", b'{"Description":"\\ud800"}', b"[" * 100_000,
    b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000, b"<xml/>", b"a=b&c=d",
]  # fmt: skip
WRONG_TOPS = [b"[]", b'"text"', b"7", b"true", b"[{}]"]


@pytest.mark.parametrize("operation", WITH_BODY)
def test_bodies_that_are_not_json_are_refused(operation: str, pair: Pair) -> None:
    for body in NOT_JSON:
        check_refused(pair.answer(with_body(operation, body)))


@pytest.mark.parametrize("operation", WITH_BODY)
def test_bodies_that_are_no_object_are_refused(operation: str, pair: Pair) -> None:
    for body in WRONG_TOPS:
        reply = pair.answer(with_body(operation, body))
        check_refused(reply)
        assert reply.code == "SerializationException", reply


def test_structures_within_structures_are_read_however_deep_they_are(pair: Pair) -> None:
    for depth in (100, 3_000, 100_000):
        for operation in WITH_BODY:
            check_answered(pair.answer(with_body(operation, b'{"Environment":' * depth + b"{}" + b"}" * depth)))


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "\u00e9"]
)
def test_the_content_type_of_a_request_does_not_matter(content_type: str, pair: Pair) -> None:
    """As at AWS, where the address alone says what a REST request is."""
    body = json.dumps({"Description": "x"}).encode()
    raw = Raw(
        method="PUT",
        target="/2015-03-31/functions/none/configuration",
        body=body,
        headers={"Content-Type": content_type},
    )
    assert pair.answer(raw).code == "ResourceNotFoundException"


def test_of_two_members_of_one_name_the_last_counts(pair: Pair) -> None:
    body = b'{"Description": 7, "Timeout": 0, "Description": "x", "Timeout": 901}'
    reply = pair.answer(with_body("UpdateFunctionConfiguration", body))
    assert (reply.code, reply.message) == (
        "ValidationException",
        "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: "
        "Member must have value less than or equal to 900",
    )


@pytest.mark.parametrize(
    "number", ["1" + "0" * 400, "1e400", "-1e400", "1" + "0" * 30, "9223372036854775808", "-2147483649"]
)
def test_numbers_that_nothing_can_hold_are_refused(number: str, pair: Pair) -> None:
    for name in ("Timeout", "MemorySize"):
        reply = pair.answer(with_body("UpdateFunctionConfiguration", f'{{"{name}": {number}}}'.encode()))
        assert (reply.status, reply.code) == (400, "SerializationException"), reply


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBER_NAMES) | st.text(), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
QUICK = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)


@QUICK
@given(operation=st.sampled_from(WITH_BODY), body=st.binary(max_size=200))
def test_any_bytes_are_answered(operation: str, body: bytes, pair: Pair) -> None:
    check_answered(pair.answer(with_body(operation, body)))


@QUICK
@given(operation=st.sampled_from(WITH_BODY), members=st.dictionaries(st.sampled_from(MEMBER_NAMES), JSON, max_size=6))
def test_any_json_is_answered(operation: str, members: dict[str, Any], pair: Pair) -> None:
    check_answered(pair.answer(with_body(operation, json.dumps(members).encode())))


@QUICK
@given(operation=st.sampled_from(WITH_BODY), at=st.integers(0, 400), junk=st.binary(min_size=0, max_size=3))
def test_any_damage_to_a_good_request_is_answered(operation: str, at: int, junk: bytes, pair: Pair) -> None:
    raw = request_of(operation, fitting(LAMBDA.operation_model(operation).input_shape))
    at = min(at, len(raw.body))
    for body in (raw.body[:at], raw.body[:at] + junk + raw.body[at:], raw.body[:at] + junk):
        check_answered(pair.answer(attrs.evolve(raw, body=body)))


@QUICK
@given(
    operation=st.sampled_from(NOT_INVOKES),
    text=st.text(alphabet=st.sampled_from("aZ0%/.:;$ \\\"'\x00\x7f\u00e9\U0001f600\ud800"), min_size=1, max_size=40)
    | st.sampled_from(["..", "%2e%2e", "%2F", "%", "%zz", "%00", "%C0%AF", "%252e", "a" * 9_000, "f:", ":f", "f::f", "$LATEST"]),
    is_quoted=st.booleans(),
)  # fmt: skip
def test_any_label_in_an_address_is_answered(operation: str, text: str, is_quoted: bool, pair: Pair) -> None:
    raw = request_of(operation, fitting(LAMBDA.operation_model(operation).input_shape))
    quoted = "".join(
        c if (c.isalnum() and c.isascii()) or (c in "%.:;$" and not is_quoted) else _percent(c) for c in text
    )
    parts = raw.target.partition("?")[0].split("/")
    for number in range(3, len(parts)):
        target = "/".join([*parts[:number], quoted, *parts[number + 1 :]])
        check_answered(pair.answer(attrs.evolve(raw, target=target)))


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


@QUICK
@given(operation=st.sampled_from(NOT_INVOKES), query=st.text(alphabet="aM=&%?+;0Z\u007f/", max_size=30))
def test_any_query_is_answered(operation: str, query: str, pair: Pair) -> None:
    raw = request_of(operation, fitting(LAMBDA.operation_model(operation).input_shape))
    check_answered(pair.answer(attrs.evolve(raw, target=f"{raw.target.partition('?')[0]}?{query}")))


FOREIGN = [
    ({"region": "us-west-2"}, 404, "ResourceNotFoundException"),
    ({"account": "210987654321"}, 403, "AccessDeniedException"),
    ({"service": "sqs"}, 400, "ValidationException"),
    ({"partition": "azure"}, 400, "ValidationException"),
    ({"region": ""}, 400, "ValidationException"),
    ({"account": "12345"}, 400, "ValidationException"),
]
ON_A_FUNCTION = [
    "GetFunction", "GetFunctionConfiguration", "DeleteFunction", "ListVersionsByFunction", "ListAliases", "GetFunctionConcurrency",
    "PublishVersion", "UpdateFunctionConfiguration", "UpdateFunctionCode",
]  # fmt: skip


@pytest.mark.parametrize(("change", "status", "code"), FOREIGN, ids=lambda value: str(value))
def test_arns_of_elsewhere_are_refused(change: dict[str, str], status: int, code: str, pair: Pair) -> None:
    arn = BY_ARN.format(
        **{"partition": "aws", "service": "lambda", "region": REGION, "account": "123456789012"} | change
    )
    for operation in ON_A_FUNCTION:
        reply = pair.answer(request_of(operation, {"FunctionName": arn}))
        check_refused(reply)
        assert (reply.status, reply.code) == (status, code), (operation, reply)


def test_of_all_this_nothing_is_left_behind(pair: Pair) -> None:
    found = json.loads(pair.answer(request_of("GetFunctionConfiguration", {"FunctionName": "f"})).body)
    assert (found["State"], found["Role"]) == ("Active", ROLE)


# --- through a socket --------------------------------------------------------------------------------------------------


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[tuple[str, int]]:
    control = Control(tmp_path)
    gateway = Gateway([control.service], NoRoad(), models=MODELS)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.setblocking(False)
    server = Server(gateway)
    await server.serve(listener)
    yield "127.0.0.1", port
    server.close()
    await gateway.close()
    await control.close()


async def spoken(address: tuple[str, int], *pieces: bytes) -> bytes:
    """What comes back, until the server closes or has answered one request."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return head + await asyncio.wait_for(reader.readexactly(length), 20)
    finally:
        writer.close()


def head(*lines: str, target: str = "/2015-03-31/functions") -> bytes:
    return "\r\n".join(
        [f"POST {target} HTTP/1.1", "Host: x", f"Authorization: {AUTHORIZATION}", *lines, "", ""]
    ).encode()


TOO_LARGE = f"Request must be smaller than {LAMBDA_REQUEST_MAX_BYTES} bytes for the CreateFunction operation"
INVOKE_TOO_LARGE = "Request must be smaller than 6291456 bytes for the InvokeFunction operation"


@pytest.mark.parametrize(
    ("target", "message"),
    [("/2015-03-31/functions", TOO_LARGE), ("/2015-03-31/functions/f/invocations", INVOKE_TOO_LARGE)],
)
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_hundred_megabytes_are_refused_and_not_kept(
    target: str, message: str, is_chunked: bool, address: tuple[str, int]
) -> None:
    piece, count = b"x" * 1_000_000, 100
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if is_chunked:
        framed = b"%x\r\n%b\r\n" % (len(piece), piece)
        pieces = [head("Transfer-Encoding: chunked", target=target), *[framed] * count, b"0\r\n\r\n"]
    else:
        pieces = [head(f"Content-Length: {len(piece) * count}", target=target), *[piece] * count]
    reply = await spoken(address, *pieces)
    assert reply.startswith(b"HTTP/1.1 413 "), reply
    assert b"x-amzn-ErrorType: RequestEntityTooLargeException" in reply
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["message"] == message
    if not is_chunked:
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 20_000


async def test_a_connection_serves_on_after_a_body_that_was_too_large(address: tuple[str, int]) -> None:
    reader, writer = await asyncio.open_connection(*address)
    piece = b"x" * 10_000_000
    writer.write(head(f"Content-Length: {len(piece)}", target="/2015-03-31/functions/f/invocations") + piece)
    writer.write(request_of("ListFunctions", {}).lines())
    first = await asyncio.wait_for(reader.readuntil(b"}"), 20)
    second = await asyncio.wait_for(reader.readuntil(b"}"), 20)
    writer.close()
    assert first.startswith(b"HTTP/1.1 413 ")
    assert second.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: -1",),
        ("Content-Length: 7x",),
        ("Content-Length: 99999999999999999999999999",),
        ("Content-Length: 2", "Content-Length: 3"),
        ("Content-Length: 2", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: nonsense",),
    ],
)
async def test_lengths_that_mean_nothing_are_refused(lines: tuple[str, ...], address: tuple[str, int]) -> None:
    reply = await spoken(address, head(*lines) + b"{}\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 400 "), reply


async def test_a_client_that_promises_more_than_it_sends_harms_nobody(address: tuple[str, int]) -> None:
    for lines in (("Content-Length: 1000",), ("Transfer-Encoding: chunked",)):
        _, writer = await asyncio.open_connection(*address)
        writer.write(head(*lines) + b"5\r\n")
        await writer.drain()
        writer.close()
    reply = await spoken(address, request_of("ListFunctions", {}).lines())
    assert reply.startswith(b"HTTP/1.1 200 ")


def members_of_a_good_one() -> dict[str, Any]:
    return {
        "FunctionName": "g",
        "Role": ROLE,
        "Runtime": "python3.13",
        "Handler": "a.b",
        "Code": {"ZipFile": zipped(a="1")},
    }


BAD: list[tuple[str, Callable[[], dict[str, Any]], str]] = [
    ("CreateFunction", lambda: {**members_of_a_good_one(), "Timeout": 0}, "Value '0' at 'timeout'"),
    ("CreateFunction", lambda: {**members_of_a_good_one(), "Role": "r"}, "Value 'r' at 'role'"),
    ("CreateFunction", lambda: {"FunctionName": "a b"}, "3 validation errors detected: Value null at 'role'"),
    ("ListFunctions", lambda: {"MaxItems": 0}, "Value '0' at 'maxItems'"),
    ("TagResource", lambda: {"Resource": "x", "Tags": {"!": "v"}}, "2 validation errors detected"),
]


@pytest.mark.parametrize(("operation", "members", "message"), BAD)
async def test_the_same_sentences_come_through_a_socket(
    operation: str, members: Callable[[], dict[str, Any]], message: str, address: tuple[str, int]
) -> None:
    reply = await spoken(address, request_of(operation, members()).lines())
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"x-amzn-ErrorType: ValidationException" in reply
    assert message.encode() in reply
