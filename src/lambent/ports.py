"""The world outside the core, on one page. Nothing above this line of the drawing knows which implementation it holds.

Every port is async where it may wait. "Raises" lists all that a caller must be ready for besides cancellation.
"""

from __future__ import annotations

import asyncio
import datetime
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from lambent.model.cage import EnvironmentSpec, IsolationLevel, ProcessExit
from lambent.model.errors import AwsError
from lambent.model.function import (
    AccountUsage,
    Alias,
    FunctionSettings,
    FunctionVersion,
    LayerVersion,
)
from lambent.model.identity import IdentityPolicies, KnownKey, Role
from lambent.model.invocation import Invocation, Outcome
from lambent.model.metrics import Series
from lambent.model.names import FunctionAddress, LayerAddress
from lambent.model.provisioned import Provision, Utilisation
from lambent.model.request import RequestContext
from lambent.wire.messages import WireRequest, WireResponse

T = TypeVar("T")

Operation = Callable[[RequestContext, dict[str, Any]], Awaitable[dict[str, Any]]]
"""One operation of an AWS service: members in, members out, both by the names and Python types of botocore's model.

Blobs are bytes, timestamps are datetimes with a zone. Raises AwsError and changes nothing then."""


class Service(Protocol):
    """An AWS service that the gateway can reach. All of Lambent's own neighbours have this shape."""

    name: str  # botocore's name of the service: "lambda", "logs"
    operations: Mapping[str, Operation]  # by the model's operation names; an absent one answers that it is not built


class Invoke(Protocol):
    """The one door to functions. HTTP doors, the asynchronous queue and pollers all call it."""

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Runs the function once and waits for it.

        A function that fails is an `Outcome` with `function_error`. Raises AwsError: the caller's mistake
        (ResourceNotFoundException), a throttle (TooManyRequestsException), or our fault (ServiceException).
        """

    def start(self, invocation: Invocation, done: Callable[[Outcome | AwsError], None]) -> None:
        """The same for callers who need no task to wait in: `done` is told what came of it.

        Once, on the event loop, perhaps before this returns; it must not raise.
        """


Enqueue = Callable[[Invocation], Awaitable[None]]
"""Takes an asynchronous invocation; returns when it is durable, and sees to it from then on.

Raises AwsError: RequestEntityTooLargeException, ServiceException when it cannot be stored."""

EnqueueSoon = Callable[[Invocation, Callable[[AwsError | None], None]], None]
"""The same for callers who need no task to wait in: the callback is told once it is durable, or why it cannot be stored.

Once, on the event loop, perhaps before this returns; it must not raise. Raises AwsError for an event that is too large."""


class Clock(Protocol):
    """Everything that waits or stamps asks here, so that tests can turn the time."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    async def sleep(self, seconds: float) -> None: ...


class Telemetry:
    """Is told what happened, by whom it happened to; this one does nothing. Cheap, never waits, never raises.

    Metrics have CloudWatch's names; those of functions are told once, and counted for the function, for the version or
    alias that was called, and for all functions together.
    """

    def ran(self, version: FunctionVersion, qualifier: str | None, duration_ms: float, status: str, kind: str) -> None:
        """A function ran once, called by that qualifier.

        `status` is "success", "error", "timeout", or "failure" when the machine failed, which is no invocation at AWS;
        `kind` is its environment's AWS_LAMBDA_INITIALIZATION_TYPE.
        """

    def of_function(self, function: FunctionAddress, name: str, value: float = 1.0, *, unit: str = "Count") -> None:
        """A value of one of AWS/Lambda's metrics; the address's qualifier is the one that was called."""

    def observe(self, series: Series, value: float = 1.0, times: float = 1.0) -> None:
        """The same value so many times."""


NO_TELEMETRY: Final = Telemetry()


class FunctionResolver(Protocol):
    """The road's view of the catalog: which version runs for this name? Reads memory, never the disk."""

    def resolve(self, account_id: str, region: str, name: str, qualifier: str | None, draw: float) -> FunctionVersion:
        """The version that answers; `draw` in [0, 1) chooses among an alias's weights.

        Raises AwsError ResourceNotFoundException, with AWS's wording.
        """

    def subscribe(self, changed: Callable[[str, str, str], None]) -> None:
        """`changed(account_id, region, name)` is called on the event loop after a function changed or went away."""


class CatalogView(Protocol):
    """What is known of functions and layers. Addresses' qualifiers are ignored; `None` is what does not exist."""

    def latest(self, function: FunctionAddress) -> FunctionVersion | None:
        """`$LATEST`, as it was last written; what invocations use may be older while it is being made ready."""

    def version(self, function: FunctionAddress, number: int) -> FunctionVersion | None: ...

    def versions(self, function: FunctionAddress) -> list[FunctionVersion]:
        """The numbered ones, lowest first."""

    def alias(self, function: FunctionAddress, name: str) -> Alias | None: ...

    def aliases(self, function: FunctionAddress) -> list[Alias]:
        """By name."""

    def settings(self, function: FunctionAddress) -> FunctionSettings | None: ...

    def layer_version(self, layer: LayerAddress, number: int) -> LayerVersion | None: ...

    def layer_versions(self, layer: LayerAddress) -> list[LayerVersion]:
        """Lowest first."""

    def document(self, kind: str, account_id: str, region: str, name: str) -> dict[str, Any] | None:
        """What an operation family keeps beside functions and layers, as it put it: never change it in place."""

    def documents(self, kind: str, account_id: str, region: str) -> dict[str, dict[str, Any]]:
        """All of one kind, by name in order."""


class CatalogTransaction(CatalogView, Protocol):
    """The catalog inside one transaction: reads see what was written before; all is kept, or nothing."""

    def create_function(self, latest: FunctionVersion, settings: FunctionSettings) -> None: ...

    def put_latest(self, latest: FunctionVersion, serving: FunctionVersion | None = None) -> None:
        """`serving` is what invocations use meanwhile, when `latest` is not ready."""

    def serving(self, function: FunctionAddress) -> FunctionVersion | None:
        """What invocations of `$LATEST` use, when that is not `latest`."""

    def put_settings(self, function: FunctionAddress, settings: FunctionSettings) -> None: ...

    def delete_function(self, function: FunctionAddress) -> None:
        """With its versions and aliases."""

    def put_version(self, version: FunctionVersion) -> None: ...

    def delete_version(self, function: FunctionAddress, number: int) -> None: ...

    def put_alias(self, alias: Alias) -> None: ...

    def delete_alias(self, function: FunctionAddress, name: str) -> None: ...

    def put_layer_version(self, version: LayerVersion) -> None: ...

    def delete_layer_version(self, layer: LayerAddress, number: int) -> None: ...

    def put_document(self, kind: str, account_id: str, region: str, name: str, document: dict[str, Any]) -> None:
        """`document` is JSON: dicts, lists, strings, numbers, booleans, None."""

    def delete_document(self, kind: str, account_id: str, region: str, name: str) -> None: ...

    def next_version(self, address: FunctionAddress | LayerAddress) -> int:
        """A number that no version of this name ever had, not even before it was deleted."""

    def usage(self, account_id: str, region: str) -> AccountUsage: ...


class Catalog(FunctionResolver, CatalogView, Protocol):
    """What control operations write to, and everybody reads. Reading is memory; writing returns when it is durable."""

    async def transact(self, work: Callable[[CatalogTransaction], T]) -> T:
        """Runs `work` in one transaction, one at a time in the whole catalog, on another thread: it must be pure.

        Raises what `work` raises, and keeps nothing then.
        """

    def document_places(self, kind: str) -> list[tuple[str, str]]:
        """Accounts and regions that have documents of this kind."""

    def subscribe_documents(self, kind: str, changed: Callable[[str, str, str], None]) -> None:
        """`changed(account_id, region, name)` is called on the event loop after a document was put or deleted."""

    def function_names(
        self, account_id: str, region: str, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        """Sorted: all of them, or at most `limit` behind the name `after`."""

    def layer_names(self, account_id: str, region: str) -> list[str]:
        """Sorted."""

    async def usage(self, account_id: str, region: str) -> AccountUsage: ...

    def pending(self) -> list[FunctionVersion]:
        """Versions that are yet to be made ready, oldest first as far as is known."""

    async def settle(
        self, pending: FunctionVersion, succeeded: bool, reason: str | None = None, reason_code: str | None = None
    ) -> None:
        """Says what came of one of `pending()`; does nothing when it has been changed or deleted meanwhile."""

    async def secret(self, name: str) -> bytes:
        """32 random bytes, made when they are first asked for and the same ever after."""


class Queue(Protocol):
    """One of Lambent's own SQS queues, for who delivers to it or polls it in the same process.

    Messages have the members of SendMessage and of ReceiveMessage, by botocore's names. Everything raises AwsError
    QueueDoesNotExist when there is none (any more).
    """

    arn: str

    @property
    def visibility_timeout_s(self) -> int: ...

    async def send_many(self, messages: Sequence[Mapping[str, Any]]) -> list[str]:
        """Returns their ids when all are on disk. Raises AwsError for one that is not allowed; then none is sent."""

    async def receive(
        self, count: int, *, invisible_s: float | None = None, wait_s: float = 0.0
    ) -> list[dict[str, Any]]:
        """Up to `count` messages with all of their attributes (FIFO: up to ten), fewer if there are no more.

        They are hidden for `invisible_s`, by default as long as the queue says; the first one is waited for up to
        `wait_s`, without asking the disk. Raises AwsError OverLimit.
        """

    async def delete_many(self, handles: Sequence[str]) -> list[AwsError | None]:
        """For each receipt handle None, or why its message was not deleted. Raises AwsError ReceiptHandleIsInvalid."""

    async def change_visibility(self, changes: Sequence[tuple[str, float]]) -> list[AwsError | None]:
        """The same for handles and seconds from now; 0 gives a message back."""


class StreamBatch(Protocol):
    """What one reading of a shard gave."""

    @property
    def records(self) -> Sequence[dict[str, Any]]:
        """Members of Kinesis's Record, in order."""

    @property
    def position(self) -> int | None:
        """Where to go on; None: the shard was closed, and this was its end."""

    @property
    def behind_ms(self) -> int:
        """How old the first record is that was not given; 0 when there is none."""

    @property
    def children(self) -> Sequence[str]:
        """Ids of the shards to go on with, at a shard's end."""


class Stream(Protocol):
    """One of Lambent's own Kinesis streams, for who polls it in the same process.

    Positions are numbers that rise within a shard and hold while it exists; what to keep on disk are sequence numbers.
    Everything raises AwsError ResourceNotFoundException when there is no such stream or shard (any more).
    """

    arn: str

    def shards(self) -> list[dict[str, Any]]:
        """Members of Kinesis's Shard, by number: the open ones, and closed ones whose records are still there."""

    async def position(
        self,
        shard_id: str,
        kind: str,
        *,
        sequence_number: str | None = None,
        timestamp: datetime.datetime | None = None,
    ) -> int:
        """Where an iterator of that type (TRIM_HORIZON, LATEST, AFTER_SEQUENCE_NUMBER, …) begins.

        Raises AwsError InvalidArgumentException.
        """

    async def read(self, shard_id: str, position: int, limit: int, max_bytes: int = ...) -> StreamBatch:
        """At most `limit` records, and one at least of those that are there, without waiting."""

    async def wait(self, shard_id: str, position: int, most_s: float) -> None:
        """Returns when there may be a record at `position`, when shard or stream changed, or after `most_s` seconds."""


class Clients(Protocol):
    """Lambent as a client of AWS services: of its own, of its neighbours', or of real endpoints, as configured."""

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        """One operation by botocore's names, in the context's account and region: members in, members out.

        Raises AwsError as the service answered it (its code, message and status), ServiceException when it cannot be
        reached.
        """


class Neighbours(Clients, Protocol):
    """The services that Lambent does not build itself, and those that are configured to be elsewhere."""

    def endpoint_of(self, service: str) -> str | None:
        """Where the configuration sends this service, by botocore's name."""

    async def answer(self, context: RequestContext, service: str, operation: str, request: WireRequest) -> WireResponse:
        """A request as it came, already admitted. Raises AwsError; NotImplemented, 501, for what is not offered."""

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The same by its members: those of the request in, those of the answer out, bodies whole. Raises AwsError."""


class Directory(Protocol):
    """What IAM and STS know: whose an access key is, and what a user or a role may do. Empty where they were never used.

    The same object is given as long as nothing has changed: whoever remembers a decision may compare with `is`.
    """

    def access_key(self, access_key_id: str) -> KnownKey | None:
        """A user's key or a session's; None for one that does not exist or is inactive. Expired ones are given as they are."""

    async def policies(self, principal_arn: str) -> IdentityPolicies:
        """Of a user or a role by its ARN; nothing for whoever does not exist. Raises AwsError."""

    async def role(self, role_arn: str) -> Role | None:
        """Raises AwsError."""


PROVISIONED_INDEX = "provisioned-concurrency"  # kind of the documents that name functions with provisioned environments


class Provisioning(Protocol):
    """Keeps environments ready for the versions and aliases that are configured to have them."""

    def provision(self, qualified: FunctionAddress) -> Provision:
        """What there is for this version or alias now."""

    def utilisation(self, qualified: FunctionAddress) -> Utilisation:
        """How much of it is at work, and was since this was last asked: there is one who asks."""


class Memory(Protocol):
    """The machine's memory, as far as functions may have it."""

    def available_mib(self) -> float:
        """What can be taken now without the machine swapping or this program's own limit being reached."""


class Blobs(Protocol):
    """Deployment packages by digest (hex SHA-256 of the zip)."""

    async def put(self, data: bytes) -> str:
        """Stores durably and returns the digest. The same bytes are stored once."""

    async def get(self, digest: str) -> bytes:
        """Raises KeyError."""

    async def unpacked(self, digest: str) -> Path:
        """The directory with the archive's content, unpacked once, read-only, readable by every uid.

        Raises KeyError, and AwsError for an archive that is corrupt, escapes its directory or is too large.
        """

    async def unpacked_bytes(self, digest: str) -> int:
        """How large the content is, unpacked. Raises as `unpacked` does."""

    async def merged_layers(self, digests: Sequence[str]) -> Path | None:
        """One directory with the layers' contents in order, later ones over earlier ones; None for no layers."""


class LogSink(Protocol):
    """Takes log lines. Never blocks the road: it buffers, and writes in the background."""

    def append(self, account_id: str, region: str, group: str, stream: str, events: Iterable[tuple[int, str]]) -> None:
        """Events are (milliseconds since the epoch, message without its final newline)."""

    async def drained(self, account_id: str = "", region: str = "", group: str = "") -> None:
        """Waits while more is buffered than should be: how a function that prints too fast is slowed down.

        Who names its group waits for that group's lines, and for others' only when all of them are too much.
        """


class Cage(Protocol):
    """One running environment: its first process has been started, and whoever connects to its listeners is inside it."""

    level: IsolationLevel
    runtime_api: socket.socket  # listening, non-blocking; inside, it is `runtime_api_address`
    runtime_api_address: str  # "127.0.0.1:9001"
    endpoint: socket.socket | None  # listening, non-blocking: connections of the function to Lambent's own endpoint

    @property
    def output_fd(self) -> int:
        """Non-blocking read end: stdout and stderr, raw lines."""

    @property
    def log_fd(self) -> int:
        """Non-blocking read end: framed log records (_LAMBDA_TELEMETRY_LOG_FD)."""

    @property
    def can_restore(self) -> bool:
        """Whether its runtime can have an image taken of it, and be restored from one."""

    async def start_runtime(self) -> None:
        """Starts the runtime process, with the spec's image if it has one; called once, after the listeners are served.

        Raises SandboxError.
        """

    def runtime_has_spoken(self) -> None:
        """Whoever waits for `start_runtime` need not wait for anything else: the runtime asks for its first event."""

    async def start_extension(self, path: str) -> None:
        """Starts an executable of /opt/extensions; raises SandboxError when it cannot be started."""

    @property
    def extension_output_fd(self) -> int:
        """Non-blocking read end: stdout and stderr of the extensions, raw lines."""

    async def connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To a port of the loopback inside; bounded in time. Raises OSError, SandboxError."""

    def end_boost(self) -> None:
        """The init phase is over: from now on it has the processor's share of its memory (by itself after 10 s)."""

    def on_exit(self, callback: Callable[[str, ProcessExit], None]) -> None:
        """`callback(name, exit)` for the runtime ("runtime") and each extension (its path), once each."""

    def freeze(self) -> None:
        """Stops all its processes where they are. Does nothing at levels without a freezer. Never blocks."""

    def thaw(self) -> None: ...

    def peak_memory_bytes(self) -> int:
        """The most memory that it ever used."""

    def processor_time_s(self) -> float:
        """Processor time that it used so far."""

    async def terminate_runtime(self) -> None:
        """Sends SIGTERM to the runtime process; does not wait. Raises SandboxError."""

    async def kill_runtime(self) -> None:
        """Sends it SIGKILL; does not wait. Raises SandboxError."""

    async def destroy(self) -> None:
        """Ends every process in it, and frees all it held. Safe to call twice; returns when nothing is left.

        Once begun it goes on, whether or not anybody waits for it.
        """


class Sandbox(Protocol):
    """Makes cages at one level of isolation."""

    level: IsolationLevel

    async def launch(self, spec: EnvironmentSpec, *, at_once: bool = False) -> Cage:
        """A cage with its listeners made and its init running; the runtime waits for `start_runtime`.

        With `at_once` it may be running already when this returns: then `start_runtime` only says how that went.
        Raises SandboxError, which says what to do next.
        """

    async def prepare(self, spec: EnvironmentSpec) -> None:
        """Optional warm-up for environments of this kind (its zygote); returns when done or not needed."""

    async def close(self) -> None:
        """Destroys everything it made."""


class LogReader(Protocol):
    """What the function's own page and the CLI read back."""

    def tail(self, account_id: str, region: str, group: str) -> AsyncIterator[tuple[str, int, str]]:
        """New events as they come: (stream, milliseconds, message)."""
