"""Which poller a mapping gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lambent.model.event_source import QUEUES, kind_of
from lambent.ports import Clients, Clock, FunctionResolver, Invoke, Queue
from lambent.sources.function import MappedFunction
from lambent.sources.poller import Poller
from lambent.sources.queue_poller import QueuePoller
from lambent.sources.remote_queue import RemoteQueue
from lambent.sources.supervisor import Key

OwnQueue = Callable[[str], Queue]
"""One of Lambent's own queues by its ARN; it need not exist."""


class Pollers:
    """Makes them: `supervisor.Make`."""

    def __init__(
        self,
        invoke: Invoke,
        resolver: FunctionResolver,
        clock: Clock,
        clients: Clients,
        own_queue: OwnQueue | None,
    ) -> None:
        """`own_queue` is None where SQS is elsewhere."""
        self._invoke = invoke
        self._resolver = resolver
        self._clock = clock
        self._clients = clients
        self._own_queue = own_queue

    def make(self, key: Key, mapping: Mapping[str, Any]) -> Poller | None:
        """Raises PatternError for a filter that is none."""
        kind = kind_of(mapping)
        function = MappedFunction.of(key[0], key[1], mapping, self._invoke, self._resolver)
        if kind in QUEUES:
            arn = mapping["EventSourceArn"]
            if self._own_queue is not None:
                queue = self._own_queue(arn)
            else:
                queue = RemoteQueue(self._clients, self._clock, arn)
            return QueuePoller(mapping, queue, function, self._clock)
        return None
