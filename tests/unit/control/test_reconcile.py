"""What is pending is made ready, whenever it became so, and what cannot be says why."""

from __future__ import annotations

import asyncio
from pathlib import Path

from control_harness import ACCOUNT, REGION, Control, zipped


async def test_what_was_pending_when_the_server_ended_is_made_ready_by_the_next(tmp_path: Path) -> None:
    first = Control(tmp_path)
    await first.create("f", Publish=True)
    assert {v.version for v in first.catalog.pending()} == {"$LATEST", "1"}
    await first.close()
    second = Control(tmp_path)
    second.start_reconciling()
    await second.settled()
    for qualifier in ("$LATEST", "1"):
        answer = await second("GetFunctionConfiguration", FunctionName="f", Qualifier=qualifier)
        assert answer["State"] == "Active"
    await second.close()


async def test_a_function_whose_package_was_lost_fails_and_can_be_created_anew_by_an_update(
    idle_control: Control,
) -> None:
    await idle_control.create("f")
    digest = idle_control.catalog.resolve(ACCOUNT, REGION, "f", None, 0.0).code_digest
    assert digest is not None
    assert await idle_control.blobs.collect(set(), grace_s=-5) == [digest]
    idle_control.start_reconciling()
    await idle_control.settled()
    answer = await idle_control("GetFunctionConfiguration", FunctionName="f")
    assert (answer["State"], answer["StateReasonCode"]) == ("Failed", "InternalError")
    assert digest in answer["StateReason"]
    answer = await idle_control("UpdateFunctionCode", FunctionName="f", ZipFile=zipped(app="2"))
    assert answer["State"] == "Pending"
    await idle_control.settled()
    assert (await idle_control("GetFunctionConfiguration", FunctionName="f"))["State"] == "Active"


async def test_a_function_deleted_while_it_is_made_ready_stays_deleted(control: Control) -> None:
    await asyncio.gather(
        control("CreateFunction", FunctionName="f", Runtime="python3.13", Handler="a.b",
                Role=f"arn:aws:iam::{ACCOUNT}:role/r", Code={"ZipFile": zipped(app="1")}),
        return_exceptions=False,
    )  # fmt: skip
    await control("DeleteFunction", FunctionName="f")
    await control.settled()
    assert (await control("ListFunctions"))["Functions"] == []
