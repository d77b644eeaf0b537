"""How asynchronous invocations are retried and where their records go: one configuration for each qualifier.

Kept in a function's settings by qualifier, `$LATEST` for the function itself, in AWS's shape; `dispatch` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from lambent.control.paging import page
from lambent.control.revisions import family, with_family
from lambent.control.role_rights import RoleRights
from lambent.control.tools import located, need_qualified, need_settings
from lambent.model.destinations import destination_service, given_destination, invalid_destinations
from lambent.model.errors import AwsError, invalid_parameter, not_found
from lambent.model.function import LATEST
from lambent.model.names import FunctionAddress, is_version, parse_function_ref
from lambent.model.request import RequestContext
from lambent.ports import Catalog, CatalogTransaction, CatalogView, Clock, Operation

FAMILY: Final = "event-invoke"  # one of revisions.QUALIFIED_FAMILIES: goes with its version or alias
SETTINGS: Final = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")

# PutFunctionEventInvokeConfig: "S3 buckets are supported only for on-failure destinations."
_SERVICES: Final[Mapping[str, frozenset[str]]] = {
    "OnSuccess": frozenset({"sqs", "sns", "lambda", "events"}),
    "OnFailure": frozenset({"sqs", "sns", "lambda", "events", "s3"}),
}


class EventInvokeConfigOperations:
    def __init__(self, catalog: Catalog, clock: Clock, rights: RoleRights | None = None) -> None:
        """Without `rights` every role may send to every destination."""
        self._rights = rights
        self._catalog = catalog
        self._clock = clock
        self.operations: Mapping[str, Operation] = {
            "PutFunctionEventInvokeConfig": self.put,
            "UpdateFunctionEventInvokeConfig": self.update,
            "GetFunctionEventInvokeConfig": self.get,
            "DeleteFunctionEventInvokeConfig": self.delete,
            "ListFunctionEventInvokeConfigs": self.list,
        }

    async def put(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        return await self._write(located(context, request, "PutFunctionEventInvokeConfig"), request, keep=False)

    async def update(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        return await self._write(located(context, request, "UpdateFunctionEventInvokeConfig"), request, keep=True)

    async def _write(self, address: FunctionAddress, request: dict[str, Any], *, keep: bool) -> dict[str, Any]:
        given = {name: request[name] for name in SETTINGS if request.get(name) is not None}
        if not given:
            raise invalid_parameter("You must specify at least one of error handling or destination setting.")
        qualifier = address.qualifier or LATEST
        now_s = self._clock.now()
        if self._rights is not None and "DestinationConfig" in given:
            _need_function(self._catalog, address)
            _check_destinations(self._catalog, address, given["DestinationConfig"])
            version, _ = need_qualified(self._catalog, address)
            await self._rights.check_destinations(version, given["DestinationConfig"])

        def work(tx: CatalogTransaction) -> dict[str, Any]:
            _need_function(tx, address)
            settings = need_settings(tx, address)
            configs = family(settings, FAMILY)
            if keep and qualifier not in configs:
                raise _no_config(address)
            _check_destinations(tx, address, given.get("DestinationConfig") or {})
            config: dict[str, Any] = {**configs[qualifier]} if keep else {"DestinationConfig": _both_sides({})}
            config |= given | {"LastModified": now_s}
            config["DestinationConfig"] = _both_sides(config["DestinationConfig"])
            configs[qualifier] = config
            tx.put_settings(address, with_family(settings, FAMILY, configs))
            return config

        return _shown(address, qualifier, await self._catalog.transact(work))

    async def get(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "GetFunctionEventInvokeConfig")
        qualifier = address.qualifier or LATEST
        settings = self._catalog.settings(address)
        config = family(settings, FAMILY).get(qualifier) if settings is not None else None
        if config is None:
            raise _no_config(address)
        return _shown(address, qualifier, config)

    async def delete(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "DeleteFunctionEventInvokeConfig")

        def work(tx: CatalogTransaction) -> None:
            settings = tx.settings(address)
            configs = family(settings, FAMILY) if settings is not None else {}
            if settings is None or configs.pop(address.qualifier or LATEST, None) is None:
                raise _no_config(address)
            tx.put_settings(address, with_family(settings, FAMILY, configs))

        await self._catalog.transact(work)
        return {}

    async def list(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "ListFunctionEventInvokeConfigs")
        settings = self._catalog.settings(address)
        if settings is None:
            raise _no_function()
        configs = sorted(family(settings, FAMILY).items(), key=lambda entry: _order(entry[0]))
        listed, more = page(configs, lambda entry: _order(entry[0]), request)
        return {"FunctionEventInvokeConfigs": [_shown(address, *entry) for entry in listed], **more}


def _order(qualifier: str) -> str:
    """`$LATEST`, then versions by number, then aliases by name."""
    return f"1{int(qualifier):020d}" if is_version(qualifier) else f"2{qualifier}" if qualifier != LATEST else "0"


def _both_sides(config: Mapping[str, Any]) -> dict[str, Any]:
    """Both are always there; one without a destination is empty."""
    sides = {side: given_destination(config, side) for side in ("OnSuccess", "OnFailure")}
    return {side: {"Destination": arn} if arn else {} for side, arn in sides.items()}


def _check_destinations(view: CatalogView, address: FunctionAddress, config: Mapping[str, Any]) -> None:
    """Raises AwsError InvalidParameterValueException for what records cannot be sent to."""
    for side, services in _SERVICES.items():
        arn = given_destination(config, side)
        if arn is None:
            continue
        service = destination_service(arn)
        if service not in services:
            raise invalid_destinations(config)
        if service == "lambda":
            _check_function_destination(view, address, arn)


def _check_function_destination(view: CatalogView, address: FunctionAddress, arn: str) -> None:
    ref = parse_function_ref(arn)
    target = FunctionAddress(
        ref.account_id or address.account_id, ref.region or address.region, ref.name, ref.qualifier
    )
    if target.key == address.key:
        raise invalid_parameter("You can't specify the function as a destination for itself.")
    if target.account_id != address.account_id:
        return  # another account's function is known when it is called
    try:
        need_qualified(view, target)
    except AwsError:
        raise invalid_parameter(f"The destination ARN {arn} is invalid.") from None


def _need_function(view: CatalogView, address: FunctionAddress) -> None:
    try:
        need_qualified(view, address)
    except AwsError:
        raise _no_function() from None


def _no_function() -> AwsError:
    return not_found("The function doesn't exist.")


def _no_config(address: FunctionAddress) -> AwsError:
    arn = attrs.evolve(address, qualifier=address.qualifier or LATEST).qualified_arn
    return not_found(f"The function {arn} doesn't have an EventInvokeConfig")


def _shown(address: FunctionAddress, qualifier: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """FunctionEventInvokeConfig."""
    return {
        **config,
        "LastModified": datetime.fromtimestamp(config["LastModified"], UTC),
        "FunctionArn": f"{address.arn}:{qualifier}",
    }
