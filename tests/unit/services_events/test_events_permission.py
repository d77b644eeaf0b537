"""Whom a rule or a schedule may call: the decision before each delivery."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from bridge_harness import ACCOUNT, FUNCTION, QUEUE, REGION, ROLE
from lambent.model.errors import AwsError
from lambent.model.names import FunctionAddress
from lambent.model.request import RequestContext
from lambent.services.delivery.permission import Permission
from lambent.store.deliveries import Delivery

RULE = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/r"
OTHER = "999999999999"


@attrs.define
class Policies:
    """What is asked, and what is answered."""

    queue_policy: Any = None
    role_may: bool = False
    function_allows: bool = False
    asked: list[tuple[str, ...]] = attrs.field(factory=list)

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        if operation == "GetQueueUrl":
            return {"QueueUrl": "http://here/q"}
        return {"Attributes": {"Policy": json.dumps(self.queue_policy)} if self.queue_policy else {}}

    async def may(self, role: str, session: str, action: str, resource: str) -> bool:
        self.asked.append((role, action, resource))
        return self.role_may

    def allow(self, service: str, action: str, function: FunctionAddress, context: Mapping[str, str]) -> None:
        self.asked.append((service, action, function.qualified_arn, context["aws:SourceArn"]))
        if not self.function_allows:
            raise AwsError("AccessDeniedException", "no", 403)

    async def decide(self, arn: str, kind: str = "rule", foreign_only: bool = False, **target: str) -> bool:
        """Whether the target may be called."""
        about = {"id": "1", "kind": kind, "owner": RULE, "account": ACCOUNT, "region": REGION, "target": target}
        delivery = Delivery(id=1, lane=arn, about=about, body=b"{}", accepted_ms=0, tries=0)
        parts = arn.split(":")
        context = RequestContext(account_id=parts[4] or ACCOUNT, region=REGION, request_id="1", base_url="")
        try:
            await Permission(self.allow, self.may, self, foreign_only).check(delivery, context)
        except AwsError as error:
            return error.status != 403
        return True


def letting(principal: Any, source: str = RULE) -> dict[str, Any]:
    condition = {"ArnEquals": {"aws:SourceArn": source}}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sqs:SendMessage", "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [{**statement, "Condition": condition}]}


async def test_a_queue_without_a_role_is_asked_for_its_policy() -> None:
    assert not await Policies().decide(QUEUE)
    assert await Policies(queue_policy=letting({"Service": "events.amazonaws.com"})).decide(QUEUE)
    assert not await Policies(queue_policy=letting({"Service": "sns.amazonaws.com"})).decide(QUEUE)
    assert not await Policies(queue_policy=letting({"Service": "events.amazonaws.com"}, RULE + "x")).decide(QUEUE)
    assert not await Policies(queue_policy={"Version": "2012-10-17", "Statement": 5}).decide(QUEUE)


async def test_a_function_is_asked_for_its_policy() -> None:
    policies = Policies(function_allows=True)
    assert await policies.decide(f"{FUNCTION}:live")
    assert policies.asked == [("events.amazonaws.com", "lambda:InvokeFunction", f"{FUNCTION}:live", RULE)]
    assert not await Policies().decide(FUNCTION)


@pytest.mark.parametrize("role_may", [True, False])
async def test_a_role_decides_where_there_is_one(role_may: bool) -> None:
    policies = Policies(role_may=role_may)
    assert await policies.decide(QUEUE, RoleArn=ROLE) is role_may
    universal = "arn:aws:scheduler:::aws-sdk:dynamodb:putItem"
    assert await policies.decide(universal, kind="schedule", RoleArn=ROLE) is role_may
    assert policies.asked == [(ROLE, "sqs:SendMessage", QUEUE), (ROLE, "dynamodb:PutItem", "*")]


async def test_a_role_of_another_account_is_nobodys() -> None:
    assert not await Policies(role_may=True).decide(QUEUE, RoleArn=f"arn:aws:iam::{OTHER}:role/r")


async def test_where_nobody_is_asked_other_accounts_targets_are_closed_all_the_same() -> None:
    theirs = QUEUE.replace(ACCOUNT, OTHER)
    assert await Policies().decide(QUEUE, foreign_only=True)
    assert not await Policies(role_may=True).decide(theirs, foreign_only=True, RoleArn=ROLE)
    opened = Policies(queue_policy=letting({"Service": "events.amazonaws.com"}))
    assert await opened.decide(theirs, foreign_only=True)
    for_the_role = Policies(queue_policy=letting({"AWS": ROLE}), role_may=True)
    assert await for_the_role.decide(theirs, RoleArn=ROLE)
    assert await for_the_role.decide(theirs, foreign_only=True, RoleArn=ROLE)
    assert not await for_the_role.decide(theirs)
    assert not await Policies(queue_policy=letting({"AWS": ROLE})).decide(theirs, RoleArn=ROLE)
    assert not await Policies().decide(FUNCTION.replace(ACCOUNT, OTHER), foreign_only=True)
    assert not await Policies(role_may=True).decide(f"arn:aws:kinesis:{REGION}:{OTHER}:stream/s", foreign_only=True)
