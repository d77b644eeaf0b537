"""The composition root: the one place that knows every class, and the order in which they start and end.

up(config)      as root: find interpreters, start the launcher, become the service user (preparing.py); then serve
serving(…)      the event loop's side: stores.py, road.py, carriers.py (what carries messages), the doors
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import uvloop

import lambent
from lambent.app.carriers import Carriers, Policies
from lambent.app.metering import Metering
from lambent.app.preparing import Prepared, prepare
from lambent.app.road import Road
from lambent.app.stores import Stores
from lambent.config import Config
from lambent.control.credentials import AccessKey, IssuedCredentials
from lambent.control.invoke_async import invoke_async
from lambent.control.lambda_service import LambdaService
from lambent.control.outside import TrustOf
from lambent.control.role_rights import RoleRights
from lambent.dispatch.dispatcher import Dispatcher
from lambent.front.access import Access
from lambent.front.authorize import Authorizer
from lambent.front.authorize_buckets import Buckets
from lambent.front.authorize_directory import CompiledDirectory
from lambent.front.certificate_door import CertificateDoor
from lambent.front.code_door import CODE_DOOR, CodeDoor
from lambent.front.gateway import Door, Gateway
from lambent.front.identify import Home
from lambent.front.own_api import (
    CLOCK_DOOR,
    EVENTS_DOOR,
    METRICS_DOOR,
    OwnDoor,
    clock_handler,
    events_handler,
    metrics_handler,
)
from lambent.http1.lobby import Lobby
from lambent.http1.server import Server
from lambent.invoke.loop_guard import LoopGuard
from lambent.invoke.reconcile import Reconciler
from lambent.model.limits import MIB
from lambent.neighbours.clients import ServiceClients
from lambent.neighbours.directory import Directory
from lambent.neighbours.endpoints import Endpoints
from lambent.neighbours.neighbours import Neighbours
from lambent.neighbours.process import NeighboursProcess
from lambent.ports import Clock, Sandbox, Service
from lambent.sandbox.caged import LauncherSandbox
from lambent.sandbox.process import ProcessSandbox
from lambent.services import sns
from lambent.services.autoscaling import AutoScalingService
from lambent.services.kinesis import KinesisService
from lambent.services.sts.operations import StsService
from lambent.store.collector import collect_now_and_then
from lambent.store.events import EventStore
from lambent.telemetry.setup import set_up_logging
from lambent.telemetry.system_clock import SystemClock
from lambent.telemetry.virtual_clock import VirtualClock

log = logging.getLogger(__name__)

STALLED_CHECK_S: Final = 5.0
MASTER_SECRET: Final = "access-keys"
SWITCH_S: Final = 0.0002  # how long a thread that writes to a store may keep the loop from going on
# Requests leave hardly any circles behind, so the collector need not look after every 700 objects.
GC_THRESHOLDS: Final = (10_000, 20, 20)


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
    enforced = config.auth == "enforce"
    async with contextlib.AsyncExitStack() as stack:
        metering = Metering()
        stores = await Stores.open(stack, config.data_dir, real, clock, metering.telemetry)
        catalog = stores.catalog
        credentials = IssuedCredentials(await catalog.secret(MASTER_SECRET))
        sandbox: Sandbox = (
            LauncherSandbox(prepared.launcher)
            if prepared.launcher is not None
            else ProcessSandbox(url, config.data_dir / "tmp")
        )
        stack.push_async_callback(sandbox.close)
        road = Road(config, prepared, real, stores, credentials, sandbox, metering.telemetry)
        cloudwatch = metering.begin(stores, road.admission, real, clock)
        stack.push_async_callback(metering.close)
        stack.push_async_callback(road.pools.close)
        stack.push_async_callback(road.templates.close)
        process = NeighboursProcess(config.data_dir, port)
        directory = Directory(process, real.now)
        compiled = CompiledDirectory(directory)
        neighbours = Neighbours(
            process, Endpoints(dict(config.endpoints)), directory, lambda account: _pair(credentials.root(account))
        )
        stack.push_async_callback(neighbours.close)
        clients = ServiceClients(neighbours)
        dispatcher = Dispatcher(stores.events, road.events_invoker.invoke, catalog, clock, clients, metering.telemetry)
        stack.push_async_callback(dispatcher.close)
        lambda_service = LambdaService(
            catalog, stores.blobs, clock, clients=clients,
            role_check=config.role_check, roles_must_exist=enforced,
            trust_of=_trust_of(directory, neighbours),
            code_storage_max_bytes=config.code_storage_mib * MIB, account_concurrency=config.account_concurrency,
            provisioning=road.provisioned,
            has_image=road.templates.has,
            role_rights=RoleRights(compiled) if enforced else None,
        )  # fmt: skip
        road.vault = lambda_service.vault
        lambda_service.operations = {**lambda_service.operations, **invoke_async(catalog, dispatcher.accept)}
        home = Home(
            account_id=config.account_id, region=config.region,
            account_of_key=lambda key: credentials.account_of(key) or directory.account_of(key),
        )  # fmt: skip
        kinesis = KinesisService(stores.streams, clock, has_limits=config.kinesis_limits)
        buckets = Buckets(clients, real.monotonic) if neighbours.endpoint_of("s3") is None else None
        authorizer = Authorizer(credentials, catalog, compiled, real.now, buckets, Policies(stores, kinesis).by_service)
        carriers = Carriers(
            stack, config, real, clock, stores, clients, neighbours, dispatcher, road.events_invoker, compiled,
            authorizer, kinesis, metering.telemetry,
        )  # fmt: skip
        scaling = AutoScalingService(
            catalog, clock, clients, neighbours, road.provisioned, carriers.timekeeper, carriers.keep
        )
        stack.push_async_callback(scaling.close)
        services: tuple[Service, ...] = (
            lambda_service,
            StsService(credentials, real, compiled, clients),
            *carriers.services,
        )
        for service in services:
            clients.add(service)
        shared: tuple[Service, ...] = (carriers.object_news, scaling, cloudwatch)
        for service in shared:
            clients.share(service)
        neighbours.objects_changed = carriers.object_news.happened
        gateway = Gateway(
            services=services,
            invoke=LoopGuard(road.invoker, catalog, metering.telemetry),
            resolver=catalog,
            home=home,
            auth="enforce" if enforced else "open",
            authorizer=authorizer,
            neighbours=neighbours,
            shared=shared,
            enqueue=dispatcher.accept_soon,
            path_doors={
                CODE_DOOR: CodeDoor(lambda_service.download),
                sns.CERTIFICATE_DOOR: CertificateDoor(carriers.signer.certificate),
                **_own_doors(config, clock, credentials, home, stores.events, dispatcher, metering),
            },
            allowed_origins=config.allowed_origins,
            now_s=real.now,
            about=_about(prepared, real, neighbours),
        )
        stack.push_async_callback(gateway.close)
        road.gateway = gateway
        running = {
            "pools": road.pools.run(),
            "provisioned environments": road.provisioned.run(),
            "reconciler": Reconciler(catalog, stores.blobs, clock, road.templates).run(),
            "templates": road.templates.run(),
            "bytecode": road.bytecode.run(),
            "package collector": collect_now_and_then(catalog, stores.blobs, road.pools.directories, real),
            **await carriers.start(),
            "scaling": scaling.run(),
            **metering.start(),
        }
        scaling.start()
        tasks = [asyncio.create_task(run, name=name) for name, run in running.items()]
        stack.push_async_callback(_cancel, tasks)
        server = Server(gateway, lobby=road.lobby)
        await server.serve(prepared.listener)
        stack.callback(server.close)
        tasks.append(asyncio.create_task(_close_stalled(road.lobby, real), name="stalled connections"))
        if enforced:
            key = credentials.root(config.account_id)
            log.info("root access key: AWS_ACCESS_KEY_ID=%s (`lambent credentials` prints it whole)", key.access_key_id)
        gc.freeze()  # what is here now stays; the collector need not look at it again and again
        gc.set_threshold(*GC_THRESHOLDS)
        sys.setswitchinterval(SWITCH_S)
        yield url


def _own_doors(
    config: Config,
    clock: Clock,
    credentials: IssuedCredentials,
    home: Home,
    events: EventStore,
    dispatcher: Dispatcher,
    metering: Metering,
) -> dict[str, Door]:
    """What is below /_lambent/, by prefix. No policy speaks of it, so where they decide it is the root's alone."""
    access = Access(
        mode="enforce" if config.auth == "enforce" else "open", secret_for=credentials.root_secret_for, now_s=time.time
    )
    handlers = {
        EVENTS_DOOR: events_handler(events, dispatcher.replay),
        METRICS_DOOR: metrics_handler(metering.page),
    }
    if isinstance(clock, VirtualClock):
        handlers[CLOCK_DOOR] = clock_handler(clock)
    tokens = {METRICS_DOOR: config.metrics_token}
    return {
        prefix: OwnDoor(prefix, handler, access, home, tokens.get(prefix, "")) for prefix, handler in handlers.items()
    }


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


def _about(prepared: Prepared, clock: Clock, neighbours: Neighbours) -> Callable[[], dict[str, Any]]:
    """What the health check says of this server."""
    began_s = clock.monotonic()
    facts = {"isolation": prepared.level.value, "runtimes": sorted(prepared.installations.by_runtime)}
    return lambda: {**facts, "uptime_s": int(clock.monotonic() - began_s), "neighbours": neighbours.about()}


async def _close_stalled(lobby: Lobby, clock: Clock) -> None:
    while True:
        await clock.sleep(STALLED_CHECK_S)
        lobby.close_stalled()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for failure in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(failure, Exception):
            log.error("a background task had failed", exc_info=failure)
