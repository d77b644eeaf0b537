"""Sends the record of a batch that is given up to a mapping's on-failure destination."""

from __future__ import annotations

import logging
import uuid
from typing import Final

import msgspec

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.model.stream_failures import Condition, Portion, failure_record, object_key, with_payload
from lambent.ports import Clients, Clock
from lambent.sources.poller import BackOff

log = logging.getLogger(__name__)

# Ours: AWS does not say how it repeats what a destination did not take. The shard waits meanwhile.
PATIENCE_S: Final = 60.0
FIRST_S: Final = 0.5
LONGEST_S: Final = 15.0


class FailureDestination:
    def __init__(
        self, clients: Clients, clock: Clock, arn: str, *, mapping_id: str, function_arn: str, stream_arn: str
    ) -> None:
        self._clients = clients
        self._clock = clock
        self._arn = arn
        self._mapping_id = mapping_id
        self._function_arn = function_arn
        self._stream_arn = stream_arn

    async def send(self, portion: Portion, condition: Condition, shard: str) -> bool:
        """Returns when it was taken; False after a minute in which it was not, with an error in the log."""
        now_s = self._clock.now()
        record = failure_record(
            portion, condition, function_arn=self._function_arn, stream_arn=self._stream_arn, shard=shard, at_s=now_s
        )
        text = msgspec.json.encode(record)
        if self._arn.split(":")[2] == "s3":
            text = with_payload(record, portion)
        key = object_key(self._mapping_id, shard, now_s)
        back_off = BackOff(FIRST_S, LONGEST_S)
        while True:
            try:
                await self._send(text, key)
            except AwsError as error:
                if self._clock.now() - now_s > PATIENCE_S:
                    log.error("a batch that was given up could not be recorded at %s (%s): %s", self._arn, error, text)
                    return False
                await self._clock.sleep(back_off.next_s())
            else:
                return True

    async def _send(self, text: bytes, key: str) -> None:
        _, _, service, region, account_id, resource = self._arn.split(":", 5)
        _, _, _, own_region, own_account_id, _ = self._stream_arn.split(":", 5)
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
