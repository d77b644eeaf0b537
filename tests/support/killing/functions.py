"""Functions that leave a line in a file for what they begin and for what they have done, and the lines read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

POISON: Final = "!"  # at a token's end: its function always fails
QUEUE_RECEIVES_MOST: Final = 5

# At level `process` a function sees the machine's files. What is written is there however the process ends.
CODE: Final = f"""
import base64, json, os

trace = os.open(os.environ["TRACE"], os.O_WRONLY | os.O_APPEND)
life = open(os.environ["LIFE"]).read()

def say(what, place, token, attempt):
    os.write(trace, f"{{what}} {{life}} {{place}} {{token}} {{attempt}}\\n".encode())

def do(place, token, attempt):
    say("begun", place, token, attempt)
    if token.endswith("{POISON}"):
        raise ValueError(token)
    say("done", place, token, attempt)

def handler(event, context):
    if "token" in event:
        return do("async", event["token"], context.aws_request_id) or event["token"]
    first = event["Records"][0]
    if "Sns" in first:
        do("sns", first["Sns"]["Message"], context.aws_request_id)
    elif "kinesis" in first:
        for record in event["Records"]:
            do("s", base64.b64decode(record["kinesis"]["data"]).decode(), context.aws_request_id)
    else:
        return {{"batchItemFailures": [{{"itemIdentifier": name}} for name in failures(event["Records"], context)]}}

def failures(records, context):
    stuck = set()
    for record in records:
        attributes, place = record["attributes"], record["eventSourceARN"].split(":")[5]
        group = attributes.get("MessageGroupId", record["messageId"])
        if group not in stuck:
            try:
                do(place, record["body"], context.aws_request_id)
                continue
            except ValueError:
                # At its last attempt it goes to the dead letters, and what comes after it must not.
                if int(attributes["ApproximateReceiveCount"]) < {QUEUE_RECEIVES_MOST}:
                    stuck.add(group)
        yield record["messageId"]
"""


@attrs.frozen
class Line:
    what: str  # begun or done
    life: int
    place: str
    token: str
    attempt: str  # the invocation's request id


@attrs.define
class Traces:
    path: Path
    _read_bytes: int = 0
    lines: list[Line] = attrs.field(factory=list)

    def create(self) -> None:
        self.path.touch()
        self.path.chmod(0o666)  # functions may be of another user

    def read(self) -> None:
        """What was written since the last look."""
        with self.path.open("rb") as file:
            file.seek(self._read_bytes)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        self.lines += self._parsed(whole.decode())

    @staticmethod
    def _parsed(text: str) -> Iterator[Line]:
        for line in text.splitlines():
            what, life, place, token, attempt = line.split(" ")
            yield Line(what, int(life), place, token, attempt)

    def done(self, place: str) -> set[str]:
        return {line.token for line in self.lines if line.place == place and line.what == "done"}
