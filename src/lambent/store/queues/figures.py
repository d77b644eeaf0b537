"""What queues tell of themselves, by CloudWatch's names.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lambent.model.metrics import Series
from lambent.ports import Clock, Telemetry
from lambent.store.queues.values import NewMessage, Queue

NAMESPACE: Final = "AWS/SQS"


def series_of(queue: Queue, name: str, unit: str = "Count") -> Series:
    return Series(queue.account_id, queue.region, NAMESPACE, name, (("QueueName", queue.name),), unit)


class QueueFigures:
    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self.touched_s: dict[int, float] = {}  # by queue: when somebody last sent, received or deleted

    def sent(self, queue: Queue, messages: Sequence[NewMessage]) -> None:
        self._tell(queue, "NumberOfMessagesSent", len(messages))
        size = series_of(queue, "SentMessageSize", "Bytes")
        for message in messages:
            body = message.body
            body_bytes = len(body) if body.isascii() else len(body.encode("utf-8", "surrogatepass"))
            self._telemetry.observe(size, body_bytes + len(message.attributes or b""))

    def received(self, queue: Queue, count: int) -> None:
        self._tell(queue, "NumberOfMessagesReceived" if count else "NumberOfEmptyReceives", count or 1)

    def deleted(self, queue: Queue, count: int) -> None:
        if count:
            self._tell(queue, "NumberOfMessagesDeleted", count)

    def forget(self, queue: Queue) -> None:
        self.touched_s.pop(queue.id, None)

    def _tell(self, queue: Queue, name: str, times: float) -> None:
        self.touched_s[queue.id] = self._clock.now()
        self._telemetry.observe(series_of(queue, name), 1.0, times)
