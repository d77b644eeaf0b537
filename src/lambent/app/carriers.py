"""The services that carry messages to functions and to each other, put together.

Each is made of its operations (a `ports.Service`) and of what runs beside them: deliverers, a timekeeper, pollers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine, Mapping
from typing import Any, Final

from lambent.app.stores import Stores
from lambent.config import Config
from lambent.control.role_rights import RoleRights
from lambent.dispatch.dispatcher import Dispatcher
from lambent.front.authorize import Authorizer
from lambent.front.authorize_directory import CompiledDirectory
from lambent.invoke.invoker import Invoker
from lambent.neighbours.clients import ServiceClients
from lambent.neighbours.neighbours import Neighbours
from lambent.ports import Clock, Service, Telemetry
from lambent.services import sns
from lambent.services.delivery import Deliverer, Permission, Targets
from lambent.services.delivery.timekeeper import Timekeeper
from lambent.services.events import EventsService, policy_of_bus
from lambent.services.kinesis import KinesisService
from lambent.services.logs.destinations import SubscriptionDestinations
from lambent.services.logs.forwarding import Forwarder
from lambent.services.logs.operations import LogsService
from lambent.services.s3_notifications import S3Notifications
from lambent.services.s3_notifications.destinations import Destinations
from lambent.services.scheduler import SchedulerService
from lambent.services.sqs import SqsService
from lambent.sources.brokers import Brokers
from lambent.sources.pollers import Pollers
from lambent.sources.supervisor import Supervisor
from lambent.sources.table_news import TableNews
from lambent.sources.timeline import Timeline

MAIL_FOLDER: Final = "mail"  # below the data directory


class Carriers:
    """`services` answer operations; `start` begins what runs beside them, `tasks` run as long as the server does."""

    def __init__(
        self,
        stack: contextlib.AsyncExitStack,
        config: Config,
        real: Clock,
        clock: Clock,
        stores: Stores,
        clients: ServiceClients,
        neighbours: Neighbours,
        dispatcher: Dispatcher,
        events_invoker: Invoker,
        compiled: CompiledDirectory,
        authorizer: Authorizer,
        kinesis: KinesisService,
        telemetry: Telemetry,
    ) -> None:
        catalog = stores.catalog
        enforced = config.auth == "enforce"
        role_may = RoleRights(compiled).may
        self._dispatcher = dispatcher

        self.signer = sns.Signer(stores.topics)
        may_send = sns.MaySend(
            Policies(stores, kinesis).of_queue, authorizer.authorize_service, foreign_only=not enforced
        )
        senders = sns.Senders(self.signer, clients, dispatcher.accept, catalog, config.data_dir / MAIL_FOLDER, may_send)
        self._topic_deliverer = sns.Deliverer(stores.topics, senders, clock, telemetry)
        stack.push_async_callback(self._topic_deliverer.close)

        permission = Permission(authorizer.authorize_service, role_may, clients, foreign_only=not enforced)
        targets = Targets(clients, dispatcher.accept, catalog, permission)
        self._deliverer = Deliverer(stores.deliveries, targets, clock, telemetry)
        stack.push_async_callback(self._deliverer.close)
        self.timekeeper = Timekeeper(stores.deliveries, clock)
        self._events = EventsService(catalog, clock, stores.deliveries, self._deliverer, targets, self.timekeeper)
        stack.push_async_callback(self._events.close)
        self._scheduler = SchedulerService(catalog, clock, self._deliverer, targets, self.timekeeper)

        allow_function = authorizer.authorize_service if enforced else None
        log_destinations = SubscriptionDestinations(
            dispatcher.accept, catalog, clients, allow_function, role_may if enforced else None
        )
        self._forwarder = Forwarder(stores.logs, log_destinations, real)
        sqs = SqsService(stores.queues)
        self.services: tuple[Service, ...] = (
            LogsService(stores.logs, real, log_destinations),
            sqs,
            kinesis,
            self._events,
            self._scheduler,
            sns.SnsService(stores.topics, self._topic_deliverer.wake, telemetry),
        )
        object_destinations = Destinations(clients, dispatcher.accept, catalog, allow_function)
        self.object_news = S3Notifications(catalog, clients, object_destinations, real)

        table_news = None
        if not any(neighbours.endpoint_of(service) for service in ("dynamodb", "dynamodbstreams")):
            table_news = TableNews()
            neighbours.tables_changed = table_news.happened
        brokers = Brokers(clients, dict(config.brokers), mq_is_elsewhere=neighbours.endpoint_of("mq") is not None)
        pollers = Pollers(
            events_invoker, catalog, clock, clients, stores.checkpoints,
            None if neighbours.endpoint_of("sqs") else lambda arn: sqs.direct(arn, arn.split(":")[4]),
            None if neighbours.endpoint_of("kinesis") else kinesis.direct,
            brokers, Timeline(stores.events, clock), telemetry, dispatcher.accept, table_news,
        )  # fmt: skip
        self._supervisor = Supervisor(catalog, clock, pollers.make, stores.checkpoints.forget)
        stack.push_async_callback(self._supervisor.close)

    async def keep(self, marks: Mapping[str, int]) -> None:
        """Makes marks of the timekeeper durable, of plans that owe nobody a delivery. Raises AwsError."""
        await self._deliverer.accept([], marks=marks)

    async def start(self) -> dict[str, Coroutine[Any, Any, None]]:
        """Takes up what is owed from earlier; gives what is to run from now on, by name. Raises StoreError."""
        await self._dispatcher.start()
        await self._topic_deliverer.start()
        await self._deliverer.start()
        self._events.start()
        self._scheduler.start()
        return {
            "event source mappings": self._supervisor.run(),
            "log subscriptions": self._forwarder.run(),
            "schedules": self.timekeeper.run(),
        }


class Policies:
    """Resource policies of what carries messages, by ARN."""

    def __init__(self, stores: Stores, kinesis: KinesisService) -> None:
        self._stores = stores
        self.by_service = {
            "sqs": self.of_queue,
            "sns": self._of_topic,
            "kinesis": kinesis.policy_of,
            "events": lambda arn: policy_of_bus(stores.catalog, arn),
        }

    def of_queue(self, arn: str) -> str | None:
        queue = self._stores.queues.by_arn(arn)
        return queue.attributes.get("Policy") if queue is not None else None

    def _of_topic(self, arn: str) -> str | None:
        topic = self._stores.topics.topic(arn)
        return topic.attributes.get("Policy") if topic is not None else None
