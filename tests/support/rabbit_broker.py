"""A real RabbitMQ for a session of tests: a node of its own, with its data, ports and name service, on the loopback only."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import aiormq
import attrs
import pytest
from aiormq.abc import AbstractChannel
from pamqp.commands import Basic

from certificates import Authority

USER: Final = "reader"
PASSWORD: Final = "s3cret/@:?"  # as awkward in an address as a password may be
STRANGER: Final = "stranger"  # knows the same password, and may see nothing
HOST: Final = "odd host/1"  # a virtual host beside "/"
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
# As few threads as it takes, and none that spins while it has nothing to do.
ERLANG: Final = "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"


@attrs.frozen(kw_only=True)
class RabbitBroker:
    port: int
    tls_port: int
    authority: Path  # the certificate of who has signed the broker's

    @property
    def address(self) -> str:
        return f"amqp://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def channel(self, host: str = "/") -> AsyncIterator[AbstractChannel]:
        address = f"amqp://{quoted(USER)}:{quoted(PASSWORD)}@127.0.0.1:{self.port}/{quoted(host)}"
        connection = await aiormq.connect(address)
        try:
            yield await connection.channel()
        finally:
            await connection.close()

    async def declare(self, host: str = "/", **arguments: Any) -> str:
        """A new queue, by its name; `arguments` with _ for -."""
        queue = f"q-{uuid.uuid4().hex[:8]}"
        async with self.channel(host) as channel:
            known = {name.replace("_", "-"): value for name, value in arguments.items()}
            await channel.queue_declare(queue, durable=True, arguments=known)
        return queue

    async def publish(
        self, queue: str, bodies: Sequence[str | bytes], host: str = "/", properties: Basic.Properties | None = None
    ) -> None:
        """Returns when the broker has them."""
        async with self.channel(host) as channel:
            for body in bodies:
                data = body.encode() if isinstance(body, str) else body
                await channel.basic_publish(
                    data, routing_key=queue, properties=properties or Basic.Properties(delivery_mode=2)
                )

    async def delete(self, queue: str) -> None:
        async with self.channel() as channel:
            await channel.queue_delete(queue)

    async def ready(self, queue: str, host: str = "/") -> int:
        """Messages that are there and with nobody."""
        async with self.channel(host) as channel:
            found = await channel.queue_declare(queue, passive=True)
            return found.message_count or 0

    async def take(self, queue: str) -> list[bytes]:
        """Everything that is there and with nobody."""
        taken = []
        async with self.channel() as channel:
            while isinstance((found := await channel.basic_get(queue, no_ack=True)).delivery, Basic.GetOk):
                taken.append(bytes(found.body))
        return taken


def quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


@contextlib.contextmanager
def running_rabbit(base: Path) -> Iterator[RabbitBroker]:
    """Skips the test where RabbitMQ is not installed."""
    program = next(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"), None)
    if program is None:
        pytest.skip("RabbitMQ is not installed: scripts/system-packages installs it")
    broker = RabbitBroker(port=free_port(), tls_port=free_port(), authority=base / "authority.pem")
    distribution_port, names_port = free_port(), free_port()
    write_settings(base, broker)
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ", "ERL"))},
        "HOME": str(base),
        "RABBITMQ_NODENAME": f"lambent-{uuid.uuid4().hex[:8]}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "RABBITMQ_MNESIA_BASE": str(base / "mnesia"),
        "RABBITMQ_LOG_BASE": str(base / "log"),
        "RABBITMQ_CONFIG_FILE": str(base / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(base / "none.config"),
        "RABBITMQ_CONF_ENV_FILE": str(base / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(base / "plugins"),
        "RABBITMQ_PID_FILE": str(base / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG,
        "ERL_EPMD_PORT": str(names_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
    with (base / "output").open("wb") as output, contextlib.ExitStack() as stack:
        for command in (["epmd", "-port", str(names_port), "-address", "127.0.0.1"], [str(program)]):
            process = subprocess.Popen(
                command, env=environ, cwd=base, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
            stack.callback(stopped, process)
        for port in (broker.port, broker.tls_port):
            until_listening(port, process, base / "output")
        yield broker


def write_settings(base: Path, broker: RabbitBroker) -> None:
    authority = Authority()
    server = authority.signed("broker")
    for name, text in (("authority", authority.certificate), ("server", server.certificate), ("key", server.key)):
        (base / f"{name}.pem").write_text(text)
    salt = os.urandom(4)
    digest = base64.b64encode(salt + hashlib.sha256(salt + PASSWORD.encode()).digest()).decode()
    user = {"password_hash": digest, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ""}
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    definitions = {
        "users": [{"name": name, **user} for name in (USER, STRANGER)],
        "vhosts": [{"name": "/"}, {"name": HOST}],
        "permissions": [{"user": USER, "vhost": host, **everything} for host in ("/", HOST)],
    }
    (base / "definitions.json").write_text(json.dumps(definitions))
    (base / "plugins").write_text("[].\n")
    (base / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{broker.port}\nlisteners.ssl.1 = 127.0.0.1:{broker.tls_port}\n"
        f"ssl_options.cacertfile = {base}/authority.pem\nssl_options.certfile = {base}/server.pem\n"
        f"ssl_options.keyfile = {base}/key.pem\nload_definitions = {base}/definitions.json\n"
        "disk_free_limit.absolute = 1MB\nlog.console = true\nlog.console.level = error\nlog.file = false\n"
    )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def until_listening(port: int, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        assert process.poll() is None, output.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.1)


def stopped(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
