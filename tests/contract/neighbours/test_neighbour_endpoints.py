"""Services that are configured to be elsewhere: what arrives there is signed by the server, and its answer comes back whole."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs
import pytest

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.neighbours import endpoints
from lambent.neighbours.endpoints import Endpoints
from lambent.wire.messages import WireRequest
from lambent.wire.sigv4 import parse

CONTEXT = RequestContext(account_id="111122223333", region="eu-west-1", request_id="r", base_url="http://localhost")
KEY, SECRET = "AKIAREALREALREALREAL", "a secret of the server's own"


@attrs.define
class Elsewhere:
    """An endpoint that answers what it is told to, and keeps what it was asked."""

    url: str = ""
    asked: list[WireRequest] = attrs.field(factory=list)
    status: int = 200
    body: bytes = b"{}"
    may_answer: threading.Event = attrs.field(factory=threading.Event)

    def __attrs_post_init__(self) -> None:
        self.may_answer.set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, elsewhere: Elsewhere, *args: Any) -> None:
        self._elsewhere = elsewhere
        super().__init__(*args)

    def do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = WireRequest(method=self.command, path=path, query=query, headers=headers, body=body)
        self._elsewhere.asked.append(asked)
        self._elsewhere.may_answer.wait(30)
        self.send_response(self._elsewhere.status)
        self.send_header("content-length", str(len(self._elsewhere.body)))
        self.send_header("x-from", "elsewhere")
        self.end_headers()
        self.wfile.write(self._elsewhere.body)

    do_GET = do_PUT = do_POST = do_any

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    for cached in (endpoints._session, endpoints._client, endpoints._http):
        cached.cache_clear()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    elsewhere = Elsewhere()
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, elsewhere)) as server:
        elsewhere.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield elsewhere
        endpoints._http()._manager.clear()
        server.shutdown()
        thread.join()


async def test_a_clients_request_is_signed_again_and_its_answer_given_back(elsewhere: Elsewhere) -> None:
    elsewhere.body = b"content"
    request = WireRequest(
        method="PUT", path="/bucket/a%2Fb%20c", query="tagging&X-Amz-Signature=old&X-Amz-Credential=x",
        headers={"authorization": "AWS4-HMAC-SHA256 Credential=test/…", "x-amz-meta-a": "1", "host": "localhost:4566"},
        body=b"data",
    )  # fmt: skip
    answer = await Endpoints({"s3": elsewhere.url}).forward(CONTEXT, "s3", request)
    assert (answer.status, answer.body) == (200, b"content")
    assert ("x-from", "elsewhere") in answer.headers
    (came,) = elsewhere.asked
    assert (came.path, came.query, came.body) == ("/bucket/a%2Fb%20c", "tagging", b"data")
    assert came.headers["x-amz-meta-a"] == "1"
    signature = parse(came)
    assert (signature.access_key_id, signature.service, signature.region) == (KEY, "s3", "eu-west-1")


async def test_an_operation_by_members_goes_there_and_its_errors_come_back(elsewhere: Elsewhere) -> None:
    elsewhere.body = b'{"TableNames": ["t"]}'
    there = Endpoints({"dynamodb": elsewhere.url})
    assert await there.call(CONTEXT, "dynamodb", "ListTables", {}) == {"TableNames": ["t"]}
    elsewhere.status, elsewhere.body = 400, b'{"__type": "x#ResourceNotFoundException", "message": "no"}'
    with pytest.raises(AwsError) as told:
        await there.call(CONTEXT, "dynamodb", "DescribeTable", {"TableName": "t"})
    assert (told.value.code, told.value.message, told.value.status) == ("ResourceNotFoundException", "no", 400)


async def test_an_endpoint_that_cannot_be_reached_is_named(elsewhere: Elsewhere) -> None:
    gone = Endpoints({"s3": "http://127.0.0.1:1"})
    with pytest.raises(AwsError, match=r"ServiceException: The endpoint of s3, http://127\.0\.0\.1:1, cannot be used"):
        await gone.forward(CONTEXT, "s3", WireRequest(method="GET", path="/b/k"))


async def test_missing_credentials_are_named(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with pytest.raises(AwsError, match="There are no AWS credentials for the endpoint of s3"):
        await Endpoints({"s3": elsewhere.url}).forward(CONTEXT, "s3", WireRequest(method="GET", path="/b/k"))


async def test_an_endpoint_that_does_not_answer_yet_holds_up_nothing_else(elsewhere: Elsewhere) -> None:
    asyncio.get_running_loop().set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
    elsewhere.may_answer.clear()
    there = Endpoints({"dynamodb": elsewhere.url})
    asking = asyncio.ensure_future(there.call(CONTEXT, "dynamodb", "ListTables", {}))
    while not elsewhere.asked:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(int)
    assert not asking.done()
    elsewhere.may_answer.set()
    assert await asking == {}
