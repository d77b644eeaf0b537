"""The Runtime API on a real socket, with scripted runtimes: good ones, odd ones, hostile ones."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from lambent.model.limits import SYNC_RESPONSE_MAX_BYTES
from lambent.runtimeapi import answers, streaming
from lambent.runtimeapi.values import InitFailed, RuntimeFault

NEXT = "/2018-06-01/runtime/invocation/next"
INIT_ERROR = "/2018-06-01/runtime/init/error"
STREAMING = {"Lambda-Runtime-Function-Response-Mode": "streaming", "transfer-encoding": "chunked"}


def invocation(request_id: str, verb: str) -> str:
    return f"/2018-06-01/runtime/invocation/{request_id}/{verb}"


class Reader:
    """A sink. It takes what comes once `open_gate` is set, or breaks when `gone` is."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, str, str]] = []
        self.chunks: list[bytes] = []
        self.got = asyncio.Event()
        self.open_gate = asyncio.Event()
        self.open_gate.set()
        self.gone = False

    def begin(self, content_type: str, executed_version: str, request_id: str) -> None:
        self.begun.append((content_type, executed_version, request_id))

    async def write(self, chunk: bytes) -> None:
        await self.open_gate.wait()
        if self.gone:
            raise ConnectionResetError("the reader has gone")
        self.chunks.append(chunk)
        self.got.set()


class TestAnInvocation:
    async def test_the_runtime_gets_event_and_headers_and_its_response_reaches_the_caller(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke(
            b'{"key": "\xc3\xa9"}',
            trace_id="Root=1-5;Sampled=1",
            client_context='{\n "client": {}\r\n}',
            cognito_identity='{"cognitoIdentityId":"x"}',
            tenant_id="blue",
        )
        event = await runtime.answer()
        assert event.status == 200
        assert event.body == b'{"key": "\xc3\xa9"}'
        interesting = {k: v for k, v in event.headers.items() if k.startswith("lambda-") or k == "content-type"}
        assert interesting == {
            "content-type": "application/json",
            "lambda-runtime-aws-request-id": pending.call.request_id,
            "lambda-runtime-deadline-ms": "1795000000001",
            "lambda-runtime-invoked-function-arn": "arn:aws:lambda:us-east-1:000000000000:function:sample",
            "lambda-runtime-trace-id": "Root=1-5;Sampled=1",
            "lambda-runtime-client-context": '{  "client": {}  }',
            "lambda-runtime-cognito-identity": '{"cognitoIdentityId":"x"}',
            "lambda-runtime-aws-tenant-id": "blue",
        }
        accepted = await runtime.respond(pending.call.request_id, b'"done"')
        assert (accepted.status, accepted.json) == (202, {"status": "OK"})
        response = await pending
        assert (response.payload, response.error, response.streamed) == (b'"done"', None, False)

    async def test_it_is_done_when_the_runtime_asks_for_the_next_event(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        await runtime.respond(pending.call.request_id, b"1")
        assert not pending.finished
        await runtime.send("GET", NEXT)
        await pending.runtime_done()

    async def test_a_second_one_before_that_is_the_callers_mistake(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        await runtime.respond(pending.call.request_id, b"1")
        with pytest.raises(RuntimeError, match="one invocation at a time"):
            world.invoke()

    async def test_many_go_over_one_connection(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        for number in range(50):
            pending = world.invoke(b"%d" % number)
            event = await runtime.answer()
            await runtime.respond(event.headers["lambda-runtime-aws-request-id"], event.body)
            assert (await pending).payload == b"%d" % number
            await runtime.send("GET", NEXT)
            await pending.runtime_done()

    async def test_an_error_is_given_as_it_was_posted(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        body = b'{"errorMessage":"no","errorType":"ValueError","stackTrace":[]}'
        headers = {"Lambda-Runtime-Function-Error-Type": "Function.ValueError"}
        answer = await runtime.request("POST", invocation(pending.call.request_id, "error"), headers, body)
        assert answer.status == 202
        assert (await pending).error == RuntimeFault("Function.ValueError", body)

    async def test_an_error_with_its_cause_is_given_without_it(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        body = b'{"errorMessage":"no","errorType":"E","stackTrace":[],"errorCause":{"big":1}}'
        headers = {"content-type": "application/vnd.aws.lambda.error.cause+json"}
        await runtime.request("POST", invocation(pending.call.request_id, "error"), headers, body)
        fault = (await pending).error
        assert fault is not None
        assert json.loads(fault.payload) == {"errorMessage": "no", "errorType": "E", "stackTrace": []}

    async def test_a_cancelled_waiter_takes_nothing_from_the_others(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()

        async def wait() -> Any:
            return await pending

        impatient, patient = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        impatient.cancel()
        await runtime.respond(pending.call.request_id, b"1")
        assert (await patient).payload == b"1"

    async def test_what_the_platform_fails_stays_failed(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        world.api.fail_current("Sandbox.Timedout", b'{"errorMessage":"Task timed out after 3.00 seconds"}')
        assert (await pending).error == RuntimeFault(
            "Sandbox.Timedout", b'{"errorMessage":"Task timed out after 3.00 seconds"}'
        )
        await pending.runtime_done()
        late = await runtime.respond(pending.call.request_id, b"1")
        assert (late.status, late.json["errorType"]) == (403, "InvalidStateTransition")
        with pytest.raises(RuntimeError, match="has ended"):
            world.invoke()


class TestInit:
    async def test_an_error_is_raised_with_what_was_posted(self, world: Any) -> None:
        runtime = await world.client()
        body = b'{"errorMessage":"no module","errorType":"Runtime.ImportModuleError"}'
        headers = {"Lambda-Runtime-Function-Error-Type": "Runtime.ImportModuleError"}
        assert (await runtime.request("POST", INIT_ERROR, headers, body)).status == 202
        with pytest.raises(InitFailed) as failed:
            await world.api.initialised()
        assert (failed.value.error_type, failed.value.payload) == ("Runtime.ImportModuleError", body)

    async def test_nothing_follows_an_init_error(self, world: Any) -> None:
        runtime = await world.client()
        await runtime.request("POST", INIT_ERROR, {}, b"{}")
        answer = await runtime.next()
        assert answer.status == 403
        assert answer.json == {
            "errorMessage": "State transition from InitError to Ready failed for runtime. "
            "Error: State transition is not allowed",
            "errorType": "InvalidStateTransition",
        }

    async def test_an_init_error_after_init_is_refused(self, world: Any) -> None:
        await world.waiting_runtime()
        other = await world.client()
        assert (await other.request("POST", INIT_ERROR, {}, b"{}")).status == 403

    async def test_an_event_may_wait_for_a_runtime_that_is_still_starting(self, world: Any) -> None:
        pending = world.invoke(b"early")
        runtime = await world.client()
        assert (await runtime.next()).body == b"early"
        await runtime.respond(pending.call.request_id, b"1")
        assert (await pending).payload == b"1"


class TestWhoAnswersWhat:
    async def test_answering_twice_is_refused_and_changes_nothing(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        await runtime.respond(pending.call.request_id, b"first")
        second = await runtime.respond(pending.call.request_id, b"second")
        assert second.status == 403
        assert second.json["errorMessage"] == (
            "State transition from RuntimeResponseSentState to InvocationResponse failed for runtime. "
            "Error: State transition is not allowed"
        )
        assert (await pending).payload == b"first"

    async def test_an_error_after_the_response_is_refused(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        await runtime.respond(pending.call.request_id, b"first")
        answer = await runtime.request("POST", invocation(pending.call.request_id, "error"), {}, b"{}")
        assert answer.status == 403
        assert (await pending).error is None

    @pytest.mark.parametrize("size", [3, 100_000])
    @pytest.mark.parametrize("verb", ["response", "error"])
    async def test_answering_for_another_request_is_refused(self, world: Any, verb: str, size: int) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        answer = await runtime.request(
            "POST", invocation("11111111-0000-4000-8000-000000000000", verb), {}, b"x" * size
        )
        assert (answer.status, answer.json) == (
            400,
            {"errorMessage": "Invalid request ID", "errorType": "InvalidRequestID"},
        )
        assert not pending.answered
        assert (await runtime.respond(pending.call.request_id, b"1")).status == 202

    async def test_an_invocation_of_another_environment_cannot_be_answered(self, world: Any, make_world: Any) -> None:
        await world.waiting_runtime()
        other = await make_world()
        stranger = await other.waiting_runtime()
        pending = world.invoke()
        await stranger.close()
        stranger = await other.client()
        assert (await stranger.respond(pending.call.request_id, b"mine")).status == 400
        assert not pending.answered

    async def test_an_old_invocation_cannot_be_answered_again(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        await runtime.respond(pending.call.request_id, b"1")
        await runtime.send("GET", NEXT)
        await pending.runtime_done()
        other = await world.client()
        assert (await other.respond(pending.call.request_id, b"2")).status == 400

    async def test_asking_again_gives_the_same_event_again(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        world.invoke(b"event")
        first = await runtime.answer()
        again = await runtime.next()
        assert again.body == first.body
        assert again.headers["lambda-runtime-aws-request-id"] == first.headers["lambda-runtime-aws-request-id"]

    async def test_only_one_connection_may_wait(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        second = await world.client()
        assert (await second.next()).status == 403
        world.invoke(b"event")
        assert (await runtime.answer()).body == b"event"

    @pytest.mark.parametrize("half", [True, False])
    async def test_a_runtime_that_hangs_up_while_it_waits_may_come_back(self, world: Any, half: bool) -> None:
        runtime = await world.waiting_runtime()
        if half:
            runtime.writer.write_eof()
            assert await runtime.gone() == b""
        else:
            await runtime.close()
            await _eventually(lambda: not world.api._server.connections)
        pending = world.invoke(b"event")
        runtime = await world.client()
        assert (await runtime.next()).body == b"event"
        await runtime.respond(pending.call.request_id, b"1")
        assert (await pending).payload == b"1"


class TestBodies:
    async def test_six_megabytes_and_a_hundred_bytes_pass(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        body = b"x" * SYNC_RESPONSE_MAX_BYTES
        assert (await runtime.respond(pending.call.request_id, body)).status == 202
        assert (await pending).payload == body

    @pytest.mark.parametrize("verb", ["response", "error"])
    @pytest.mark.parametrize("size", [SYNC_RESPONSE_MAX_BYTES + 1, 7 * 1024 * 1024])
    async def test_more_fails_the_invocation_and_spares_the_environment(self, world: Any, size: int, verb: str) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        answer = await runtime.request("POST", invocation(pending.call.request_id, verb), {}, b"x" * size)
        assert (answer.status, answer.json) == (
            413,
            {
                "errorMessage": "Exceeded maximum allowed payload size (6291556 bytes).",
                "errorType": "RequestEntityTooLarge",
            },
        )
        fault = (await pending).error
        assert fault is not None
        assert json.loads(fault.payload) == {
            "errorType": "Function.ResponseSizeTooLarge",
            "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        }
        await runtime.send("GET", NEXT)
        await pending.runtime_done()
        world.invoke(b"again")
        assert (await runtime.answer()).body == b"again"

    @pytest.mark.parametrize("verb", ["response", "error"])
    async def test_what_is_too_large_to_be_read_to_its_end_fails_the_invocation_too(
        self, world: Any, verb: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(answers, "DISCARDED_BODY_MAX_BYTES", 1024 * 1024)
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await runtime.request("POST", invocation(pending.call.request_id, verb), {}, b"x" * 16 * 1024 * 1024)
        async with asyncio.timeout(5):
            fault = (await pending).error
        assert fault is not None
        assert fault.error_type == "Function.ResponseSizeTooLarge"

    async def test_a_body_of_unknown_length_is_bounded_too(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        await runtime.send("POST", invocation(pending.call.request_id, "response"), {"transfer-encoding": "chunked"})
        for _ in range(7):
            await runtime.chunk(b"x" * 1024 * 1024)
        await runtime.last_chunk()
        assert (await runtime.answer()).status == 413
        assert (await pending).error is not None

    async def test_a_slow_body_is_waited_for(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        await runtime.send("POST", invocation(pending.call.request_id, "response"), {"transfer-encoding": "chunked"})
        for piece in (b"[1", b",2", b"]"):
            await runtime.chunk(piece)
            assert not pending.answered
            await asyncio.sleep(0)
        await runtime.last_chunk()
        assert (await runtime.answer()).status == 202
        assert (await pending).payload == b"[1,2]"

    async def test_a_body_that_breaks_off_answers_nothing(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        await runtime.send("POST", invocation(pending.call.request_id, "response"), {"content-length": "100000"}, None)
        runtime.writer.write(b"half")
        await runtime.close()
        await _eventually(lambda: not world.api._server.connections)
        assert not pending.answered
        other = await world.client()
        assert (await other.respond(pending.call.request_id, b"whole")).status == 202
        assert (await pending).payload == b"whole"

    async def test_two_bodies_at_once_cannot_both_be_the_answer(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        path = invocation(pending.call.request_id, "response")
        await runtime.send("POST", path, {"transfer-encoding": "chunked"})
        await runtime.chunk(b"slow")
        await _eventually(lambda: world.api._runtime.protocol.state.value == "InvocationResponse")
        other = await world.client()
        assert (await other.respond(pending.call.request_id, b"fast")).status == 403
        await runtime.last_chunk()
        assert (await runtime.answer()).status == 202
        assert (await pending).payload == b"slow"

    async def test_a_large_body_where_none_belongs_is_thrown_away(self, world: Any) -> None:
        client = await world.client()
        assert (await client.request("GET", NEXT, {}, b"x" * 1_000_000)).status == 413
        assert (await client.request("POST", INIT_ERROR, {}, b"x" * 1_000_000)).status == 413


class TestBadHttp:
    @pytest.mark.parametrize(
        "garbage",
        [
            b"\x00\x01\x02\x03\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"x" * 100_000,
            b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        ],
    )
    async def test_garbage_ends_its_own_connection_only(self, world: Any, garbage: bytes) -> None:
        runtime = await world.waiting_runtime()
        vandal = await world.client()
        vandal.writer.write(garbage)
        assert (await vandal.gone())[:12] in (b"HTTP/1.1 400", b"")
        world.invoke(b"event")
        assert (await runtime.answer()).body == b"event"

    @pytest.mark.parametrize(
        "path", ["/", "/2018-06-01/runtime/invocation", "/2018-06-01/runtime/invocation//response",
                 "/2018-06-01/runtime/invocation/x/else", "/2018-06-01/runtime/restore/next", "/%00"]
    )  # fmt: skip
    async def test_there_is_nothing_at_other_paths(self, world: Any, path: str) -> None:
        client = await world.client()
        assert (await client.request("GET", path)).status == 404

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", NEXT),
            ("GET", INIT_ERROR),
            ("GET", invocation("x", "response")),
            ("DELETE", invocation("x", "error")),
        ],
    )
    async def test_a_path_has_its_method(self, world: Any, method: str, path: str) -> None:
        client = await world.client()
        assert (await client.request(method, path, {}, b"")).status == 405

    async def test_an_environment_has_only_so_many_connections(self, world: Any) -> None:
        clients = [await world.client() for _ in range(64)]
        assert (await clients[0].request("GET", "/2018-06-01/ping")).body == b"pong"
        one_more = await world.client()
        assert await one_more.gone() == b""
        await clients[1].close()
        await _eventually(lambda: len(world.api._server.connections) < 64)
        again = await world.client()
        assert (await again.request("GET", "/2018-06-01/ping")).status == 200


class TestStreaming:
    async def _begin(self, world: Any, sink: Reader | None, headers: dict[str, str] | None = None) -> tuple[Any, Any]:
        runtime = await world.waiting_runtime()
        pending = world.invoke(b"{}", sink)
        await runtime.answer()
        path = invocation(pending.call.request_id, "response")
        await runtime.send("POST", path, {**STREAMING, **(headers or {})})
        return runtime, pending

    async def test_chunks_reach_the_reader_while_the_function_runs(self, world: Any) -> None:
        reader = Reader()
        runtime, pending = await self._begin(world, reader, {"content-type": "text/plain"})
        await runtime.chunk(b"first")
        await reader.got.wait()
        assert reader.begun == [("text/plain", "7", pending.call.request_id)]
        assert not pending.answered
        await runtime.chunk(b"second")
        await runtime.last_chunk()
        assert (await runtime.answer()).status == 202
        response = await pending
        assert b"".join(reader.chunks) == b"firstsecond"
        assert (response.streamed, response.payload, response.response_bytes) == (True, b"", 11)
        assert (response.error, response.stream_error) == (None, None)

    async def test_a_short_body_of_known_length_is_a_stream_as_well(self, world: Any) -> None:
        reader = Reader()
        runtime = await world.waiting_runtime()
        pending = world.invoke(b"{}", reader)
        await runtime.answer()
        headers = {"Lambda-Runtime-Function-Response-Mode": "streaming"}
        path = invocation(pending.call.request_id, "response")
        assert (await runtime.request("POST", path, headers, b"all")).status == 202
        assert (await pending).streamed
        assert reader.chunks == [b"all"]

    async def test_an_error_in_the_trailers_ends_the_stream(self, world: Any) -> None:
        reader = Reader()
        runtime, pending = await self._begin(world, reader)
        await runtime.chunk(b"half")
        details = b'{"errorType":"Function.Oops","errorMessage":"half-way"}'
        await runtime.last_chunk(
            Lambda_Runtime_Function_Error_Type="Function.Oops",
            Lambda_Runtime_Function_Error_Body=base64.b64encode(details).decode(),
        )
        assert (await runtime.answer()).status == 202
        response = await pending
        assert response.stream_error == ("Function.Oops", details)
        assert response.streamed
        assert reader.chunks == [b"half"]

    async def test_without_a_reader_it_is_gathered(self, world: Any) -> None:
        runtime, pending = await self._begin(world, None)
        await runtime.chunk(b"one")
        await runtime.chunk(b"two")
        await runtime.last_chunk()
        assert (await runtime.answer()).status == 202
        response = await pending
        assert (response.payload, response.streamed) == (b"onetwo", False)

    async def test_without_a_reader_an_error_in_the_trailers_fails_the_invocation(self, world: Any) -> None:
        runtime, pending = await self._begin(world, None)
        await runtime.chunk(b"one")
        await runtime.last_chunk(
            Lambda_Runtime_Function_Error_Type="Function.Oops",
            Lambda_Runtime_Function_Error_Body=base64.b64encode(b'{"errorType":"Oops"}').decode(),
        )
        await runtime.answer()
        assert (await pending).error == RuntimeFault("Function.Oops", b'{"errorType":"Oops"}')

    async def test_a_slow_reader_holds_the_function_up(self, world: Any) -> None:
        reader = Reader()
        reader.open_gate.clear()
        runtime, pending = await self._begin(world, reader)
        piece, pieces = b"x" * 65_536, 400

        async def produce() -> None:
            for _ in range(pieces):
                await runtime.chunk(piece)
            await runtime.last_chunk()

        producing = asyncio.create_task(produce())
        # The kernel's socket buffers fill, then the runtime stands still.
        await asyncio.wait({producing}, timeout=0.5)
        assert not producing.done()
        assert world.api._runtime._stream is not None
        assert world.api._runtime._stream._waiting_bytes < 2 * streaming.WAITING_MAX_BYTES
        reader.open_gate.set()
        await producing
        assert (await pending).response_bytes == len(piece) * pieces
        assert sum(map(len, reader.chunks)) == len(piece) * pieces

    async def test_the_function_runs_on_when_the_reader_has_gone(self, world: Any) -> None:
        reader = Reader()
        reader.gone = True
        runtime, pending = await self._begin(world, reader)
        await runtime.chunk(b"unread")
        await runtime.last_chunk()
        assert (await runtime.answer()).status == 202
        assert (await pending).stream_error is None

    async def test_a_stream_that_breaks_off_says_so(self, world: Any) -> None:
        reader = Reader()
        runtime, pending = await self._begin(world, reader)
        await runtime.chunk(b"half")
        await reader.got.wait()
        await runtime.close()
        response = await pending
        assert response.stream_error is not None
        assert response.stream_error[0] == "Runtime.TruncatedResponse"

    async def test_a_time_out_breaks_the_stream(self, world: Any) -> None:
        reader = Reader()
        runtime, pending = await self._begin(world, reader)
        await runtime.chunk(b"half")
        await reader.got.wait()
        world.api.fail_current("Sandbox.Timedout", b"{}")
        response = await pending
        assert (response.streamed, response.stream_error) == (True, ("Sandbox.Timedout", b"{}"))
        await runtime.chunk(b"more")
        assert reader.chunks == [b"half"]

    async def test_the_limit_cuts_the_stream(self, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(streaming, "STREAMED_RESPONSE_MAX_BYTES", 100_000)
        reader = Reader()
        runtime, pending = await self._begin(world, reader)
        for _ in range(11):
            await runtime.chunk(b"x" * 10_000)
        response = await pending
        assert response.stream_error is not None
        assert response.stream_error[0] == "Function.ResponseSizeTooLarge"
        assert sum(map(len, reader.chunks)) <= 100_000
        await runtime.last_chunk()
        assert (await runtime.answer()).status == 413
        await runtime.send("GET", NEXT)
        await pending.runtime_done()

    async def test_an_unknown_mode_is_refused_and_fails_the_invocation(self, world: Any) -> None:
        runtime = await world.waiting_runtime()
        pending = world.invoke()
        await runtime.answer()
        headers = {"Lambda-Runtime-Function-Response-Mode": "telepathy"}
        path = invocation(pending.call.request_id, "response")
        answer = await runtime.request("POST", path, headers, b"1")
        assert (answer.status, answer.json["errorType"]) == (400, "InvalidFunctionResponseMode")
        fault = (await pending).error
        assert fault is not None
        assert fault.error_type == "Runtime.InvalidResponseModeHeader"


async def _eventually(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)
