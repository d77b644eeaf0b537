"""moto's own calls to services that Lambent owns, led to the server's front door.

They are events (S3's and SNS's notifications, rotations of secrets), so they are sent from a thread of their own, in order: who
caused them does not wait. Step Functions' tasks wait for theirs; they only need to know where and as whom.
"""

from __future__ import annotations

import functools
import json
import logging
import queue
import threading
import types
from typing import Any, Final

from lambent.neighbours.moto_process import roots

log = logging.getLogger(__name__)

WAITING_MAX: Final = 10_000  # events that wait for their service to accept them

Place = tuple[str, str]
"""Account and region."""


class FrontDoor:
    """Sends what happened, one after the other."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._waiting: queue.Queue[tuple[Place, str, str, dict[str, Any]]] = queue.Queue(WAITING_MAX)
        self._client = functools.lru_cache(64)(self.client)
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None

    def send(self, place: Place, service: str, method: str, members: dict[str, Any]) -> None:
        with self._start:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="front door")
                self._thread.start()
        try:
            self._waiting.put_nowait((place, service, method, members))
        except queue.Full:
            log.error("an event for %s was dropped: %d others wait", service, WAITING_MAX)

    def _run(self) -> None:
        while True:
            place, service, method, members = self._waiting.get()
            try:
                getattr(self._client(place, service), method)(**members)
            except Exception as error:  # the outermost edge of one event
                log.error("an event was not taken by %s in %s: %s", service, place, error)

    def client(self, place: Place, service: str, **more: Any) -> Any:
        import boto3
        from botocore.config import Config

        key_id, secret = roots.key_of(place[0])
        return boto3.client(
            service,
            region_name=place[1],
            endpoint_url=self.url,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            config=Config(**{"retries": {"total_max_attempts": 3}, **more}),
        )


class LambdaByFrontDoor:
    """Stands where moto expects its own Lambda: what S3, SNS, DynamoDB, Secrets Manager and others do with it."""

    def __init__(self, door: FrontDoor, account_id: str, region: str) -> None:
        self._door = door
        self._place = (account_id, region)

    def get_function(self, name: str, qualifier: str | None = None) -> Any:
        """Whether it exists is found out when it is called; moto only asks before."""
        invoke = functools.partial(self.invoke, name, qualifier)
        return types.SimpleNamespace(function_name=name, invoke=invoke)

    def get_function_by_arn(self, arn: str) -> Any:
        return self.get_function(arn)

    def invoke(self, function_name: str, qualifier: str | None, body: Any, *_: Any, **__: Any) -> bytes:
        members = {"FunctionName": function_name, "InvocationType": "Event", "Payload": body or b"{}"}
        if qualifier:
            members["Qualifier"] = qualifier
        self._door.send(self._place, "lambda", "invoke", members)
        return b""

    def send_sns_message(
        self, function_name: str, message: str, subject: str | None = None, qualifier: str | None = None
    ) -> None:
        sns = {"Type": "Notification", "Message": message, "Subject": subject or "", "MessageAttributes": {}}
        record = {"EventVersion": "1.0", "EventSource": "aws:sns", "Sns": sns}
        self.invoke(function_name, qualifier, json.dumps({"Records": [record]}))

    def send_log_event(self, filter_name: str, log_group_name: str, *_: Any, **__: Any) -> None:
        log.warning("a subscription of %s was not delivered: Lambent's own logs do that", log_group_name)


def redirect(url: str) -> None:
    """Before any of moto's services is imported: they take these functions' names along."""
    from moto.awslambda import utils

    door = FrontDoor(url)
    utils.get_backend = lambda account_id, region: LambdaByFrontDoor(door, account_id, region)
    _redirect_queues(door)
    _redirect_tasks(door)


def _redirect_queues(door: FrontDoor) -> None:
    """Queues are Lambent's own; moto's services still ask moto's for them."""
    from moto.sqs.models import SQSBackend

    def get_queue(self: Any, queue_name: str) -> Any:
        return types.SimpleNamespace(name=queue_name, fifo_queue=queue_name.endswith(".fifo"))

    def send_message(
        self: Any, queue_name: str, message_body: str, message_attributes: dict[str, Any] | None = None,
        delay_seconds: int | None = None, deduplication_id: str | None = None, group_id: str | None = None,
        *_: Any, **__: Any,
    ) -> None:  # fmt: skip
        members: dict[str, Any] = {
            "QueueUrl": f"{door.url}/{self.account_id}/{queue_name}",
            "MessageBody": message_body,
            "DelaySeconds": delay_seconds,
            "MessageDeduplicationId": deduplication_id,
            "MessageGroupId": group_id,
            "MessageAttributes": _attributes(message_attributes or {}),
        }
        given = {name: value for name, value in members.items() if value}
        door.send((self.account_id, self.region_name), "sqs", "send_message", given)

    SQSBackend.get_queue, SQSBackend.send_message = get_queue, send_message


def _attributes(of_moto: dict[str, Any]) -> dict[str, Any]:
    names = {"data_type": "DataType", "string_value": "StringValue", "binary_value": "BinaryValue"}
    return {name: {names[key]: part for key, part in value.items() if key in names} for name, value in of_moto.items()}


def _redirect_tasks(door: FrontDoor) -> None:
    """A task is done in the account of its state machine's role; it may take as long as it likes."""
    from moto.stepfunctions.parser.asl.utils import boto_client

    def client_for(region: str, service: str, state_credentials: Any = None) -> Any:
        role_arn = getattr(state_credentials, "role_arn", "") or ""
        account_id = role_arn.split(":")[4] if role_arn.count(":") >= 5 else "000000000000"
        return door.client(
            (account_id, region), service,
            parameter_validation=False, retries={"total_max_attempts": 1}, read_timeout=900,
        )  # fmt: skip

    boto_client.boto_client_for = client_for
