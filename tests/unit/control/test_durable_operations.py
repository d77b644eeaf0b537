"""No durable execution runs here, and every operation on one says so in AWS's shapes."""

from __future__ import annotations

from typing import Any

import pytest

from control_harness import ACCOUNT, MODEL, REGION, Control
from lambent.model.errors import AwsError

EXECUTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f:1/durable-execution/order-1/0a1b"
OPERATIONS = [name for name in MODEL.operation_names if "Durable" in name and not name.startswith("List")]


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_an_execution_that_was_never_begun_is_not_found(idle_control: Control, operation: str) -> None:
    members: dict[str, Any] = {"DurableExecutionArn": EXECUTION, "CheckpointToken": "t", "CallbackId": "c"}
    with pytest.raises(AwsError) as raised:
        await idle_control(operation, **members)
    modelled = {shape.name: shape.metadata["error"] for shape in MODEL.operation_model(operation).error_shapes}
    assert raised.value.code in modelled
    assert raised.value.status == modelled[raised.value.code]["httpStatusCode"]
    assert raised.value.code == (
        "ResourceNotFoundException" if "ResourceNotFoundException" in modelled else "InvalidParameterValueException"
    )


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if "Callback" not in name])
async def test_an_arn_of_something_else_is_refused(idle_control: Control, operation: str) -> None:
    for arn in (f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f", EXECUTION + "/x", "x"):
        with pytest.raises(AwsError) as raised:
            await idle_control(operation, DurableExecutionArn=arn, CheckpointToken="t")
        assert raised.value.message == f"Invalid durable execution ARN: {arn}"


async def test_a_function_has_no_executions_and_must_exist(control: Control) -> None:
    await control.create(DurableConfig={"ExecutionTimeout": 60})
    answer = await control("GetFunctionConfiguration", FunctionName="f")
    assert answer["DurableConfig"] == {"ExecutionTimeout": 60, "RetentionPeriodInDays": 14}
    assert await control("ListDurableExecutionsByFunction", FunctionName="f") == {"DurableExecutions": []}
    for members in ({"FunctionName": "g"}, {"FunctionName": "f", "Qualifier": "7"}):
        with pytest.raises(AwsError, match="ResourceNotFoundException"):
            await control("ListDurableExecutionsByFunction", **members)
