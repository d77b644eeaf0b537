"""API destinations: what an HTTP server sees of an event, with each kind of authorization."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs
import pytest

from bridge_harness import ACCOUNT, REGION, ROLE, Bridge
from lambent.model.errors import AwsError
from lambent.services.events.api_destinations import TIMEOUT_S, Request, exchange

LETTERS = f"arn:aws:sqs:{REGION}:{ACCOUNT}:letters"


@attrs.define
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[Seen] = []
        self.statuses: list[int] = []  # of the next answers; then 200
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.answered = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        self.server.seen.append(Seen(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        self.server.may_answer.wait(TIMEOUT_S)
        self.server.answered += 1
        answer = json.dumps({"access_token": "t0ken", "token_type": "Bearer", "expires_in": 600}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_POST

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


async def destination(bridge: Bridge, server: Server, kind: str, parameters: dict[str, Any], **target: Any) -> str:
    """Its ARN; a rule sends to it."""
    url = f"http://127.0.0.1:{server.server_port}"
    connection = await bridge.call("CreateConnection", Name="c", AuthorizationType=kind, AuthParameters=parameters)
    made = await bridge.call(
        "CreateApiDestination", Name="d", ConnectionArn=connection["ConnectionArn"], HttpMethod="PUT",
        InvocationEndpoint=f"{url}/orders/*/items",
    )  # fmt: skip
    assert made["ApiDestinationState"] == "ACTIVE"
    arn: str = made["ApiDestinationArn"]
    await bridge.rule(arn=arn, RoleArn=ROLE, InputPath="$.detail", DeadLetterConfig={"Arn": LETTERS}, **target)
    return arn


async def test_a_request_has_what_the_connection_and_the_target_say(bridge: Bridge, server: Server) -> None:
    parameters = {
        "BasicAuthParameters": {"Username": "u", "Password": "p"},
        "InvocationHttpParameters": {
            "HeaderParameters": [{"Key": "X-One", "Value": "1", "IsValueSecret": True}],
            "QueryStringParameters": [{"Key": "q", "Value": "a b"}],
            "BodyParameters": [{"Key": "extra", "Value": "yes"}],
        },
    }
    http = {"PathParameterValues": ["$.detail.id"], "HeaderParameters": {"X-Two": "$.source"}}
    await destination(bridge, server, "BASIC", parameters, HttpParameters=http)
    await bridge.put({"id": "a/7"})
    await bridge.settled()
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("PUT", "/orders/a%2F7/items?q=a+b")
    assert json.loads(seen.body) == {"id": "a/7", "extra": "yes"}
    assert seen.headers["authorization"] == "Basic dTpw"
    assert (seen.headers["x-one"], seen.headers["x-two"]) == ("1", "shop")
    assert seen.headers["content-type"] == "application/json; charset=utf-8"
    described = await bridge.call("DescribeConnection", Name="c")
    shown = described["AuthParameters"]
    assert shown["BasicAuthParameters"] == {"Username": "u"}
    assert shown["InvocationHttpParameters"]["HeaderParameters"] == [{"Key": "X-One", "IsValueSecret": True}]


async def test_one_that_does_not_answer_holds_up_nothing_else(bridge: Bridge, server: Server) -> None:
    asyncio.get_running_loop().set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
    server.may_answer.clear()
    await destination(bridge, server, "BASIC", {"BasicAuthParameters": {"Username": "u", "Password": "p"}})
    await bridge.put({"id": "1"})
    await bridge.until(lambda: server.seen)
    await asyncio.to_thread(int)
    assert not server.answered
    server.may_answer.set()
    await bridge.settled()


async def test_secrets_are_not_readable_on_the_disk(bridge: Bridge, server: Server) -> None:
    await destination(
        bridge, server, "API_KEY", {"ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "v3ry-secret"}}
    )
    await bridge.put({})
    await bridge.settled()
    assert server.seen[0].headers["x-key"] == "v3ry-secret"
    stored = b"".join(path.read_bytes() for path in bridge.folder.iterdir())
    assert b"v3ry-secret" not in stored


async def test_an_oauth_client_asks_for_one_token_and_uses_it_again(bridge: Bridge, server: Server) -> None:
    oauth = {
        "ClientParameters": {"ClientID": "me", "ClientSecret": "s"}, "HttpMethod": "POST",
        "AuthorizationEndpoint": f"http://127.0.0.1:{server.server_port}/token",
    }  # fmt: skip
    await destination(bridge, server, "OAUTH_CLIENT_CREDENTIALS", {"OAuthParameters": oauth})
    await bridge.put({})
    await bridge.settled()
    await bridge.advance(1)  # the rate allows the next one
    await bridge.put({})
    await bridge.settled()
    assert [seen.path for seen in server.seen] == ["/token", "/orders/*/items", "/orders/*/items"]
    assert b"client_secret=s" in server.seen[0].body
    assert server.seen[2].headers["authorization"] == "Bearer t0ken"


async def test_some_answers_are_tried_again_and_others_are_dead_letters(bridge: Bridge, server: Server) -> None:
    await destination(bridge, server, "BASIC", {"BasicAuthParameters": {"Username": "u", "Password": "p"}})
    server.statuses = [503, 200, 400]
    await bridge.put({})
    await bridge.until(lambda: len(server.seen) == 1)
    await bridge.advance(2)
    await bridge.settled()
    assert len(server.seen) == 2
    await bridge.advance(1)
    await bridge.put({})
    await bridge.settled()
    (letter,) = [call.request for call in bridge.outside.calls]
    assert letter["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "SDK_CLIENT_ERROR"


async def test_a_connection_without_authorization_sends_nothing(bridge: Bridge, server: Server) -> None:
    await destination(bridge, server, "BASIC", {"BasicAuthParameters": {"Username": "u", "Password": "p"}})
    await bridge.call("DeauthorizeConnection", Name="c")
    assert (await bridge.call("DescribeApiDestination", Name="d"))["ApiDestinationState"] == "INACTIVE"
    await bridge.put({})
    await bridge.settled()
    assert server.seen == []
    assert bridge.outside.calls[0].request["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_PERMISSIONS"
    await bridge.call("UpdateConnection", Name="c", AuthParameters={"BasicAuthParameters": {"Password": "q"}})
    await bridge.put({})
    await bridge.settled()
    assert server.seen[0].headers["authorization"] == "Basic dTpx"


def test_a_clouds_metadata_is_never_asked_for() -> None:
    for host in ("169.254.169.254", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "[fe80::1]"):
        with pytest.raises(AwsError) as caught:
            exchange(Request(method="GET", url=f"http://{host}/latest", headers={}, body=b""))
        assert caught.value.status == 403
