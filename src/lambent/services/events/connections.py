"""Operations on connections and API destinations. Secrets of connections are sealed in the catalog."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lambent.model.request import RequestContext
from lambent.model.sealing import SealedEnvironment, open_sealed, seal
from lambent.ports import Catalog, CatalogTransaction, CatalogView, Clock, Operation
from lambent.services.events.errors import exists, invalid, missing, not_offered, validation
from lambent.services.events.names import moment, page, present

Members = dict[str, Any]

CONNECTIONS: Final = "event-connection"  # kinds of documents
DESTINATIONS: Final = "event-api-destination"
SECRET: Final = "event-connections"  # of the catalog: the key that seals
RATE_DEFAULT: Final = 300  # InvocationRateLimitPerSecond, when none is given
_PARAMETERS: Final = {
    "BASIC": "BasicAuthParameters", "API_KEY": "ApiKeyAuthParameters", "OAUTH_CLIENT_CREDENTIALS": "OAuthParameters",
}  # fmt: skip
_SECRET_MEMBERS: Final = frozenset({"Password", "ApiKeyValue", "ClientSecret"})


class Connections:
    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self.operations: Mapping[str, Operation] = {
            "CreateConnection": self.create_connection,
            "UpdateConnection": self.update_connection,
            "DescribeConnection": self.describe_connection,
            "DeauthorizeConnection": self.deauthorize_connection,
            "DeleteConnection": self.delete_connection,
            "ListConnections": self.list_connections,
            "CreateApiDestination": self.create_api_destination,
            "UpdateApiDestination": self.update_api_destination,
            "DescribeApiDestination": self.describe_api_destination,
            "DeleteApiDestination": self.delete_api_destination,
            "ListApiDestinations": self.list_api_destinations,
        }

    # --- connections

    async def create_connection(self, context: RequestContext, members: Members) -> Members:
        name, now_s = members["Name"], self._clock.now()
        arn = f"arn:aws:events:{context.region}:{context.account_id}:connection/{name}/{uuid.uuid4()}"
        parameters = _checked(members, members["AuthorizationType"])
        document = {
            "Name": name, "ConnectionArn": arn, "AuthorizationType": members["AuthorizationType"],
            "ConnectionState": "AUTHORIZED", "CreationTime": now_s, "LastModifiedTime": now_s, "LastAuthorizedTime": now_s,
            **present({each: members.get(each) for each in ("Description", "KmsKeyIdentifier")}),
            **await self._sealed(arn, parameters),
        }  # fmt: skip

        def work(tx: CatalogTransaction) -> None:
            if tx.document(CONNECTIONS, context.account_id, context.region, name) is not None:
                raise exists(f"Connection {name} already exists.")
            tx.put_document(CONNECTIONS, context.account_id, context.region, name, document)

        await self._catalog.transact(work)
        return _told(document)

    async def update_connection(self, context: RequestContext, members: Members) -> Members:
        before = self._need_connection(self._catalog, context, members["Name"])
        kind = members.get("AuthorizationType") or before["AuthorizationType"]
        parameters = await opened(self._catalog, before)
        if kind != before["AuthorizationType"]:
            parameters.pop(_PARAMETERS[before["AuthorizationType"]], None)
        merged = _merged(parameters, members.get("AuthParameters") or {})
        now_s = self._clock.now()
        changes = {
            "AuthorizationType": kind, "ConnectionState": "AUTHORIZED", "LastModifiedTime": now_s, "LastAuthorizedTime": now_s,
            **present({each: members.get(each) for each in ("Description", "KmsKeyIdentifier")}),
            **await self._sealed(before["ConnectionArn"], _checked({"AuthParameters": merged}, kind)),
        }  # fmt: skip
        return _told(await self._change(context, members["Name"], changes))

    async def describe_connection(self, context: RequestContext, members: Members) -> Members:
        document = self._need_connection(self._catalog, context, members["Name"])
        shown = {each: document.get(each) for each in ("Description", "AuthorizationType", "KmsKeyIdentifier")}
        return {**_told(document), "Name": document["Name"], **present(shown), "AuthParameters": document["Shown"]}

    async def deauthorize_connection(self, context: RequestContext, members: Members) -> Members:
        changes = {"ConnectionState": "DEAUTHORIZED", "LastModifiedTime": self._clock.now()}
        return _told(await self._change(context, members["Name"], changes))

    async def delete_connection(self, context: RequestContext, members: Members) -> Members:
        def work(tx: CatalogTransaction) -> Members:
            document = self._need_connection(tx, context, members["Name"])
            tx.delete_document(CONNECTIONS, context.account_id, context.region, members["Name"])
            return document

        return _told(await self._catalog.transact(work)) | {"ConnectionState": "DELETING"}

    async def list_connections(self, context: RequestContext, members: Members) -> Members:
        prefix, state = members.get("NamePrefix") or "", members.get("ConnectionState")
        documents = self._catalog.documents(CONNECTIONS, context.account_id, context.region).values()
        fitting = [d for d in documents if d["Name"].startswith(prefix) and state in (None, d["ConnectionState"])]
        chosen, more = page(fitting, lambda document: str(document["Name"]), members)
        listed = [_told(d) | {"Name": d["Name"], "AuthorizationType": d["AuthorizationType"]} for d in chosen]
        return {"Connections": listed, **more}

    async def _change(self, context: RequestContext, name: str, changes: Members) -> Members:
        def work(tx: CatalogTransaction) -> Members:
            document = self._need_connection(tx, context, name) | changes
            tx.put_document(CONNECTIONS, context.account_id, context.region, name, document)
            return document

        return await self._catalog.transact(work)

    def _need_connection(self, view: CatalogView, context: RequestContext, name: str) -> Members:
        found = view.document(CONNECTIONS, context.account_id, context.region, name)
        if found is None:
            raise missing(f"Connection '{name}' does not exist.")
        return found

    async def _sealed(self, arn: str, parameters: Members) -> Members:
        """What of the parameters is kept: encrypted, and as descriptions show it."""
        key = await self._catalog.secret(SECRET)
        sealed = seal({"parameters": msgspec.json.encode(parameters).decode()}, arn, key, key)
        return {"Sealed": sealed.ciphertext, "Shown": _without_secrets(parameters)}

    # --- API destinations

    async def create_api_destination(self, context: RequestContext, members: Members) -> Members:
        name, now_s = members["Name"], self._clock.now()
        arn = f"arn:aws:events:{context.region}:{context.account_id}:api-destination/{name}/{uuid.uuid4()}"
        _check_endpoint(members)
        document = {
            "Name": name, "ApiDestinationArn": arn, "CreationTime": now_s, "LastModifiedTime": now_s,
            "InvocationRateLimitPerSecond": RATE_DEFAULT, **_destination_members(members),
        }  # fmt: skip

        def work(tx: CatalogTransaction) -> None:
            need_connection_of(tx, context, members["ConnectionArn"])
            if tx.document(DESTINATIONS, context.account_id, context.region, name) is not None:
                raise exists(f"An api-destination '{name}' already exists.")
            tx.put_document(DESTINATIONS, context.account_id, context.region, name, document)

        await self._catalog.transact(work)
        return self._told_destination(context, document)

    async def update_api_destination(self, context: RequestContext, members: Members) -> Members:
        _check_endpoint(members)
        now_s = self._clock.now()

        def work(tx: CatalogTransaction) -> Members:
            if members.get("ConnectionArn"):
                need_connection_of(tx, context, members["ConnectionArn"])
            before = _need_destination(tx, context, members["Name"])
            document = before | _destination_members(members) | {"LastModifiedTime": now_s}
            tx.put_document(DESTINATIONS, context.account_id, context.region, members["Name"], document)
            return document

        return self._told_destination(context, await self._catalog.transact(work))

    async def describe_api_destination(self, context: RequestContext, members: Members) -> Members:
        document = _need_destination(self._catalog, context, members["Name"])
        return {"Name": document["Name"], **self._told_destination(context, document), **_destination_members(document)}

    async def delete_api_destination(self, context: RequestContext, members: Members) -> Members:
        def work(tx: CatalogTransaction) -> None:
            _need_destination(tx, context, members["Name"])
            tx.delete_document(DESTINATIONS, context.account_id, context.region, members["Name"])

        await self._catalog.transact(work)
        return {}

    async def list_api_destinations(self, context: RequestContext, members: Members) -> Members:
        prefix, connection = members.get("NamePrefix") or "", members.get("ConnectionArn")
        documents = self._catalog.documents(DESTINATIONS, context.account_id, context.region).values()
        fitting = [d for d in documents if d["Name"].startswith(prefix) and connection in (None, d["ConnectionArn"])]
        chosen, more = page(fitting, lambda document: str(document["Name"]), members)
        listed = []
        for document in chosen:
            shown = _destination_members(document)
            shown.pop("Description", None)
            listed.append({"Name": document["Name"], **self._told_destination(context, document), **shown})
        return {"ApiDestinations": listed, **more}

    def _told_destination(self, context: RequestContext, document: Mapping[str, Any]) -> Members:
        connection = connection_of(self._catalog, document["ConnectionArn"])
        is_active = connection is not None and connection["ConnectionState"] == "AUTHORIZED"
        return {
            "ApiDestinationArn": document["ApiDestinationArn"],
            "ApiDestinationState": "ACTIVE" if is_active else "INACTIVE",
            "CreationTime": moment(document["CreationTime"]),
            "LastModifiedTime": moment(document["LastModifiedTime"]),
        }


async def opened(catalog: Catalog, document: Mapping[str, Any]) -> Members:
    """A connection's parameters, secrets included. Raises SealError."""
    key = await catalog.secret(SECRET)
    sealed = SealedEnvironment(ciphertext=document["Sealed"], digest="")
    parameters: Members = msgspec.json.decode(open_sealed(sealed, document["ConnectionArn"], key)["parameters"])
    return parameters


def connection_of(view: CatalogView, arn: str) -> Members | None:
    """By ARN, with the very id: one of the same name that was made later is another one."""
    parts = arn.split(":", 5)
    pieces = parts[-1].split("/")
    if len(parts) != 6 or len(pieces) != 3:
        return None
    found = view.document(CONNECTIONS, parts[4], parts[3], pieces[1])
    return found if found is not None and found["ConnectionArn"] == arn else None


def destination_of(view: CatalogView, arn: str) -> Members | None:
    parts = arn.split(":", 5)
    pieces = parts[-1].split("/")
    if len(parts) != 6 or len(pieces) != 3:
        return None
    found = view.document(DESTINATIONS, parts[4], parts[3], pieces[1])
    return found if found is not None and found["ApiDestinationArn"] == arn else None


def need_connection_of(view: CatalogView, context: RequestContext, arn: str) -> None:
    found = connection_of(view, arn)
    if found is None or arn.split(":", 5)[4] != context.account_id:
        raise missing(f"Connection '{arn.rpartition('connection/')[2].split('/')[0]}' does not exist.")


def _need_destination(view: CatalogView, context: RequestContext, name: str) -> Members:
    found = view.document(DESTINATIONS, context.account_id, context.region, name)
    if found is None:
        raise missing(f"Failed to describe the api-destination(s). An api-destination '{name}' does not exist.")
    return found


def _checked(members: Members, kind: str) -> Members:
    """The parameters of this kind, and those for every request. Raises AwsError ValidationException."""
    given = members["AuthParameters"]
    if given.get("ConnectivityParameters") or members.get("InvocationConnectivityParameters"):
        raise not_offered("A connection to a private API")
    wanted = _PARAMETERS[kind]
    if not given.get(wanted):
        raise validation(f"Parameter(s) {wanted} must be specified for the authorization type {kind}.")
    kept = (wanted, "InvocationHttpParameters")
    return {name: value for name, value in given.items() if name in kept and value is not None}


def _merged(before: Members, given: Mapping[str, Any]) -> Members:
    merged = dict(before)
    for name, value in given.items():
        old = merged.get(name)
        merged[name] = _merged(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return merged


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if not isinstance(value, dict):
        return value
    hidden = {"Value"} if value.get("IsValueSecret") else set()
    return {k: _without_secrets(v) for k, v in value.items() if k not in _SECRET_MEMBERS and k not in hidden}


def _told(document: Mapping[str, Any]) -> Members:
    times = ("CreationTime", "LastModifiedTime", "LastAuthorizedTime")
    return {
        "ConnectionArn": document["ConnectionArn"],
        "ConnectionState": document["ConnectionState"],
        **{each: moment(document[each]) for each in times if each in document},
    }


def _destination_members(members: Mapping[str, Any]) -> Members:
    names = ("Description", "ConnectionArn", "InvocationEndpoint", "HttpMethod", "InvocationRateLimitPerSecond")
    return {name: members[name] for name in names if members.get(name) is not None}


def _check_endpoint(members: Mapping[str, Any]) -> None:
    endpoint = members.get("InvocationEndpoint")
    if endpoint is not None and not endpoint.startswith(("https://", "http://")):
        raise invalid("InvocationEndpoint", "It must begin with https:// or http://.")
