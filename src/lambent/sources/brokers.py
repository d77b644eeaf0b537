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
from lambent.sources.problem import CONFIG_NOT_VALID, NOT_AUTHENTICATED, SourceProblem

RABBITMQ: Final = "RABBITMQ"  # DescribeBroker, engineType


@attrs.frozen(kw_only=True)
class RabbitAddress:
    """One virtual host of a broker, and who reads it."""

    endpoint: str  # amqp://host:port or amqps://host:port
    virtual_host: str
    user: str
    password: str = attrs.field(repr=False)

    @property
    def place(self) -> str:
        """Without secrets."""
        return f"{self.endpoint}, virtual host {self.virtual_host}"

    @property
    def url(self) -> str:
        parts = urlsplit(self.endpoint)
        user, password, host = (quote(text, safe="") for text in (self.user, self.password, self.virtual_host))
        return f"{parts.scheme}://{user}:{password}@{parts.netloc}/{host}"


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


def access_by_type(mapping: Mapping[str, Any]) -> dict[str, str]:
    """URIs of a mapping's source access configurations."""
    return {item["Type"]: item.get("URI") or "" for item in mapping.get("SourceAccessConfigurations") or []}


def _context(arn: str) -> RequestContext:
    _, _, _, region, account_id, _ = arn.split(":", 5)
    return RequestContext(account_id=account_id, region=region, request_id=str(uuid.uuid4()), base_url="")
