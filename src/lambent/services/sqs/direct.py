"""A queue for those who live in the same process: pollers, destinations, dead letters. Implements `ports.Queue`.

The same rules as over the wire, without its batches of ten and without requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lambent.model.errors import AwsError, LambentError
from lambent.services.sqs.content import message_of
from lambent.services.sqs.errors import in_the_words_of_aws, queue_missing
from lambent.services.sqs.messages import described, problem_of, receipt_of
from lambent.store.queues import Queue, QueueStore

STANDARD_MAX: Final = 1000  # messages at a time: a bound on memory, for bodies of a megabyte
FIFO_MAX: Final = 10  # of a group no more can be in flight together


class DirectQueue:
    """One queue, by its ARN; it may be deleted and made again meanwhile."""

    def __init__(self, store: QueueStore, arn: str, sender_id: str) -> None:
        """`sender_id` is what receivers see as SenderId."""
        self.arn = arn
        self._store = store
        self._sender_id = sender_id

    @property
    def attributes(self) -> Mapping[str, str]:
        """Those that were set. Raises AwsError QueueDoesNotExist."""
        return self._queue().attributes

    @property
    def visibility_timeout_s(self) -> int:
        """Raises AwsError QueueDoesNotExist."""
        return self._queue().visibility_timeout_s

    async def send_many(self, messages: Sequence[Mapping[str, Any]]) -> list[str]:
        queue = self._queue()
        checked = [message_of(queue, members, self._sender_id) for members in messages]
        with in_the_words_of_aws():
            return [sent.message_id for sent in await self._store.send(queue, checked)]

    async def receive(
        self, count: int, *, invisible_s: float | None = None, wait_s: float = 0.0
    ) -> list[dict[str, Any]]:
        queue = self._queue()
        most = FIFO_MAX if queue.is_fifo else STANDARD_MAX
        hidden_s = queue.visibility_timeout_s if invisible_s is None else invisible_s
        with in_the_words_of_aws():
            received = await self._store.receive(queue, min(count, most), invisible_s=hidden_s, wait_s=wait_s)
        return [described(message, {"All"}, ("All",)) for message in received]

    async def delete_many(self, handles: Sequence[str]) -> list[AwsError | None]:
        queue = self._queue()
        receipts = [receipt_of(queue, {"ReceiptHandle": handle}) for handle in handles]
        with in_the_words_of_aws():
            problems = await self._store.delete_messages(queue, receipts)
        return _in_words(problems, lambda n: {"ReceiptHandle": handles[n]})

    async def change_visibility(self, changes: Sequence[tuple[str, float]]) -> list[AwsError | None]:
        queue = self._queue()
        receipts = [(receipt_of(queue, {"ReceiptHandle": handle}), for_s) for handle, for_s in changes]
        with in_the_words_of_aws():
            problems = await self._store.hide_messages(queue, receipts)
        return _in_words(problems, lambda n: {"ReceiptHandle": changes[n][0], "VisibilityTimeout": int(changes[n][1])})

    def _queue(self) -> Queue:
        queue = self._store.by_arn(self.arn)
        if queue is None:
            raise queue_missing()
        return queue


def _in_words(
    problems: Sequence[LambentError | None], members: Callable[[int], dict[str, Any]]
) -> list[AwsError | None]:
    return [None if problem is None else problem_of(members(n), problem) for n, problem in enumerate(problems)]
