"""Where policies decide, a function's role must be able to do what the function's configuration needs of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from control_harness import ACCOUNT, REGION, ROLE, Control
from fake_directory import FakeDirectory, allow
from lambent.control.role_rights import RoleRights
from lambent.model.errors import AwsError

QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:dead"
BUS = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/b"
BUCKET = "arn:aws:s3:::records"
OTHER_ROLE = f"{ROLE}-2"
NETWORK = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
CANNOT = "The provided execution role does not have permissions to call {}"
MAY_NOT = "The function's execution role does not have permissions to call {} on {}"


@pytest.fixture
def directory() -> FakeDirectory:
    return FakeDirectory()


@pytest.fixture
async def deciding(tmp_path: Path, directory: FakeDirectory) -> AsyncIterator[Control]:
    control = Control(tmp_path, role_rights=RoleRights(directory))
    control.neighbours.subnets["subnet-1"] = control.neighbours.groups["sg-1"] = "vpc-1"
    control.start_reconciling()
    yield control
    await control.close()


async def refusal(attempt: Any) -> tuple[str, str]:
    with pytest.raises(AwsError) as raised:
        await attempt
    return raised.value.code, raised.value.message


@pytest.mark.parametrize(
    ("members", "right", "missing"),
    [
        ({"DeadLetterConfig": {"TargetArn": QUEUE}}, allow("sqs:SendMessage", resource=QUEUE), "SendMessage on SQS"),
        ({"DeadLetterConfig": {"TargetArn": TOPIC}}, allow("sns:Publish", resource=TOPIC), "Publish on SNS"),
        ({"VpcConfig": NETWORK}, allow("ec2:CreateNetworkInterface"), "CreateNetworkInterface on EC2"),
    ],
)
async def test_a_function_is_refused_what_its_role_may_not_do(
    deciding: Control, directory: FakeDirectory, members: dict[str, Any], right: dict[str, Any], missing: str
) -> None:
    expected = ("InvalidParameterValueException", CANNOT.format(missing))
    assert await refusal(deciding.create(**members)) == expected
    await deciding.create()
    assert await refusal(deciding("UpdateFunctionConfiguration", FunctionName="f", **members)) == expected
    directory.allow(ROLE, right)
    await deciding("UpdateFunctionConfiguration", FunctionName="f", **members)
    await deciding.settled()
    await deciding.create("g", **members)
    # Another role has to be able to do it as well; what does not concern it is not asked about again.
    assert await refusal(deciding("UpdateFunctionConfiguration", FunctionName="f", Role=OTHER_ROLE)) == expected
    directory.allow(ROLE)
    await deciding("UpdateFunctionConfiguration", FunctionName="f", Timeout=9)


@pytest.mark.parametrize(
    ("side", "arn", "action", "right"),
    [
        ("OnFailure", QUEUE, "SendMessage", allow("sqs:SendMessage", resource=QUEUE)),
        ("OnSuccess", TOPIC, "Publish", allow("sns:Publish", resource=TOPIC)),
        ("OnSuccess", BUS, "PutEvents", allow("events:PutEvents", resource=BUS)),
        ("OnFailure", BUCKET, "PutObject", allow("s3:PutObject", resource=f"{BUCKET}/*")),
        (
            "OnFailure", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:next", "InvokeFunction",
            allow("lambda:InvokeFunction"),
        ),
    ],
)  # fmt: skip
async def test_records_go_where_the_role_may_send_them(
    deciding: Control, directory: FakeDirectory, side: str, arn: str, action: str, right: dict[str, Any]
) -> None:
    await deciding.create()
    await deciding.create("next")
    config = {side: {"Destination": arn}}
    put: dict[str, Any] = {"FunctionName": "f", "DestinationConfig": config}
    assert await refusal(deciding("PutFunctionEventInvokeConfig", **put)) == (
        "InvalidParameterValueException", MAY_NOT.format(action, arn),
    )  # fmt: skip
    directory.allow(ROLE, right)
    answer = await deciding("PutFunctionEventInvokeConfig", **put)
    assert answer["DestinationConfig"][side] == {"Destination": arn}
    directory.allow(ROLE)
    await deciding("UpdateFunctionEventInvokeConfig", FunctionName="f", MaximumRetryAttempts=0)


async def test_what_is_wrong_in_itself_is_said_before_rights_are_asked_about(deciding: Control) -> None:
    put: dict[str, Any] = {"FunctionName": "none", "DestinationConfig": {"OnFailure": {"Destination": QUEUE}}}
    assert await refusal(deciding("PutFunctionEventInvokeConfig", **put)) == (
        "ResourceNotFoundException", "The function doesn't exist.",
    )  # fmt: skip
    await deciding.create()
    fifo: dict[str, Any] = {"FunctionName": "f", "DestinationConfig": {"OnFailure": {"Destination": f"{QUEUE}.fifo"}}}
    assert (await refusal(deciding("PutFunctionEventInvokeConfig", **fifo)))[1].endswith("is invalid.")
