"""moto's own calls to Lambda, led to the server's front door: they are events, so they are sent asynchronously, in order."""

from __future__ import annotations

import json
import logging
import queue
import threading
from typing import Any, Final

from lambent.neighbours.moto_process import roots

log = logging.getLogger(__name__)

WAITING_MAX: Final = 10_000  # events that wait for Lambda to accept them


class LambdaByFrontDoor:
    """Stands where moto expects its own Lambda: what S3, SNS, DynamoDB, Secrets Manager and others do with it."""

    def __init__(self, door: FrontDoor, account_id: str, region: str) -> None:
        self._door = door
        self._place = (account_id, region)

    def get_function(self, name: str, qualifier: str | None = None) -> dict[str, str]:
        """Whether it exists is found out when it is called; moto only asks before."""
        return {"name": name, "qualifier": qualifier or "$LATEST"}

    def get_function_by_arn(self, arn: str) -> dict[str, str]:
        return {"name": arn}

    def invoke(self, function_name: str, qualifier: str | None, body: Any, *_: Any, **__: Any) -> bytes:
        name = f"{function_name}:{qualifier}" if qualifier and ":" not in function_name else function_name
        self._door.send(self._place, name, body)
        return b""

    def send_s3_event(self, function_arn: str, event_name: Any, bucket: Any, key: Any, *_: Any) -> None:
        from moto.s3.notifications import _get_s3_event

        event = _get_s3_event(event_name, bucket, key, notification_id="lambent")
        self._door.send(self._place, function_arn, json.dumps(event))

    def send_sns_message(
        self, function_name: str, message: str, subject: str | None = None, qualifier: str | None = None
    ) -> None:
        sns = {"Type": "Notification", "Message": message, "Subject": subject or "", "MessageAttributes": {}}
        record = {"EventVersion": "1.0", "EventSource": "aws:sns", "Sns": sns}
        self.invoke(function_name, qualifier, json.dumps({"Records": [record]}))

    def send_log_event(
        self, filter_name: str, log_group_name: str, log_stream_name: str, log_events: list[Any], *_: Any
    ) -> None:
        log.warning("a subscription of %s was not delivered: Lambent's own logs do that", log_group_name)


class FrontDoor:
    """Sends invocations one after the other, from a thread of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: queue.Queue[tuple[tuple[str, str], str, Any]] = queue.Queue(WAITING_MAX)
        self._clients: dict[tuple[str, str], Any] = {}
        self._thread: threading.Thread | None = None

    def send(self, place: tuple[str, str], function: str, payload: Any) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name="front door")
            self._thread.start()
        try:
            self._waiting.put_nowait((place, function, payload))
        except queue.Full:
            log.error("an event for %s was dropped: %d others wait for Lambda", function, WAITING_MAX)

    def _run(self) -> None:
        while True:
            place, function, payload = self._waiting.get()
            try:
                self._client(place).invoke(FunctionName=function, InvocationType="Event", Payload=payload or b"{}")
            except Exception as error:  # the outermost edge of one event
                log.error("an event for %s was not taken by Lambda: %s", function, error)

    def _client(self, place: tuple[str, str]) -> Any:
        if place not in self._clients:
            import boto3
            from botocore.config import Config

            key_id, secret = roots.key_of(place[0])
            self._clients[place] = boto3.client(
                "lambda", region_name=place[1], endpoint_url=self._url, aws_access_key_id=key_id,
                aws_secret_access_key=secret, config=Config(retries={"total_max_attempts": 3}),
            )  # fmt: skip
        return self._clients[place]


def redirect(url: str) -> None:
    """Before any of moto's services is imported: they take this function's name along."""
    from moto.awslambda import utils

    door = FrontDoor(url)
    utils.get_backend = lambda account_id, region: LambdaByFrontDoor(door, account_id, region)
