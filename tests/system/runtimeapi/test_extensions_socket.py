"""The Extensions API on a real socket: phases, events, refusals."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import attrs
import pytest

from lambent.model.cage import ProcessExit
from lambent.runtimeapi.values import InitFailed

NEXT = "/2018-06-01/runtime/invocation/next"
REGISTER = "/2020-01-01/extension/register"
EVENT = "/2020-01-01/extension/event/next"
INIT_ERROR = "/2020-01-01/extension/init/error"
EXIT_ERROR = "/2020-01-01/extension/exit/error"


@attrs.frozen
class Registered:
    client: Any
    identifier: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Lambda-Extension-Identifier": self.identifier}

    async def wait(self) -> None:
        await self.client.send("GET", EVENT, self.headers)


async def register(world: Any, name: str, events: str = '["INVOKE","SHUTDOWN"]') -> Registered:
    client = await world.client()
    body = b'{"events":%b}' % events.encode()
    answer = await client.request("POST", REGISTER, {"Lambda-Extension-Name": name}, body)
    assert answer.status == 200, answer
    return Registered(client, answer.headers["lambda-extension-identifier"])


async def still_waiting(awaited: Any) -> bool:
    for _ in range(20):
        await asyncio.sleep(0.001)
    return not awaited.done()


class TestRegistration:
    async def test_an_extension_is_told_what_function_it_serves(self, world: Any) -> None:
        world.api.expect_extensions(["watcher"])
        client = await world.client()
        headers = {"Lambda-Extension-Name": "watcher", "Lambda-Extension-Accept-Feature": "accountId, else"}
        answer = await client.request("POST", REGISTER, headers, b'{"events":["INVOKE"]}')
        assert answer.status == 200
        assert answer.json == {
            "functionName": "sample",
            "functionVersion": "7",
            "handler": "app.handler",
            "accountId": "000000000000",
        }
        assert str(uuid.UUID(answer.headers["lambda-extension-identifier"]))

    async def test_the_account_is_told_only_on_request(self, world: Any) -> None:
        client = await world.client()
        answer = await client.request("POST", REGISTER, {"Lambda-Extension-Name": "inner"}, b'{"events":[]}')
        assert "accountId" not in answer.json

    @pytest.mark.parametrize(
        ("headers", "body", "error_type", "message"),
        [
            ({}, b"{}", "Extension.InvalidExtensionName", "Empty extension name"),
            ({"Lambda-Extension-Name": "x"}, b"", "InvalidRequestFormat", None),
            ({"Lambda-Extension-Name": "x"}, b"\xff\xfe", "InvalidRequestFormat", None),
            ({"Lambda-Extension-Name": "x"}, b"[" * 50_000, "InvalidRequestFormat", None),
            ({"Lambda-Extension-Name": "x"}, b"[]", "InvalidRequestFormat", None),
            ({"Lambda-Extension-Name": "x"}, b'{"events":[{}]}', "InvalidRequestFormat", None),
            (
                {"Lambda-Extension-Name": "x"},
                b'{"events":[],"configurationKeys":["a"]}',
                "InvalidRequestFormat",
                "configurationKeys are deprecated; use environment variables instead",
            ),
            (
                {"Lambda-Extension-Name": "x"},
                b'{"events":["SHUTDOWN"]}',
                "Extension.InvalidEventType",
                "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension",
            ),
        ],
    )
    async def test_a_bad_registration_is_refused(
        self, world: Any, headers: dict[str, str], body: bytes, error_type: str, message: str | None
    ) -> None:
        client = await world.client()
        answer = await client.request("POST", REGISTER, headers, body)
        assert (answer.status, answer.json["errorType"]) == (403, error_type)
        if message is not None:
            assert answer.json["errorMessage"] == message

    async def test_it_is_closed_after_init(self, world: Any) -> None:
        await world.waiting_runtime()
        client = await world.client()
        answer = await client.request("POST", REGISTER, {"Lambda-Extension-Name": "late"}, b'{"events":[]}')
        assert (answer.status, answer.json["errorType"]) == (403, "Extension.RegistrationClosed")


class TestIdentity:
    @pytest.mark.parametrize(("method", "path"), [("GET", EVENT), ("POST", INIT_ERROR), ("POST", EXIT_ERROR)])
    @pytest.mark.parametrize(
        ("headers", "error_type"),
        [
            ({}, "Extension.MissingExtensionIdentifier"),
            ({"Lambda-Extension-Identifier": "me"}, "Extension.InvalidExtensionIdentifier"),
            ({"Lambda-Extension-Identifier": str(uuid.UUID(int=7))}, "Extension.UnknownExtensionIdentifier"),
        ],
    )
    async def test_a_caller_says_who_it_is(
        self, world: Any, method: str, path: str, headers: dict[str, str], error_type: str
    ) -> None:
        client = await world.client()
        answer = await client.request(method, path, headers)
        assert (answer.status, answer.json["errorType"]) == (403, error_type)


class TestInit:
    async def test_the_runtime_is_due_once_every_expected_extension_has_registered(self, world: Any) -> None:
        world.api.expect_extensions(["one", "two"])
        registered = asyncio.create_task(world.api.extensions_registered())
        await register(world, "one")
        assert await still_waiting(registered)
        await register(world, "two")
        await registered

    async def test_init_ends_when_runtime_and_extensions_all_wait(self, world: Any) -> None:
        world.api.expect_extensions(["watcher"])
        initialised = asyncio.create_task(world.api.initialised())
        watcher = await register(world, "watcher")
        runtime = await world.client()
        await runtime.send("GET", NEXT)
        assert await still_waiting(initialised)
        await watcher.wait()
        await initialised
        assert world.observed == [
            ("platform.extension", {"name": "watcher", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]})
        ]

    @pytest.mark.parametrize(
        ("path", "error_type"), [(INIT_ERROR, "Extension.InitError"), (EXIT_ERROR, "Extension.ExitError")]
    )
    async def test_an_error_fails_init_when_the_process_ends(self, world: Any, path: str, error_type: str) -> None:
        world.api.expect_extensions(["watcher"])
        watcher = await register(world, "watcher")
        headers = {**watcher.headers, "Lambda-Extension-Function-Error-Type": "Extension.NoConfig"}
        initialised = asyncio.create_task(world.api.initialised())
        assert (await watcher.client.request("POST", path, headers, b"{}")).status == 202
        assert world.observed[-1][1]["errorType"] == "Extension.NoConfig"
        assert await still_waiting(initialised)
        world.api.extension_exited("watcher", ProcessExit(exit_status=0, signal=None))
        with pytest.raises(InitFailed) as failed:
            await initialised
        assert failed.value.error_type == error_type
        assert json.loads(failed.value.payload) == {"errorMessage": "Error: exit code 0", "errorType": error_type}

    async def test_an_internal_extensions_error_fails_init_at_once(self, world: Any) -> None:
        inner = await register(world, "inner", '["INVOKE"]')
        headers = {**inner.headers, "Lambda-Extension-Function-Error-Type": "Extension.NoConfig"}
        await inner.client.request("POST", INIT_ERROR, headers, b"{}")
        with pytest.raises(InitFailed) as failed:
            await world.api.initialised()
        assert failed.value.error_type == "Extension.InitError"

    async def test_an_error_needs_its_type(self, world: Any) -> None:
        watcher = await register(world, "watcher", '["INVOKE"]')
        answer = await watcher.client.request("POST", INIT_ERROR, watcher.headers, b"{}")
        assert answer.json == {
            "errorMessage": "Lambda-Extension-Function-Error-Type not found",
            "errorType": "Extension.MissingHeader",
        }

    async def test_an_extension_that_just_ends_has_crashed(self, world: Any) -> None:
        world.api.expect_extensions(["watcher"])
        registered = asyncio.create_task(world.api.extensions_registered())
        assert await still_waiting(registered)
        world.api.extension_exited("watcher", ProcessExit(exit_status=None, signal=9))
        with pytest.raises(InitFailed) as failed:
            await registered
        assert failed.value.error_type == "Extension.Crash"
        assert json.loads(failed.value.payload)["errorMessage"] == "Error: signal: killed"


class TestInvocations:
    async def _ready(self, world: Any, events: str = '["INVOKE","SHUTDOWN"]') -> tuple[Any, Registered]:
        world.api.expect_extensions(["watcher"])
        watcher = await register(world, "watcher", events)
        await watcher.wait()
        return await world.waiting_runtime(), watcher

    async def test_an_extension_hears_of_each_invocation(self, world: Any) -> None:
        _, watcher = await self._ready(world)
        pending = world.invoke(trace_id="Root=1-5")
        event = await watcher.client.answer()
        assert event.json == {
            "eventType": "INVOKE",
            "deadlineMs": pending.call.deadline_ms,
            "requestId": pending.call.request_id,
            "invokedFunctionArn": pending.call.invoked_function_arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1-5"},
        }
        uuid.UUID(event.headers["lambda-extension-event-identifier"])

    async def test_the_invocation_is_done_when_the_extension_is(self, world: Any) -> None:
        runtime, watcher = await self._ready(world)
        pending = world.invoke()
        await runtime.answer()
        await watcher.client.answer()
        await runtime.respond(pending.call.request_id, b"1")
        await runtime.send("GET", NEXT)
        assert (await pending).payload == b"1"
        done = asyncio.create_task(pending.runtime_done())
        assert await still_waiting(done)
        await watcher.wait()
        await done

    async def test_one_that_did_not_ask_for_invocations_holds_nobody_up(self, world: Any) -> None:
        runtime, _ = await self._ready(world, '["SHUTDOWN"]')
        pending = world.invoke()
        await runtime.answer()
        await runtime.respond(pending.call.request_id, b"1")
        await runtime.send("GET", NEXT)
        await pending.runtime_done()

    async def test_an_event_waits_for_an_extension_whose_connection_broke(self, world: Any) -> None:
        _, watcher = await self._ready(world)
        await watcher.client.close()
        extension = world.api._extensions.registry.by_name["watcher"]
        async with asyncio.timeout(10):
            while extension.state.value == "Ready":
                await asyncio.sleep(0.005)
        world.invoke()
        back = Registered(await world.client(), watcher.identifier)
        await back.wait()
        assert (await back.client.answer()).json["eventType"] == "INVOKE"

    async def test_one_that_crashes_is_a_fault_and_holds_nobody_up(self, world: Any) -> None:
        runtime, _ = await self._ready(world)
        pending = world.invoke()
        await runtime.answer()
        await runtime.respond(pending.call.request_id, b"1")
        await runtime.send("GET", NEXT)
        done = asyncio.create_task(pending.runtime_done())
        assert await still_waiting(done)
        fault = world.api.extension_exited("watcher", ProcessExit(exit_status=3, signal=None))
        assert fault.error_type == "Extension.Crash"
        assert json.loads(fault.payload)["errorMessage"] == "Error: exit code 3"
        await done

    async def test_waiting_twice_is_refused(self, world: Any) -> None:
        _, watcher = await self._ready(world)
        second = await world.client()
        answer = await second.request("GET", EVENT, watcher.headers)
        assert answer.status == 403
        assert answer.json["errorMessage"] == (
            f"State transition from Ready to Ready failed for extension {watcher.identifier}. "
            "Error: State transition is not allowed"
        )


class TestShutdown:
    async def test_it_waits_until_the_extension_has_finished(self, world: Any) -> None:
        world.api.expect_extensions(["watcher"])
        watcher = await register(world, "watcher")
        await watcher.wait()
        await world.waiting_runtime()
        shutdown = asyncio.create_task(world.api.shutdown("spindown", 1_795_000_000_000))
        event = await watcher.client.answer()
        assert event.json == {"eventType": "SHUTDOWN", "deadlineMs": 1_795_000_000_000, "shutdownReason": "spindown"}
        assert await still_waiting(shutdown)
        assert world.api.extension_exited("watcher") is None
        await shutdown

    async def test_asking_for_the_next_event_is_finishing_too(self, world: Any) -> None:
        world.api.expect_extensions(["watcher"])
        watcher = await register(world, "watcher")
        await watcher.wait()
        shutdown = asyncio.create_task(world.api.shutdown("timeout", 1))
        await watcher.client.answer()
        await watcher.wait()
        await shutdown

    async def test_an_extension_in_the_middle_of_its_work_hears_of_it_when_it_asks(self, world: Any) -> None:
        world.api.expect_extensions(["watcher"])
        watcher = await register(world, "watcher")
        await watcher.wait()
        await world.waiting_runtime()
        world.invoke()
        await watcher.client.answer()
        shutdown = asyncio.create_task(world.api.shutdown("failure", 1))
        await watcher.wait()
        assert (await watcher.client.answer()).json["shutdownReason"] == "failure"
        assert await still_waiting(shutdown)
        world.api.extension_exited("watcher")
        await shutdown

    async def test_without_extensions_there_is_nothing_to_wait_for(self, world: Any) -> None:
        await world.waiting_runtime()
        await world.api.shutdown("spindown", 1)
