"""A queue behind any SQS endpoint. Implements `ports.Queue` by `ports.Clients`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Clients, Clock

AT_ONCE: Final = 10  # entries of a batch: SQS's API
LOOK_EVERY_S: Final = 1.0  # ours: long polls would each hold one of the few threads that clients have
VISIBILITY_DEFAULT_S: Final = 30  # SetQueueAttributes' page


class RemoteQueue:
    def __init__(self, clients: Clients, clock: Clock, arn: str) -> None:
        _, _, _, self._region, self._account_id, self._name = arn.split(":", 5)
        self.arn = arn
        self._clients = clients
        self._clock = clock
        self._url: str | None = None
        self._visibility_timeout_s = VISIBILITY_DEFAULT_S

    @property
    def visibility_timeout_s(self) -> int:
        """As it was when the queue was first used."""
        return self._visibility_timeout_s

    async def send_many(self, messages: Sequence[Mapping[str, Any]]) -> list[str]:
        sent = []
        for start in range(0, len(messages), AT_ONCE):
            entries = [{"Id": str(n), **message} for n, message in enumerate(messages[start : start + AT_ONCE])]
            answer = await self._call("SendMessageBatch", {"Entries": entries})
            if failed := answer.get("Failed"):
                raise _problem(failed[0])
            sent += [entry["MessageId"] for entry in answer.get("Successful") or []]
        return sent

    async def receive(
        self, count: int, *, invisible_s: float | None = None, wait_s: float = 0.0
    ) -> list[dict[str, Any]]:
        until_s = self._clock.monotonic() + wait_s
        while True:
            found = await self._receive(count, invisible_s)
            left_s = until_s - self._clock.monotonic()
            if found or left_s <= 0:
                return found
            await self._clock.sleep(min(LOOK_EVERY_S, left_s))

    async def _receive(self, count: int, invisible_s: float | None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while len(found) < count:
            asked = min(AT_ONCE, count - len(found))
            request = {
                "MaxNumberOfMessages": asked,
                "AttributeNames": ["All"],
                "MessageAttributeNames": ["All"],
                "WaitTimeSeconds": 0,
            }
            if invisible_s is not None:
                request["VisibilityTimeout"] = int(invisible_s)
            try:
                messages = (await self._call("ReceiveMessage", request)).get("Messages") or []
            except AwsError:
                if not found:
                    raise
                break  # those that are here must not be hidden in vain
            found += messages
            if len(messages) < asked:
                break
        return found

    async def delete_many(self, handles: Sequence[str]) -> list[AwsError | None]:
        return await self._in_batches("DeleteMessageBatch", [{"ReceiptHandle": handle} for handle in handles])

    async def change_visibility(self, changes: Sequence[tuple[str, float]]) -> list[AwsError | None]:
        entries = [{"ReceiptHandle": handle, "VisibilityTimeout": int(for_s)} for handle, for_s in changes]
        return await self._in_batches("ChangeMessageVisibilityBatch", entries)

    async def _in_batches(self, operation: str, entries: Sequence[Mapping[str, Any]]) -> list[AwsError | None]:
        problems: list[AwsError | None] = []
        for start in range(0, len(entries), AT_ONCE):
            portion = entries[start : start + AT_ONCE]
            answer = await self._call(operation, {"Entries": [{"Id": str(n), **e} for n, e in enumerate(portion)]})
            failed = {entry["Id"]: _problem(entry) for entry in answer.get("Failed") or []}
            problems += [failed.get(str(n)) for n in range(len(portion))]
        return problems

    async def _call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        context = RequestContext(
            account_id=self._account_id, region=self._region, request_id=str(uuid.uuid4()), base_url=""
        )
        if self._url is None:
            found = await self._clients.call(context, "sqs", "GetQueueUrl", {"QueueName": self._name})
            wanted = {"QueueUrl": found["QueueUrl"], "AttributeNames": ["VisibilityTimeout"]}
            attributes = (await self._clients.call(context, "sqs", "GetQueueAttributes", wanted)).get(
                "Attributes"
            ) or {}
            self._visibility_timeout_s = int(attributes.get("VisibilityTimeout", VISIBILITY_DEFAULT_S))
            self._url = found["QueueUrl"]
        try:
            return await self._clients.call(context, "sqs", operation, {"QueueUrl": self._url, **request})
        except AwsError:
            self._url = None  # it may have been deleted and made again
            raise


def _problem(failed: Mapping[str, Any]) -> AwsError:
    return AwsError(failed.get("Code", "InternalError"), failed.get("Message", ""), 400)
