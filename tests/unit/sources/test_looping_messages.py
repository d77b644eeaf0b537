"""Messages whose chain has come by the function too often, among others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from dispatch_harness import ACCOUNT, REGION
from lambent.model.lineage import INVOCATIONS_MAX, advanced, invocations, new_trace
from sources_harness import Queues


@pytest.fixture
async def queues(tmp_path: Path) -> AsyncIterator[Queues]:
    opened = await Queues.open(tmp_path)
    yield opened
    await opened.close()


F = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"


def chain(times: int) -> dict[str, Any]:
    """Members of SendMessage for a message that a chain of so many invocations has sent."""
    header = new_trace(0.0)
    for _ in range(times):
        header = advanced(header, F)
    return {"MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": header}}}


async def test_others_of_the_batch_run(queues: Queues) -> None:
    url = await queues.queue()
    await queues.send(url, "loop", **chain(INVOCATIONS_MAX))
    await queues.send(url, "fresh")
    await queues.send(url, "old", **chain(INVOCATIONS_MAX - 1))
    queues.poll(url)
    await queues.until(lambda: queues.seen)
    assert [sorted(batch) for batch in queues.seen] == [["fresh", "old"]]
    (invocation,) = queues.invocations.of("f")
    assert invocations(invocation.trace_header, F) == INVOCATIONS_MAX  # the longest chain goes on
    await queues.until_counts(url, (0, 1))


async def test_what_is_behind_in_its_group_waits_with_it(queues: Queues) -> None:
    url = await queues.queue("q.fifo")
    await queues.send(url, "a-1")
    await queues.send(url, "a-2", **chain(INVOCATIONS_MAX))
    await queues.send(url, "a-3", "b-1")
    queues.poll(url)
    await queues.until(lambda: queues.seen)
    assert queues.seen[0] == ["a-1", "b-1"]


async def test_where_loops_are_allowed_nothing_is_stopped(queues: Queues) -> None:
    queues.functions.add("f", recursion={"RecursiveLoop": "Allow"})
    url = await queues.queue()
    await queues.send(url, "loop", **chain(INVOCATIONS_MAX + 3))
    queues.poll(url)
    await queues.until_empty(url)
    assert queues.seen == [["loop"]]


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("Root=1-5759e988-bd862e3fe1be46a994272793;Lineage=1:68fd508a:0|a87bd80c:1", True),
        ("Self=1-x;Root=1-5759e988-bd862e3fe1be46a994272793", False),
        ("nonsense", False),
        ("Root=1\n", False),
        ("Root=1" * 1000, False),
    ],
)
async def test_a_message_keeps_the_trace_of_its_request(queues: Queues, header: str, kept: bool) -> None:
    url = await queues.queue()
    context = attrs.evolve(queues.context, trace_header=header)
    sent = await queues.service.operations["SendMessage"](context, {"QueueUrl": url, "MessageBody": "x"})
    assert "MD5OfMessageSystemAttributes" not in sent  # nothing was asked for
    (message,) = (await queues.call("ReceiveMessage", QueueUrl=url, AttributeNames=["AWSTraceHeader"]))["Messages"]
    assert message.get("Attributes") == ({"AWSTraceHeader": header} if kept else None)
