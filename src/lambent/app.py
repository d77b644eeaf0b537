"""The composition root: the one place that knows every class, and the order in which they start and end.

up(config)      as root: find interpreters, start the launcher, become the service user; then serve
serve(…)        the event loop's side: stores, services, the road, the doors
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import attrs
import uvloop

import lambent
from lambent.config import Config, ConfigError
from lambent.control.credentials import SESSION_LIFETIME_S, AccessKey, IssuedCredentials
from lambent.control.invoke_async import invoke_async
from lambent.control.lambda_service import LambdaService
from lambent.control.outside import TrustOf
from lambent.control.role_rights import RoleRights
from lambent.control.vault import Vault
from lambent.dispatch.dispatcher import Dispatcher
from lambent.front.access import Access
from lambent.front.authorize import Authorizer
from lambent.front.authorize_buckets import Buckets
from lambent.front.authorize_directory import CompiledDirectory
from lambent.front.certificate_door import CertificateDoor
from lambent.front.code_door import CODE_DOOR, CodeDoor
from lambent.front.gateway import Door, Gateway
from lambent.front.identify import Home
from lambent.front.own_api import CLOCK_DOOR, EVENTS_DOOR, OwnDoor, clock_handler, events_handler
from lambent.http1.server import Server
from lambent.invoke.admission import Admission, ReservedConcurrency
from lambent.invoke.environment import Environment, Surroundings
from lambent.invoke.invoker import Invoker
from lambent.invoke.pool import Pools
from lambent.invoke.provisioned import ProvisionedEnvironment, ProvisionedEnvironments
from lambent.invoke.reconcile import Reconciler
from lambent.invoke.session import Closable
from lambent.model.cage import IsolationLevel, RuntimeInstallation
from lambent.model.errors import AwsError, SandboxError
from lambent.model.function import FunctionVersion, State
from lambent.model.limits import MIB, TIMEOUT_MAX_S
from lambent.model.names import FunctionAddress
from lambent.neighbours.clients import ServiceClients
from lambent.neighbours.directory import Directory
from lambent.neighbours.endpoints import Endpoints
from lambent.neighbours.neighbours import Neighbours
from lambent.neighbours.process import NeighboursProcess
from lambent.ports import Clock, Sandbox
from lambent.runtimes.build import missing
from lambent.runtimes.errors import RuntimeMissing, RuntimeNotUsable
from lambent.runtimes.find import Installations
from lambent.sandbox.caged import LauncherSandbox
from lambent.sandbox.descent import become
from lambent.sandbox.descriptors import raise_limit
from lambent.sandbox.launcher import LauncherHandle, start_launcher
from lambent.sandbox.machine import detect
from lambent.sandbox.process import ProcessSandbox
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
from lambent.services.sts.operations import StsService
from lambent.sources.pollers import Pollers
from lambent.sources.supervisor import Supervisor
from lambent.sources.timeline import Timeline
from lambent.store.blobs import FileBlobs
from lambent.store.catalog import SqliteCatalog
from lambent.store.checkpoints import CheckpointStore
from lambent.store.collector import collect_now_and_then
from lambent.store.deliveries import DeliveryStore
from lambent.store.events import EventStore
from lambent.store.logs import LogStore
from lambent.store.queues import QueueStore
from lambent.store.streams import StreamStore
from lambent.store.topics import TopicStore
from lambent.telemetry.counters import Counters
from lambent.telemetry.setup import set_up_logging
from lambent.telemetry.system_clock import SystemClock
from lambent.telemetry.virtual_clock import VirtualClock

log = logging.getLogger(__name__)

STALLED_CHECK_S: Final = 5.0
LISTEN_BACKLOG: Final = 4096
MASTER_SECRET: Final = "access-keys"
MAIL_FOLDER: Final = "mail"  # below the data directory
ROOT_FOLDERS: Final = ("sandbox", "runtimes")  # of the data directory: the launcher's, and what zygotes execute
# Requests leave hardly any circles behind, so the collector need not look after every 700 objects.
GC_THRESHOLDS: Final = (10_000, 20, 20)
BUILD_POLL_S: Final = 0.05


@attrs.frozen(kw_only=True)
class Prepared:
    """What had to be made with the rights that the process was started with."""

    listener: socket.socket
    installations: Installations
    level: IsolationLevel
    launcher: LauncherHandle | None
    builder: subprocess.Popen[bytes] | None  # builds the runtimes' directories as root
    lock: int  # the data directory's, held until the process ends


def up(config: Config) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit status. Raises LambentError, OSError when it cannot start."""
    set_up_logging(as_json=config.log_format == "json")
    prepared = prepare(config)
    try:
        uvloop.run(_serve_until_signalled(config, prepared))
    finally:
        if prepared.builder is not None:
            prepared.builder.communicate()  # it ends when its input does
        if prepared.launcher is not None:
            prepared.launcher.close()
        os.close(prepared.lock)
    return 0


def prepare(config: Config) -> Prepared:
    """Everything that needs the rights of whoever started the server; afterwards they are gone."""
    is_root = os.geteuid() == 0
    raise_limit()
    config.data_dir.mkdir(parents=True, exist_ok=True)
    lock = _lock(config.data_dir)
    listener = _listen(config.host, config.port)
    port = listener.getsockname()[1]
    level = IsolationLevel(config.isolation) if config.isolation != "auto" else detect().level
    config.refuse_level(level.value)
    installations = Installations.find(config.data_dir)
    launcher = None
    if level is not IsolationLevel.PROCESS:
        allowed = {mount.source for found in installations.by_runtime.values() for mount in found.host_mounts}
        allowed.add(config.data_dir / "runtimes")
        launcher = start_launcher(
            config.data_dir / "sandbox", sorted(allowed), level=level, endpoint_port=port,
            internet=config.internet, internet_private=config.internet_private,
        )  # fmt: skip
        for warning in launcher.warnings:
            log.warning("%s", warning)
    elif config.internet:
        log.warning(
            "internet = true changes nothing at isolation level process: functions have this machine's whole network"
        )
    builder = None
    if is_root:
        uid, gid = config.service_ids()
        if missing(installations):
            command = [sys.executable, "-m", "lambent.runtimes.build", str(config.data_dir)]
            builder = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        _give(config.data_dir, uid, gid)
        become(uid, gid, [*_own_directories(), config.data_dir])
    os.umask(0o077)  # what is stored holds secrets; directories that others must enter are opened one by one
    return Prepared(
        listener=listener,
        installations=installations,
        level=level,
        launcher=launcher,
        builder=builder,
        lock=lock,
    )


async def _serve_until_signalled(config: Config, prepared: Prepared) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(config, prepared) as url:
        log.info("Lambent %s is ready: %s (isolation %s)", lambent.__version__, url, prepared.level.value)
        await stop.wait()


@contextlib.asynccontextmanager
async def serving(config: Config, prepared: Prepared) -> AsyncIterator[str]:
    """A running server; gives its address. Everything is closed in the reverse order, the stores last."""
    real = SystemClock()  # what functions, their logs and signatures live by
    clock: Clock = VirtualClock() if config.virtual_clock else real
    port = prepared.listener.getsockname()[1]
    url = f"http://{config.host}:{port}"
    async with contextlib.AsyncExitStack() as stack:
        catalog = SqliteCatalog.open(config.data_dir / "catalog.db")
        stack.push_async_callback(catalog.close)
        blobs = FileBlobs(config.data_dir)
        stack.push_async_callback(blobs.close)
        logs = await LogStore.open(config.data_dir / "logs.db", real)
        stack.push_async_callback(logs.close)
        credentials = IssuedCredentials(await catalog.secret(MASTER_SECRET))
        sandbox: Sandbox = (
            LauncherSandbox(prepared.launcher)
            if prepared.launcher is not None
            else ProcessSandbox(url, config.data_dir / "tmp")
        )
        stack.push_async_callback(sandbox.close)
        road = _Road(config, prepared, real, catalog, blobs, logs, credentials, sandbox)
        stack.push_async_callback(road.pools.close)
        queues = await QueueStore.open(config.data_dir / "queues.db", clock)
        stack.push_async_callback(queues.close)
        streams = await StreamStore.open(config.data_dir / "streams.db", clock)
        stack.push_async_callback(streams.close)
        events = await EventStore.open(config.data_dir / "events.db", clock)
        stack.push_async_callback(events.close)
        process = NeighboursProcess(config.data_dir, port)
        directory = Directory(process, real.now)
        compiled = CompiledDirectory(directory)
        neighbours = Neighbours(
            process, Endpoints(dict(config.endpoints)), directory, lambda account: _pair(credentials.root(account))
        )
        stack.push_async_callback(neighbours.close)
        clients = ServiceClients(neighbours)
        dispatcher = Dispatcher(events, road.events_invoker.invoke, catalog, clock, clients, Counters())
        stack.push_async_callback(dispatcher.close)
        lambda_service = LambdaService(
            catalog, blobs, clock, clients=clients,
            role_check=config.role_check, roles_must_exist=config.auth == "enforce",
            trust_of=_trust_of(directory, neighbours),
            code_storage_max_bytes=config.code_storage_mib * MIB, account_concurrency=config.account_concurrency,
            provisioning=road.provisioned,
            role_rights=RoleRights(compiled) if config.auth == "enforce" else None,
        )  # fmt: skip
        road.vault = lambda_service.vault
        lambda_service.operations = {**lambda_service.operations, **invoke_async(catalog, dispatcher.accept)}
        home = Home(
            account_id=config.account_id, region=config.region,
            account_of_key=lambda key: credentials.account_of(key) or directory.account_of(key),
        )  # fmt: skip
        sts = StsService(credentials, real, compiled, clients)
        buckets = Buckets(clients, real.monotonic) if neighbours.endpoint_of("s3") is None else None

        def queue_policy(arn: str) -> str | None:
            queue = queues.by_arn(arn)
            return queue.attributes.get("Policy") if queue is not None else None

        topics = await TopicStore.open(config.data_dir / "topics.db", clock)
        stack.push_async_callback(topics.close)

        def topic_policy(arn: str) -> str | None:
            topic = topics.topic(arn)
            return topic.attributes.get("Policy") if topic is not None else None

        kinesis = KinesisService(streams, clock, has_limits=config.kinesis_limits)
        policies_by_arn = {
            "sqs": queue_policy, "sns": topic_policy, "kinesis": kinesis.policy_of,
            "events": lambda arn: policy_of_bus(catalog, arn),
        }  # fmt: skip
        authorizer = Authorizer(credentials, catalog, compiled, real.now, buckets, policies_by_arn)
        news = _News(config, clock, topics, clients, dispatcher, catalog, authorizer, queue_policy)
        stack.push_async_callback(news.deliverer.close)
        debts = await DeliveryStore.open(config.data_dir / "deliveries.db", clock)
        stack.push_async_callback(debts.close)
        permission = Permission(
            authorizer.authorize_service, RoleRights(compiled).may, clients, foreign_only=config.auth != "enforce"
        )
        targets = Targets(clients, dispatcher.accept, catalog, permission)
        deliverer = Deliverer(debts, targets, clock)
        stack.push_async_callback(deliverer.close)
        timekeeper = Timekeeper(debts, clock)
        events_service = EventsService(catalog, clock, debts, deliverer, targets, timekeeper)
        stack.push_async_callback(events_service.close)
        scheduler = SchedulerService(catalog, clock, deliverer, targets, timekeeper)
        sqs = SqsService(queues)
        allow_function = authorizer.authorize_service if config.auth == "enforce" else None
        role_may = RoleRights(compiled).may if config.auth == "enforce" else None
        log_destinations = SubscriptionDestinations(dispatcher.accept, catalog, clients, allow_function, role_may)
        services = (
            lambda_service,
            LogsService(logs, real, log_destinations),
            sqs,
            kinesis,
            sts,
            events_service,
            scheduler,
        )
        all_services = (*services, news.service)
        for service in all_services:
            clients.add(service)
        object_news = S3Notifications(
            catalog, clients, Destinations(clients, dispatcher.accept, catalog, allow_function), real
        )
        clients.share(object_news)
        neighbours.objects_changed = object_news.happened
        gateway = Gateway(
            services=all_services,
            invoke=road.invoker,
            resolver=catalog,
            home=home,
            auth="enforce" if config.auth == "enforce" else "open",
            authorizer=authorizer,
            neighbours=neighbours,
            shared=(object_news,),
            enqueue=dispatcher.accept,
            path_doors={
                CODE_DOOR: CodeDoor(lambda_service.download),
                sns.CERTIFICATE_DOOR: CertificateDoor(news.signer.certificate),
                **_own_doors(config, clock, credentials, home, events, dispatcher),
            },
            allowed_origins=config.allowed_origins,
            now_s=real.now,
            about=_about(prepared, real, neighbours),
        )
        stack.push_async_callback(gateway.close)
        road.gateway = gateway
        own_queue = None if neighbours.endpoint_of("sqs") else lambda arn: sqs.direct(arn, arn.split(":")[4])
        checkpoints = await CheckpointStore.open(config.data_dir / "checkpoints.db")
        stack.push_async_callback(checkpoints.close)
        own_stream = None if neighbours.endpoint_of("kinesis") else kinesis.direct
        timeline = Timeline(events, clock)
        pollers = Pollers(road.events_invoker, catalog, clock, clients, checkpoints, own_queue, own_stream, timeline)
        supervisor = Supervisor(catalog, clock, pollers.make, checkpoints.forget)
        stack.push_async_callback(supervisor.close)
        tasks = [
            asyncio.create_task(road.pools.run(), name="pools"),
            asyncio.create_task(road.provisioned.run(), name="provisioned environments"),
            asyncio.create_task(Reconciler(catalog, blobs, clock).run(), name="reconciler"),
            asyncio.create_task(supervisor.run(), name="event source mappings"),
            asyncio.create_task(Forwarder(logs, log_destinations, real).run(), name="log subscriptions"),
            asyncio.create_task(
                collect_now_and_then(catalog, blobs, road.pools.directories, real), name="package collector"
            ),
        ]
        stack.push_async_callback(_cancel, tasks)
        await dispatcher.start()
        await news.deliverer.start()
        await deliverer.start()
        events_service.start()
        scheduler.start()
        tasks.append(asyncio.create_task(timekeeper.run(), name="schedules"))
        server = Server(gateway)
        await server.serve(prepared.listener)
        stack.callback(server.close)
        tasks.append(asyncio.create_task(_close_stalled(server, real), name="stalled connections"))
        if config.auth == "enforce":
            key = credentials.root(config.account_id)
            log.info("root access key: AWS_ACCESS_KEY_ID=%s (`lambent credentials` prints it whole)", key.access_key_id)
        gc.freeze()  # what is here now stays; the collector need not look at it again and again
        gc.set_threshold(*GC_THRESHOLDS)
        yield url


def _own_doors(
    config: Config,
    clock: Clock,
    credentials: IssuedCredentials,
    home: Home,
    events: EventStore,
    dispatcher: Dispatcher,
) -> dict[str, Door]:
    """What is below /_lambent/, by prefix. No policy speaks of it, so where they decide it is the root's alone."""
    access = Access(
        mode="enforce" if config.auth == "enforce" else "open", secret_for=credentials.root_secret_for, now_s=time.time
    )
    handlers = {EVENTS_DOOR: events_handler(events, dispatcher.replay)}
    if isinstance(clock, VirtualClock):
        handlers[CLOCK_DOOR] = clock_handler(clock)
    return {prefix: OwnDoor(prefix, handler, access, home) for prefix, handler in handlers.items()}


class _News:
    """SNS: its operations, and what sees to it that subscriptions get what was published."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        topics: TopicStore,
        clients: ServiceClients,
        dispatcher: Dispatcher,
        catalog: SqliteCatalog,
        authorizer: Authorizer,
        queue_policy: Callable[[str], str | None],
    ) -> None:
        self.signer = sns.Signer(topics)
        may_send = sns.MaySend(queue_policy, authorizer.authorize_service, foreign_only=config.auth != "enforce")
        senders = sns.Senders(self.signer, clients, dispatcher.accept, catalog, config.data_dir / MAIL_FOLDER, may_send)
        self.deliverer = sns.Deliverer(topics, senders, clock)
        self.service = sns.SnsService(topics, self.deliverer.wake)


class _Road:
    """The invocation's road, with what each environment is given."""

    def __init__(
        self,
        config: Config,
        prepared: Prepared,
        clock: Clock,
        catalog: SqliteCatalog,
        blobs: FileBlobs,
        logs: LogStore,
        credentials: IssuedCredentials,
        sandbox: Sandbox,
    ) -> None:
        self.gateway: Gateway | None = None
        self.vault: Vault | None = None
        self._installations = prepared.installations
        self._builder = prepared.builder
        self._ready: dict[str, RuntimeInstallation] = {}  # by runtime id, complete
        self._catalog = catalog
        self._sandbox = sandbox
        self._prepared: set[str] = set()  # runtime ids whose zygotes have been asked for
        self._preparing: set[asyncio.Task[None]] = set()
        catalog.subscribe(self._function_changed)
        self._around = around = Surroundings(
            sandbox=sandbox,
            blobs=blobs,
            logs=logs,
            clock=clock,
            installation_for=self._installation_for,
            credentials_for=credentials.for_function,
            variables_for=self._variables_for,
            serve_endpoint=self._serve_endpoint,
            internet=config.internet,
            environment_lifetime_s=SESSION_LIFETIME_S - TIMEOUT_MAX_S,
        )
        self.pools = Pools(
            lambda version: Environment(version, around),
            clock,
            freeze_after_s=config.freeze_after_ms / 1000,
            idle_environment_s=float(config.idle_environment_s),
        )
        self.provisioned = ProvisionedEnvironments(
            catalog, self.pools, lambda version: ProvisionedEnvironment(version, around), clock,
            idle_environment_s=float(config.idle_environment_s),
        )  # fmt: skip
        admission = Admission(ReservedConcurrency(catalog), config.account_concurrency)
        self.invoker = Invoker(catalog, admission, self.pools)
        self.events_invoker = Invoker(catalog, admission.of_events(), self.pools)  # for what no client waits for

    def _function_changed(self, account_id: str, region: str, name: str) -> None:
        """A new function's interpreter is made ready before anybody invokes it."""
        latest = self._catalog.latest(FunctionAddress(account_id, region, name))
        if latest is None or latest.state is not State.ACTIVE or latest.runtime is None:
            return
        if latest.runtime not in self._prepared:
            self._prepared.add(latest.runtime)
            task = asyncio.get_running_loop().create_task(self._prepare(latest))
            self._preparing.add(task)
            task.add_done_callback(self._preparing.discard)

    async def _prepare(self, version: FunctionVersion) -> None:
        try:
            await self._sandbox.prepare(await Environment(version, self._around).describe())
        except (AwsError, SandboxError, KeyError) as error:
            log.info("%s is not made ready ahead: %s", version.runtime, error)  # its first invocation will say it

    async def _installation_for(self, version: FunctionVersion) -> RuntimeInstallation:
        if version.runtime is None:
            raise AwsError(
                "InvalidRuntimeException", "Functions that are container images cannot be run here yet.", 502
            )
        known = self._ready.get(version.runtime)
        if known is not None:
            return known
        try:
            await self._until_built(version.runtime)
            known = await asyncio.to_thread(self._installations.for_runtime, version.runtime)
            self._ready[version.runtime] = known
            return known
        except (RuntimeMissing, RuntimeNotUsable) as error:
            raise AwsError("InvalidRuntimeException", str(error), 502, {"Type": "User"}) from error

    async def _variables_for(self, version: FunctionVersion) -> dict[str, str]:
        assert self.vault is not None
        return await self.vault.for_environment(version)

    async def _until_built(self, runtime: str) -> None:
        """While root's builder runs, waits for its turn; nobody else may build then."""
        found = self._installations.by_runtime.get(runtime)
        while self._builder is not None and found is not None and not self._installations.directories.is_built(found):
            if self._builder.poll() is not None:
                self._builder = None
                return
            await asyncio.sleep(BUILD_POLL_S)

    async def _serve_endpoint(self, listener: socket.socket, version: FunctionVersion) -> Closable:
        assert self.gateway is not None
        server = Server(self.gateway, version)
        await server.serve(listener)
        return server


def _trust_of(directory: Directory, neighbours: Neighbours) -> TrustOf | None:
    """How a role's trust policy is looked up; None where IAM is elsewhere and has to be asked."""
    if neighbours.endpoint_of("iam") is not None:
        return None

    async def trust_of(role_arn: str) -> Any:
        role = await directory.role(role_arn)
        return role.trust_policy if role is not None else None

    return trust_of


def _pair(key: AccessKey) -> tuple[str, str]:
    return key.access_key_id, key.secret_access_key


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}; choose another by --port") from error
    listener.listen(LISTEN_BACKLOG)
    listener.setblocking(False)
    return listener


def _lock(data_dir: Path) -> int:
    """One server for a data directory. Raises ConfigError while another one runs."""
    descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigError(f"another server is using {data_dir}; stop it, or give another directory by --data") from None
    return descriptor


def _own_directories() -> list[Path]:
    """Where Python and this package are read from."""
    places = {sys.prefix, sys.base_prefix, str(Path(lambent.__file__).parent), *sys.path}
    return [Path(place) for place in places if place and Path(place).is_dir()]


def _give(data_dir: Path, uid: int, gid: int) -> None:
    """Makes the service user the owner of the data directory, once; what root will execute stays root's."""
    if data_dir.stat().st_uid == uid:
        return
    for directory, folders, files in os.walk(data_dir):
        if Path(directory) == data_dir:
            folders[:] = [folder for folder in folders if folder not in ROOT_FOLDERS]
        os.chown(directory, uid, gid)
        for name in files:
            os.chown(os.path.join(directory, name), uid, gid, follow_symlinks=False)


def _about(prepared: Prepared, clock: Clock, neighbours: Neighbours) -> Callable[[], dict[str, Any]]:
    """What the health check says of this server."""
    began_s = clock.monotonic()
    facts = {"isolation": prepared.level.value, "runtimes": sorted(prepared.installations.by_runtime)}
    return lambda: {**facts, "uptime_s": int(clock.monotonic() - began_s), "neighbours": neighbours.about()}


async def _close_stalled(server: Server, clock: Clock) -> None:
    while True:
        await clock.sleep(STALLED_CHECK_S)
        server.close_stalled()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for failure in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(failure, Exception):
            log.error("a background task had failed", exc_info=failure)
