"""Where brokers are, and with which credentials they are read.

A RabbitMQ broker's ARN is Amazon MQ's; where it really is, is said by the configuration, or by Amazon MQ itself where
`endpoints` sends `mq` to it. Credentials are in the secrets that a mapping names, and are fetched for every connection,
so that a rotated one is used from then on.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

import attrs
import msgspec

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Clients
from lambent.sources.problem import CONFIG_NOT_VALID, KAFKA_BAD_CERTIFICATE, NOT_AUTHENTICATED, SourceProblem

RABBITMQ: Final = "RABBITMQ"  # DescribeBroker, engineType
# Source access types, and what Kafka calls them. AWS speaks SASL over TLS only, and so do we.
SASL_MECHANISMS: Final = {
    "BASIC_AUTH": "PLAIN",
    "SASL_SCRAM_256_AUTH": "SCRAM-SHA-256",
    "SASL_SCRAM_512_AUTH": "SCRAM-SHA-512",
}
KAFKA_ACCESS: Final = SASL_MECHANISMS.keys() | {
    "VPC_SUBNET", "VPC_SECURITY_GROUP", "SERVER_ROOT_CA_CERTIFICATE", "CLIENT_CERTIFICATE_TLS_AUTH"
}  # fmt: skip


@attrs.frozen(kw_only=True)
class RabbitAddress:
    """One virtual host of a broker, and who reads it."""

    endpoint: str  # amqp://host:port or amqps://host:port
    virtual_host: str
    user: str
    password: str = attrs.field(repr=False)

    @property
    def is_encrypted(self) -> bool:
        return self.endpoint.startswith("amqps:")

    @property
    def place(self) -> str:
        """Without secrets."""
        return f"{self.endpoint}, virtual host {self.virtual_host}"

    @property
    def url(self) -> str:
        parts = urlsplit(self.endpoint)
        user, password, host = (quote(text, safe="") for text in (self.user, self.password, self.virtual_host))
        return f"{parts.scheme}://{user}:{password}@{parts.netloc}/{host}"


@attrs.frozen(kw_only=True)
class KafkaCluster:
    """Where a self-managed cluster is, and how it is spoken to."""

    servers: tuple[str, ...]  # host:port
    is_encrypted: bool
    root_ca: str | None = None  # PEM; None: the machine's authorities
    certificate: str | None = None  # PEM, the client's own and those between it and a root
    private_key: str = attrs.field(default="", repr=False)  # PEM
    private_key_password: str = attrs.field(default="", repr=False)
    sasl_mechanism: str | None = None
    user: str = ""
    password: str = attrs.field(default="", repr=False)


class Brokers:
    def __init__(self, clients: Clients, addresses: Mapping[str, str], *, mq_is_elsewhere: bool) -> None:
        """`addresses` by ARN, name or id; `mq_is_elsewhere`: there is an Amazon MQ to ask about others."""
        self._clients = clients
        self._addresses = addresses
        self._asks_mq = mq_is_elsewhere

    async def rabbit(self, mapping: Mapping[str, Any]) -> RabbitAddress:
        """Raises SourceProblem."""
        arn: str = mapping["EventSourceArn"]
        access = access_by_type(mapping)
        endpoint = await self._endpoint(arn)
        user, password = await self.user_and_password(mapping["EventSourceMappingArn"], access["BASIC_AUTH"])
        return RabbitAddress(
            endpoint=endpoint.rstrip("/"), virtual_host=access.get("VIRTUAL_HOST", "/"), user=user, password=password
        )

    async def _endpoint(self, arn: str) -> str:
        _, name, broker_id = (arn.split(":", 5)[5] + ":").split(":")[:3]
        for known in (arn, broker_id, name):
            if known in self._addresses:
                return self._addresses[known]
        if self._asks_mq:
            return await self._described(arn, broker_id or name)
        raise SourceProblem(
            CONFIG_NOT_VALID, f'Where broker {name} is must be configured: [brokers] {name} = "amqps://host:5671"'
        )

    async def _described(self, arn: str, broker: str) -> str:
        try:
            found = await self._clients.call(_context(arn), "mq", "DescribeBroker", {"BrokerId": broker})
        except AwsError as error:
            raise SourceProblem(CONFIG_NOT_VALID, f"Amazon MQ does not describe {broker}: {error.message}") from error
        if str(found.get("EngineType", "")).upper() != RABBITMQ:
            raise SourceProblem(CONFIG_NOT_VALID, "This server polls brokers of RabbitMQ only.")
        for instance in found.get("BrokerInstances") or []:
            for endpoint in instance.get("Endpoints") or []:
                if endpoint.startswith("amqps://"):
                    return str(endpoint)
        raise SourceProblem(CONFIG_NOT_VALID, f"Amazon MQ knows no AMQP endpoint of {broker}.")

    async def kafka(self, mapping: Mapping[str, Any]) -> KafkaCluster:
        """Raises SourceProblem."""
        access = access_by_type(mapping)
        if unknown := access.keys() - KAFKA_ACCESS:
            raise SourceProblem(CONFIG_NOT_VALID, f"This server does not offer {', '.join(sorted(unknown))}.")
        config = mapping.get("SelfManagedKafkaEventSourceConfig") or {}
        if config.get("ConsumptionMode") == "Queue" or config.get("SchemaRegistryConfig"):
            raise SourceProblem(CONFIG_NOT_VALID, "This server offers neither share groups nor schema registries.")
        arn: str = mapping["EventSourceMappingArn"]
        servers = tuple(mapping["SelfManagedEventSource"]["Endpoints"]["KAFKA_BOOTSTRAP_SERVERS"])
        root_ca = None
        if secret_id := access.get("SERVER_ROOT_CA_CERTIFICATE"):
            root_ca = _text(await self.secret(arn, secret_id), "certificate", KAFKA_BAD_CERTIFICATE, secret_id)
        cluster = KafkaCluster(servers=servers, is_encrypted=root_ca is not None, root_ca=root_ca)
        if secret_id := access.get("CLIENT_CERTIFICATE_TLS_AUTH"):
            content = await self.secret(arn, secret_id)
            return attrs.evolve(
                cluster, is_encrypted=True,
                certificate=_text(content, "certificate", KAFKA_BAD_CERTIFICATE, secret_id),
                private_key=_text(content, "privateKey", KAFKA_BAD_CERTIFICATE, secret_id),
                private_key_password=str(content.get("privateKeyPassword") or ""),
            )  # fmt: skip
        for name, mechanism in SASL_MECHANISMS.items():
            if secret_id := access.get(name):
                user, password = await self.user_and_password(arn, secret_id)
                return attrs.evolve(
                    cluster, is_encrypted=True, sasl_mechanism=mechanism, user=user, password=password
                )  # fmt: skip
        return cluster

    async def user_and_password(self, mapping_arn: str, secret_id: str) -> tuple[str, str]:
        """Of a secret with the members `username` and `password`. Raises SourceProblem."""
        content = await self.secret(mapping_arn, secret_id)
        user, password = content.get("username"), content.get("password")
        if not isinstance(user, str) or not isinstance(password, str):
            raise SourceProblem(NOT_AUTHENTICATED, f"Secret {secret_id} has no texts `username` and `password`.")
        return user, password

    async def secret(self, mapping_arn: str, secret_id: str) -> dict[str, Any]:
        """The object in a secret. Raises SourceProblem."""
        try:
            found = await self._clients.call(
                _context(mapping_arn), "secretsmanager", "GetSecretValue", {"SecretId": secret_id}
            )  # fmt: skip
        except AwsError as error:
            said = f"Secret {secret_id} cannot be read: {error.code}: {error.message}"
            raise SourceProblem(NOT_AUTHENTICATED, said) from error
        try:
            content = msgspec.json.decode(found.get("SecretString") or "")
        except (msgspec.DecodeError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise SourceProblem(NOT_AUTHENTICATED, f"Secret {secret_id} is not an object in JSON.")
        return content


def _text(content: Mapping[str, Any], member: str, what: str, secret_id: str) -> str:
    found = content.get(member)
    if not isinstance(found, str) or not found:
        raise SourceProblem(what, f"Secret {secret_id} has no text `{member}`.")
    return found


def access_by_type(mapping: Mapping[str, Any]) -> dict[str, str]:
    """URIs of a mapping's source access configurations."""
    return {item["Type"]: item.get("URI") or "" for item in mapping.get("SourceAccessConfigurations") or []}


def _context(arn: str) -> RequestContext:
    _, _, _, region, account_id, _ = arn.split(":", 5)
    return RequestContext(account_id=account_id, region=region, request_id=str(uuid.uuid4()), base_url="")
