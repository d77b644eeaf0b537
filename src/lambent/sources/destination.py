"""Sends the record of a batch that is given up to a mapping's on-failure destination."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from lambent.model.errors import AwsError
from lambent.model.event_format import EventFormat
from lambent.model.request import RequestContext
from lambent.model.stream_failures import Condition, Portion, failure_record, object_key
from lambent.ports import Clients, Clock
from lambent.sources.poller import BackOff
from lambent.sources.problem import SourceProblem

log = logging.getLogger(__name__)

# Ours: AWS does not say how it repeats what a destination did not take. The shard waits meanwhile.
PATIENCE_S: Final = 60.0
FIRST_S: Final = 0.5
LONGEST_S: Final = 15.0


async def until_taken(clock: Clock, send: Callable[[], Awaitable[None]], target: str, text: bytes) -> bool:
    """Whether it was taken within a minute; else the log has it. `send` raises AwsError, SourceProblem."""
    began_s = clock.now()
    back_off = BackOff(FIRST_S, LONGEST_S)
    while True:
        try:
            await send()
        except (AwsError, SourceProblem) as error:
            if clock.now() - began_s > PATIENCE_S:
                log.error("a batch that was given up could not be recorded at %s (%s): %s", target, error, text)
                return False
            await clock.sleep(back_off.next_s())
        else:
            return True


class FailureDestination:
    def __init__(
        self, clients: Clients, clock: Clock, arn: str, *, mapping_id: str, function_arn: str, form: EventFormat
    ) -> None:
        self._clients = clients
        self._clock = clock
        self._arn = arn
        self._mapping_id = mapping_id
        self._function_arn = function_arn
        self._form = form

    async def send(self, portion: Portion, condition: Condition, shard: str) -> bool:
        """Returns when it was taken; False after a minute in which it was not, with an error in the log."""
        now_s = self._clock.now()
        batch_info = self._form.batch_info(shard, portion.records)
        record = failure_record(portion, condition, batch_info, function_arn=self._function_arn, at_s=now_s)
        if self._arn.split(":")[2] == "s3":  # it gets the whole event too, as a text
            record["payload"] = self._form.payload(shard, portion.records).decode()
        text = msgspec.json.encode(record)
        key = object_key(self._mapping_id, shard, now_s)
        return await until_taken(self._clock, lambda: self._send(text, key), self._arn, text)

    async def _send(self, text: bytes, key: str) -> None:
        _, _, service, region, account_id, resource = self._arn.split(":", 5)
        _, _, _, own_region, own_account_id, _ = self._function_arn.split(":", 5)
        context = RequestContext(
            account_id=account_id or own_account_id, region=region or own_region, request_id=str(uuid.uuid4()),
            base_url="",
        )  # fmt: skip
        match service:
            case "sqs":
                url = (await self._clients.call(context, "sqs", "GetQueueUrl", {"QueueName": resource}))["QueueUrl"]
                await self._clients.call(context, "sqs", "SendMessage", {"QueueUrl": url, "MessageBody": text.decode()})
            case "sns":
                await self._clients.call(context, "sns", "Publish", {"TopicArn": self._arn, "Message": text.decode()})
            case "s3":
                item = {"Bucket": resource, "Key": key, "Body": text, "ContentType": "application/json"}
                await self._clients.call(context, "s3", "PutObject", item)
            case _:
                raise AwsError("InvalidParameterValueException", f"{self._arn} takes no records of failed batches.")
