"""Operations on move tasks: dead letters go back to where they came from, or elsewhere."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Operation
from lambent.services.sqs.errors import (
    access_denied,
    in_the_words_of_aws,
    invalid_parameter,
    missing_parameter,
    resource_missing,
)
from lambent.services.sqs.names import check_arn
from lambent.store.queues import MoveTask, MoveTaskMissing, MoveTaskRunning, Queue, QueueStore

Members = dict[str, Any]

PER_SECOND_MAX: Final = (
    500  # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
)
LISTED_MAX: Final = 10


class MoveTasks:
    def __init__(self, store: QueueStore) -> None:
        self._store = store
        self.operations: Mapping[str, Operation] = {
            "StartMessageMoveTask": self.start_message_move_task,
            "ListMessageMoveTasks": self.list_message_move_tasks,
            "CancelMessageMoveTask": self.cancel_message_move_task,
        }

    async def start_message_move_task(self, context: RequestContext, members: Members) -> Members:
        source = self._source(context, members.get("SourceArn"))
        if not self._sources_of(source):
            raise invalid_parameter("Source queue must be configured as a Dead Letter Queue.")
        destination_arn = members.get("DestinationArn") or None
        if destination_arn is not None:
            self._check_destination(source, destination_arn)
        per_second = members.get("MaxNumberOfMessagesPerSecond")
        if per_second is not None and not 1 <= per_second <= PER_SECOND_MAX:
            raise invalid_parameter(
                "Value for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: You must enter a number that's "
                "between 1 and 500."
            )
        try:
            with in_the_words_of_aws():
                task = await self._store.start_move(source, destination_arn, per_second)
        except MoveTaskRunning as error:
            raise invalid_parameter(
                "There is already a task running. Only one active task is allowed for a source queue arn at a given "
                "time."
            ) from error
        return {"TaskHandle": _handle(task)}

    async def list_message_move_tasks(self, context: RequestContext, members: Members) -> Members:
        source = self._source(context, members.get("SourceArn"))
        limit = members.get("MaxResults", 1)
        if not 1 <= limit <= LISTED_MAX:
            raise invalid_parameter(
                "Value for parameter MaxResults is invalid. Reason: MaxResults must be an integer between 1 and 10."
            )
        return {"Results": [_described(task) for task in await self._store.move_tasks(source, limit)]}

    async def cancel_message_move_task(self, context: RequestContext, members: Members) -> Members:
        handle = members.get("TaskHandle")
        if not handle:
            raise missing_parameter("TaskHandle")
        task_id, source_arn = _read_handle(handle)
        source = self._store.by_arn(source_arn)
        if source is None:
            raise resource_missing("SourceArn")
        if source.account_id != context.account_id:
            raise access_denied()
        try:
            task = await self._store.cancel_move(task_id)
        except MoveTaskMissing as error:
            raise AwsError("ResourceNotFoundException", "Task does not exist.", 404) from error
        return {"ApproximateNumberOfMessagesMoved": task.moved}

    def _source(self, context: RequestContext, arn: str | None) -> Queue:
        if arn is None:
            raise missing_parameter("SourceArn")
        check_arn("SourceArn", arn)
        source = self._store.by_arn(arn)
        if source is None:
            raise resource_missing("SourceArn")
        if source.account_id != context.account_id:
            raise access_denied()
        return source

    def _sources_of(self, target: Queue) -> list[Queue]:
        return [
            queue
            for queue in self._store.queues_of(target.account_id, target.region)
            if queue.redrive_target is not None and queue.redrive_target[0] == target.arn
        ]

    def _check_destination(self, source: Queue, arn: str) -> None:
        check_arn("DestinationArn", arn)
        if arn == source.arn:
            raise invalid_parameter("Source queue arn and destination queue arn cannot be the same.")
        destination = self._store.by_arn(arn)
        if destination is None:
            raise resource_missing("DestinationArn")
        if destination.account_id != source.account_id:
            raise access_denied()
        if destination.is_fifo != source.is_fifo:
            raise invalid_parameter("The source queue and destination queue must be of the same queue type.")


def _handle(task: MoveTask) -> str:
    content = {"taskId": task.id, "sourceArn": task.source_arn}
    return base64.b64encode(json.dumps(content).encode()).decode()


def _read_handle(handle: str) -> tuple[str, str]:
    """Task id and ARN. Raises AwsError InvalidParameterValue."""
    try:
        content = json.loads(base64.b64decode(handle, validate=True))
        return str(content["taskId"]), str(content["sourceArn"])
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise invalid_parameter("Value for parameter TaskHandle is invalid.") from error


def _described(task: MoveTask) -> Members:
    found = {
        "TaskHandle": _handle(task) if task.status == "RUNNING" else None,
        "Status": task.status,
        "SourceArn": task.source_arn,
        "DestinationArn": task.destination_arn,
        "MaxNumberOfMessagesPerSecond": task.per_second,
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "FailureReason": task.failure,
        "StartedTimestamp": task.started_ms,
    }
    return {name: value for name, value in found.items() if value is not None}
