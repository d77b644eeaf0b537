"""The Telemetry API and its predecessor, the Logs API: subscriptions, and the delivery of what was subscribed to.

https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from lambent.http1.request import Request
from lambent.runtimeapi.answers import JSON, refuse
from lambent.runtimeapi.protocol import Extension, Refusal
from lambent.runtimeapi.subscription import Subscription, parse_subscription

Connect = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Opens a connection to a port inside the environment. Raises OSError."""

EARLY_MAX_CHARACTERS: Final = 256 * 1024  # kept during init for those who subscribe a little later
EARLY_RECORD_CHARACTERS: Final = 512  # what a platform event counts for
EARLY_LINE_CHARACTERS: Final = 128  # what a line counts for besides its own, which may be none
DELIVERY_TRIES: Final = 3  # of a batch; then it is dropped, and platform.logsDropped says so
DELIVERY_S: Final = 10.0  # for one try
RETRY_PAUSE_S: Final = 0.2
LOGS_API_EVENTS: Final = frozenset(
    ("platform.start", "platform.end", "platform.report", "platform.fault", "platform.extension",
     "platform.logsSubscription", "platform.logsDropped", "platform.runtimeDone", "function", "extension")
)  # fmt: skip

_log = logging.getLogger(__name__)


class TelemetryEndpoints:
    """Subscribing, and the fan-out of events to those who did."""

    def __init__(
        self,
        identify: Callable[[Request], Extension | Refusal],
        observed: Callable[[str, dict[str, Any]], None],
        connect: Connect | None,
        now: Callable[[], float],
    ) -> None:
        self._now = now
        self._identify = identify
        self._observed = observed
        self._connect = connect
        self._subscribers: dict[str, Subscriber] = {}  # by the extension's name
        self._open = connect is not None
        # What `publish` was called with: mostly nobody subscribes, so it is not encoded.
        self._early: list[tuple[str, str, str | dict[str, Any], float]] = []
        self._early_characters = 0

    # endpoints

    def subscribe(self, request: Request) -> None:
        self._subscribe(request, logs_api=False)

    def subscribe_logs(self, request: Request) -> None:
        self._subscribe(request, logs_api=True)

    def _subscribe(self, request: Request, *, logs_api: bool) -> None:
        extension = self._identify(request)
        if isinstance(extension, Refusal):
            refuse(request, extension)
            return
        name = "Logs" if logs_api else "Telemetry"
        if self._connect is None:
            # As AWS's own emulator answers: a success that promises nothing, so that extensions go on.
            refuse(request, Refusal(202, f"{name}.NotSupported", f"{name} API is not supported"))
            return
        if not self._open:
            refuse(request, Refusal(403, f"{name}.SubscriptionClosed", f"{name} API subscription is closed"))
            return
        subscription = parse_subscription(request.body, logs_api=logs_api)
        if isinstance(subscription, Refusal):
            refuse(request, subscription)
            return
        self._admit(extension, subscription, logs_api=logs_api)
        request.respond(200, JSON, b'"OK"')

    def _admit(self, extension: Extension, subscription: Subscription, *, logs_api: bool) -> None:
        assert self._connect is not None
        if (previous := self._subscribers.pop(extension.name, None)) is not None:
            previous.close()
        subscriber = Subscriber(subscription, self._connect, self._now, LOGS_API_EVENTS if logs_api else None)
        self._subscribers[extension.name] = subscriber
        for kind, event_type, record, timestamp_s in self._early:
            subscriber.add(kind, event_type, encode_event(event_type, record, timestamp_s))
        subscribed = {"name": extension.name, "state": "Subscribed", "types": list(subscription.types)}
        self._observed(f"platform.{'logs' if logs_api else 'telemetry'}Subscription", subscribed)

    # the platform's side

    @property
    def is_wanted(self) -> bool:
        return self._open or bool(self._subscribers)

    def publish(self, kind: str, event_type: str, record: str | dict[str, Any], timestamp_s: float | None) -> None:
        """An event for everybody who subscribed to `kind`. Without a timestamp it happens now."""
        if not self._subscribers and not self._open:
            return
        happened_s = self._now() if timestamp_s is None else timestamp_s
        characters = EARLY_LINE_CHARACTERS + len(record) if isinstance(record, str) else EARLY_RECORD_CHARACTERS
        if self._open and self._early_characters + characters <= EARLY_MAX_CHARACTERS:
            self._early.append((kind, event_type, record, happened_s))
            self._early_characters += characters
        if self._subscribers:
            event = encode_event(event_type, record, happened_s)
            for subscriber in self._subscribers.values():
                subscriber.add(kind, event_type, event)

    def close_subscriptions(self) -> None:
        """Init is over: nobody may subscribe any more."""
        self._open = False
        self._early.clear()

    @property
    def is_pending(self) -> bool:
        return any(subscriber.is_pending for subscriber in self._subscribers.values())

    async def flush(self) -> None:
        """Waits until everything buffered has been delivered or dropped."""
        await asyncio.gather(*(subscriber.flush() for subscriber in self._subscribers.values()))

    def unsubscribe(self, name: str) -> None:
        """This extension has ended: nobody is left who could take what it asked for."""
        if (subscriber := self._subscribers.pop(name, None)) is not None:
            subscriber.close()

    def close(self) -> None:
        self.close_subscriptions()
        for subscriber in self._subscribers.values():
            subscriber.close()
        self._subscribers.clear()


class Subscriber:
    """One subscription's buffer, and the task that empties it."""

    def __init__(
        self, subscription: Subscription, connect: Connect, now: Callable[[], float], only: frozenset[str] | None
    ) -> None:
        self._subscription = subscription
        self._now = now
        self._only = only  # event types, None for all
        self._deliver = TcpDelivery(subscription, connect) if subscription.protocol == "TCP" else (
            HttpDelivery(subscription, connect)
        )  # fmt: skip
        self._events: list[bytes] = []
        self._bytes = 0
        self._dropped_records = 0
        self._dropped_bytes = 0
        self._hurried = False  # whatever there is goes now, without waiting for more
        self._filled = asyncio.Event()  # there is something
        self._due = asyncio.Event()  # it should go now
        self._empty = asyncio.Event()
        self._empty.set()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def add(self, kind: str, event_type: str, event: bytes) -> None:
        """Takes an event, or counts it as dropped when the subscriber is too far behind."""
        limits = self._subscription
        if kind not in limits.types or (self._only is not None and event_type not in self._only):
            return
        # One batch may be on its way while the next one fills.
        if self._bytes + len(event) > 2 * limits.max_bytes or len(self._events) >= 2 * limits.max_items:
            self._dropped_records += 1
            self._dropped_bytes += len(event)
            return
        self._events.append(event)
        self._bytes += len(event)
        self._empty.clear()
        self._filled.set()
        if self._bytes >= limits.max_bytes or len(self._events) >= limits.max_items:
            self._due.set()

    @property
    def is_pending(self) -> bool:
        return not self._empty.is_set()

    async def flush(self) -> None:
        if self.is_pending:
            self._hurried = True
            self._due.set()
            try:
                await self._empty.wait()
            finally:
                self._hurried = False

    def close(self) -> None:
        self._task.cancel()
        self._deliver.close()
        self._empty.set()

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            try:
                async with asyncio.timeout(self._subscription.timeout_ms / 1000):
                    await self._due.wait()
            except TimeoutError:
                pass  # a batch goes when it is full or when its time has come
            await self._send(self._take())
            if not self._events:
                self._due.clear()
                self._filled.clear()
                self._empty.set()

    def _take(self) -> list[bytes]:
        """The next batch, with a word on what was dropped before it."""
        if not self._hurried:
            self._due.clear()
        if self._dropped_records and "platform" in self._subscription.types:
            record = {
                "reason": "Consumer seems to have fallen behind as it has not acknowledged receipt of logs.",
                "droppedRecords": self._dropped_records,
                "droppedBytes": self._dropped_bytes,
            }
            self._events.insert(0, encode_event("platform.logsDropped", record, self._now()))
            self._bytes += len(self._events[0])
        self._dropped_records = self._dropped_bytes = 0
        batch = self._events[: self._subscription.max_items]
        del self._events[: len(batch)]
        self._bytes -= sum(map(len, batch))
        return batch

    async def _send(self, batch: list[bytes]) -> None:
        for attempt in range(DELIVERY_TRIES):
            try:
                async with asyncio.timeout(DELIVERY_S):
                    await self._deliver.send(batch)
            except (OSError, EOFError, ValueError, TimeoutError) as problem:
                _log.debug("telemetry was not taken (try %d of %d): %s", attempt + 1, DELIVERY_TRIES, problem)
                await asyncio.sleep(RETRY_PAUSE_S * (attempt + 1))
            else:
                return
        self._dropped_records += len(batch)
        self._dropped_bytes += sum(map(len, batch))


class HttpDelivery:
    """A POST for each batch; a success status acknowledges it."""

    def __init__(self, subscription: Subscription, connect: Connect) -> None:
        self._port = subscription.port
        self._connect = connect
        self._head = (
            f"POST {subscription.path} HTTP/1.1\r\nhost: sandbox.localdomain:{subscription.port}\r\n"
            "content-type: application/json\r\nconnection: close\r\ncontent-length: "
        ).encode()

    async def send(self, batch: list[bytes]) -> None:
        """Raises OSError, EOFError or ValueError when it was not taken."""
        body = b"[" + b",".join(batch) + b"]"
        reader, writer = await self._connect(self._port)
        try:
            writer.write(self._head + b"%d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()
            status = (await reader.readline()).split()
            if len(status) < 2 or not status[1].startswith(b"2"):
                raise ValueError("the subscriber did not answer with success")
        finally:
            writer.close()

    def close(self) -> None:
        """Nothing stays open between batches."""


class TcpDelivery:
    """One connection, a line for each event; nothing is acknowledged."""

    def __init__(self, subscription: Subscription, connect: Connect) -> None:
        self._port = subscription.port
        self._connect = connect
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, batch: list[bytes]) -> None:
        """Raises OSError when the connection is gone; the next call opens another."""
        if self._writer is None:
            _, self._writer = await self._connect(self._port)
        try:
            self._writer.write(b"\n".join(batch) + b"\n")
            await self._writer.drain()
        except BaseException:  # cut off too: half an event may be on its way
            self.close()
            raise

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def encode_event(event_type: str, record: str | dict[str, Any], timestamp_s: float) -> bytes:
    stamp = datetime.fromtimestamp(timestamp_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": stamp, "type": event_type, "record": record}).encode()
