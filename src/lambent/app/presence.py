"""Whether what figures are of is still there: what was deleted is not to take memory for as long as the server runs."""

from __future__ import annotations

from lambent.app.stores import Stores
from lambent.control.event_source_mappings import KIND as MAPPINGS
from lambent.model.metrics import Subject
from lambent.model.names import FunctionAddress
from lambent.services.events.names import DEFAULT_BUS, Bus
from lambent.services.events.router import RULES
from lambent.services.scheduler.groups import DEFAULT_GROUP, GROUPS
from lambent.store.streams import StreamKey, StreamMissing


class Presence:
    def __init__(self, stores: Stores) -> None:
        self._catalog = stores.catalog
        self._queues = stores.queues
        self._streams = stores.streams
        self._topics = stores.topics

    def of(self, subject: Subject) -> bool:
        """What is not known is taken for there."""
        account_id, region, namespace, dimensions = subject
        named = dict(dimensions)
        match namespace, named:
            case "AWS/Lambda", {"FunctionName": name}:
                return self._catalog.latest(FunctionAddress(account_id, region, name)) is not None
            case "AWS/Lambda", {"EventSourceMappingUUID": uuid}:
                return self._catalog.document(MAPPINGS, account_id, region, uuid) is not None
            case "AWS/SQS", {"QueueName": name}:
                return self._queues.by_arn(f"arn:aws:sqs:{region}:{account_id}:{name}") is not None
            case "AWS/Kinesis", {"StreamName": name}:
                return self._has_stream((account_id, region, name))
            case "AWS/SNS", {"TopicName": name}:
                return self._topics.topic(f"arn:aws:sns:{region}:{account_id}:{name}") is not None
            case "AWS/Events", {"RuleName": name}:
                bus = Bus(account_id, region, named.get("EventBusName", DEFAULT_BUS))
                return self._catalog.document(RULES, account_id, region, bus.key(name)) is not None
            case "AWS/Scheduler", {"ScheduleGroup": name}:
                return name == DEFAULT_GROUP or self._catalog.document(GROUPS, account_id, region, name) is not None
        return True

    def _has_stream(self, key: StreamKey) -> bool:
        try:
            self._streams.stream(key)
        except StreamMissing:
            return False
        return True
