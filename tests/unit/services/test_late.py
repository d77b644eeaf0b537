"""A service that is not open yet: requests wait for it, and then go where they would have gone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Operation
from lambent.services.late import LateService

CONTEXT = RequestContext(account_id="000000000000", region="us-east-1", request_id="r", base_url="http://localhost")


class Echo:
    name = "echo"

    def __init__(self) -> None:
        self.operations: Mapping[str, Operation] = {"Say": self.say}

    async def say(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        return {"Said": request["Word"]}


async def test_a_request_that_comes_early_waits() -> None:
    late = LateService("echo")
    asked = asyncio.create_task(_call(late, "Say", Word="hello"))
    await asyncio.sleep(0)
    assert not asked.done()
    late.open(Echo())
    assert await asked == {"Said": "hello"}


async def test_an_operation_that_is_not_built_is_refused_early_and_late() -> None:
    late = LateService("echo")
    early = asyncio.create_task(_call(late, "Shout"))
    await asyncio.sleep(0)
    late.open(Echo())
    with pytest.raises(AwsError, match="echo:Shout is not built"):
        await early
    assert late.operations.get("Shout") is None
    assert list(late.operations) == ["Say"]


async def test_a_request_that_is_given_up_takes_nothing_from_the_others() -> None:
    late = LateService("echo")
    first = asyncio.create_task(_call(late, "Say", Word="1"))
    second = asyncio.create_task(_call(late, "Say", Word="2"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    late.open(Echo())
    assert await second == {"Said": "2"}


async def test_a_service_that_cannot_be_opened_says_so_to_everybody() -> None:
    late = LateService("echo")
    late.fail(AwsError("ServiceUnavailable", "its store is locked", 503))
    with pytest.raises(AwsError, match="its store is locked"):
        await _call(late, "Say", Word="1")


async def _call(late: LateService, name: str, **request: Any) -> dict[str, Any]:
    return await late.operations[name](CONTEXT, request)
