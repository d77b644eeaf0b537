"""StartLiveTail: new events of a few groups, as one stream of updates, one a second.

TAIL = https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_StartLiveTail.html
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from lambent.model.errors import AwsError
from lambent.ports import Clock
from lambent.services.logs.pattern import Match
from lambent.store.logs import GroupKey, LogStore

UPDATE_EVERY_S: Final = 1.0  # TAIL
UPDATE_EVENTS: Final = 500  # TAIL: more than these are sampled down
SESSION_S: Final = 3 * 3600.0  # TAIL

Events = Sequence[tuple[str, int, str]]  # stream, milliseconds since the epoch, message


@attrs.frozen(kw_only=True)
class TailRequest:
    """What one client follows."""

    request_id: str
    groups: Sequence[GroupKey]
    identifiers: Sequence[str]  # the groups as the client wrote them
    stream_names: Sequence[str] = ()
    stream_prefixes: Sequence[str] = ()
    pattern: str = ""
    match: Match | None = None

    def wants(self, stream: str, message: str) -> bool:
        named = not (self.stream_names or self.stream_prefixes)
        if not (named or stream in self.stream_names or stream.startswith(tuple(self.stream_prefixes))):
            return False
        return bool(stream) and (self.match is None or self.match(message))


async def live_tail(
    store: LogStore, clock: Clock, request: TailRequest, update_every_s: float = UPDATE_EVERY_S
) -> AsyncIterator[dict[str, Any]]:
    """sessionStart, and then a sessionUpdate every second, an empty one too: it shows the client that we are there.

    Raises AwsError SessionTimeoutException after three hours. Ends when the store closes.
    """
    collected: deque[dict[str, Any]] = deque(maxlen=UPDATE_EVENTS)
    arrived = 0

    def collect(key: GroupKey, events: Events) -> None:
        nonlocal arrived
        now_ms = int(clock.now() * 1000)
        wanted = [_result(key, event, now_ms) for event in events if request.wants(event[0], event[2])]
        arrived += len(wanted)
        collected.extend(wanted)

    followers = [asyncio.create_task(_follow(store, key, collect)) for key in request.groups]
    try:
        await asyncio.sleep(0)  # they follow from here on: no line after sessionStart is missed
        yield {"sessionStart": _session(request)}
        ends_s = clock.monotonic() + SESSION_S
        while not all(follower.done() for follower in followers):
            await asyncio.wait(followers, timeout=update_every_s, return_when=asyncio.ALL_COMPLETED)
            update = {
                "sessionMetadata": {"sampled": arrived > len(collected)},
                "sessionResults": sorted(collected, key=lambda result: result["timestamp"]),
            }
            arrived = 0
            collected.clear()
            yield {"sessionUpdate": update}
            if clock.monotonic() >= ends_s:
                raise AwsError("SessionTimeoutException", "Your Live Tail session has timed out after three hours.")
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)


async def _follow(store: LogStore, key: GroupKey, collect: Callable[[GroupKey, Events], None]) -> None:
    async for event in store.tail(*key):
        collect(key, [event])


def _session(request: TailRequest) -> Mapping[str, Any]:
    return {
        "requestId": request.request_id,
        "sessionId": str(uuid.uuid4()),
        "logGroupIdentifiers": list(request.identifiers),
        "logStreamNames": list(request.stream_names),
        "logStreamNamePrefixes": list(request.stream_prefixes),
        "logEventFilterPattern": request.pattern,
    }


def _result(key: GroupKey, event: tuple[str, int, str], now_ms: int) -> dict[str, Any]:
    stream, timestamp_ms, message = event
    return {
        "logStreamName": stream,
        "logGroupIdentifier": f"{key[0]}:{key[2]}",
        "message": message,
        "timestamp": timestamp_ms,
        "ingestionTime": now_ms,
    }
