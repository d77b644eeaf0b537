"""Function URLs as configured: at most one for a function and one for each of its aliases.

A configuration is kept in the function's settings, family "urls", by qualifier ("" for the function itself). Beside it a
document of kind "function-url", named by the URL's id, says whose it is, so that a door can find it: `find_url`.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from lambent.control.checks import refuse_tenants
from lambent.control.paging import page
from lambent.control.revisions import URL_INDEX, family, key_of, with_family
from lambent.control.tools import Tools, need_latest
from lambent.model.errors import AwsError, conflict, invalid_parameter, not_found
from lambent.model.function import LATEST, FunctionSettings
from lambent.model.names import FunctionAddress, is_version, locate_function
from lambent.model.request import RequestContext
from lambent.ports import Catalog, CatalogTransaction, CatalogView, Operation

FAMILY: Final = "urls"
URL_ID_CHARACTERS: Final = 32  # as AWS's: letters and digits
_ALPHABET: Final = string.ascii_lowercase + string.digits
_METHODS: Final = frozenset(("GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*"))  # AWS::Lambda::Url Cors


@attrs.frozen(kw_only=True)
class FunctionUrl:
    """What a door needs to know of a URL."""

    address: FunctionAddress  # its qualifier is the alias, or None
    auth_type: str  # NONE, AWS_IAM
    invoke_mode: str  # BUFFERED, RESPONSE_STREAM
    cors: Mapping[str, Any] | None  # AllowOrigins, …, as the model names them; absent members were not given


def find_url(catalog: Catalog, url_id: str, region: str | None = None) -> FunctionUrl | None:
    """The function URL of this id, in one region or in any; None for an id that nobody has. Reads memory."""
    for account_id, place in catalog.document_places(URL_INDEX):
        if region is not None and place != region:
            continue
        index = catalog.document(URL_INDEX, account_id, place, url_id)
        if index is None:
            continue
        address = FunctionAddress(account_id, place, index["FunctionName"], index["Qualifier"] or None)
        settings = catalog.settings(address)
        config = family(settings, FAMILY).get(index["Qualifier"]) if settings is not None else None
        if config is not None:
            return FunctionUrl(
                address=address,
                auth_type=config["AuthType"],
                invoke_mode=config["InvokeMode"],
                cors=config.get("Cors"),
            )
    return None


def url_of(context: RequestContext, region: str, url_id: str) -> str:
    """Where the URL is reached: at the port by which the caller reached this server."""
    parts = urlsplit(context.base_url)
    port = f":{parts.port}" if parts.port is not None else ""
    return f"{parts.scheme}://{url_id}.lambda-url.{region}.localhost{port}/"


class UrlOperations:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.operations: Mapping[str, Operation] = {
            "CreateFunctionUrlConfig": self.create_function_url_config,
            "GetFunctionUrlConfig": self.get_function_url_config,
            "UpdateFunctionUrlConfig": self.update_function_url_config,
            "DeleteFunctionUrlConfig": self.delete_function_url_config,
            "ListFunctionUrlConfigs": self.list_function_url_configs,
        }

    async def create_function_url_config(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = _located(context, request, "CreateFunctionUrlConfig")
        now = _instant(self._tools.clock.now())
        config: dict[str, Any] = {
            "UrlId": "".join(secrets.choice(_ALPHABET) for _ in range(URL_ID_CHARACTERS)),
            "AuthType": request["AuthType"],
            "InvokeMode": request.get("InvokeMode") or "BUFFERED",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        if cors := _cors(request):
            config["Cors"] = cors

        def work(tx: CatalogTransaction) -> None:
            settings = _need_function(tx, address)
            refuse_tenants(need_latest(tx, address), "Function URLs")
            urls = family(settings, FAMILY)
            if key_of(address.qualifier) in urls:
                raise conflict(
                    f"Failed to create function url config for [functionArn = {address.qualified_arn}]. "
                    "Error message:  FunctionUrlConfig exists for this Lambda function"
                )
            urls[key_of(address.qualifier)] = config
            tx.put_settings(address, with_family(settings, FAMILY, urls))
            index = {"FunctionName": address.name, "Qualifier": key_of(address.qualifier)}
            tx.put_document(URL_INDEX, address.account_id, address.region, config["UrlId"], index)

        await self._tools.catalog.transact(work)
        answer = _shown(context, address, config)
        del answer["LastModifiedTime"]
        if request.get("InvokeMode") is None:
            del answer["InvokeMode"]  # AWS gives it back here only when it was given
        return answer

    async def get_function_url_config(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = _located(context, request, "GetFunctionUrlConfig")
        return _shown(context, address, _need_config(self._tools.catalog.settings(address), address))

    async def update_function_url_config(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = _located(context, request, "UpdateFunctionUrlConfig")
        now = _instant(self._tools.clock.now())
        cors = _cors(request)

        def work(tx: CatalogTransaction) -> dict[str, Any]:
            settings = _need_function(tx, address)
            config = {**_need_config(settings, address), "LastModifiedTime": now}
            for member in ("AuthType", "InvokeMode"):
                if request.get(member) is not None:
                    config[member] = request[member]
            if cors is not None:
                config.pop("Cors", None)
                if cors:
                    config["Cors"] = cors
            urls = {**family(settings, FAMILY), key_of(address.qualifier): config}
            tx.put_settings(address, with_family(settings, FAMILY, urls))
            return config

        return _shown(context, address, await self._tools.catalog.transact(work))

    async def delete_function_url_config(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = _located(context, request, "DeleteFunctionUrlConfig")

        def work(tx: CatalogTransaction) -> None:
            settings = tx.settings(address)
            config = _need_config(settings, address)
            assert settings is not None
            urls = family(settings, FAMILY)
            del urls[key_of(address.qualifier)]
            tx.put_settings(address, with_family(settings, FAMILY, urls))
            tx.delete_document(URL_INDEX, address.account_id, address.region, config["UrlId"])

        await self._tools.catalog.transact(work)
        return {}

    async def list_function_url_configs(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = _located(context, request, "ListFunctionUrlConfigs")
        settings = _need_function(self._tools.catalog, attrs.evolve(address, qualifier=None))
        urls = sorted(family(settings, FAMILY).items())
        shown, more = page(urls, lambda pair: f"/{pair[0]}", request)
        configs = [_shown(context, attrs.evolve(address, qualifier=key or None), config) for key, config in shown]
        return {"FunctionUrlConfigs": configs, **more}


def _located(context: RequestContext, request: Mapping[str, Any], operation: str) -> FunctionAddress:
    """The function or alias. That a version is none of these the model's patterns say, but not for every way to name one."""
    address = locate_function(
        request["FunctionName"], request.get("Qualifier"), context.account_id, context.region, f"lambda:{operation}"
    )
    if address.qualifier == LATEST:
        return attrs.evolve(address, qualifier=None)
    if address.qualifier is not None and is_version(address.qualifier):
        raise _no_function()
    return address


def _need_function(view: CatalogView, address: FunctionAddress) -> FunctionSettings:
    settings = view.settings(address)
    if settings is None or (address.qualifier is not None and view.alias(address, address.qualifier) is None):
        raise _no_function()
    return settings


def _need_config(settings: FunctionSettings | None, address: FunctionAddress) -> dict[str, Any]:
    config: dict[str, Any] | None = None
    if settings is not None:
        config = family(settings, FAMILY).get(key_of(address.qualifier))
    if config is None:
        raise not_found("The resource you requested does not exist.")
    return config


def _instant(now_s: float) -> str:
    """As AWS prints the times of function URLs, and of nothing else of Lambda's: 2026-08-25T04:24:42.237129342Z."""
    whole_s, rest_s = divmod(now_s, 1)
    return f"{datetime.fromtimestamp(whole_s, UTC):%Y-%m-%dT%H:%M:%S}.{int(rest_s * 1e9):09d}Z"


def _no_function() -> AwsError:
    return not_found("Function does not exist")


def _cors(request: Mapping[str, Any]) -> dict[str, Any] | None:
    """The request's `Cors`, checked; empty to take it away, None when it is not there. Raises AwsError."""
    cors = request.get("Cors")
    if cors is None:
        return None
    for method in cors.get("AllowMethods") or ():
        if method not in _METHODS:
            raise invalid_parameter(
                f"Value '{method}' in cors.allowMethods is none of: {', '.join(sorted(_METHODS))}. "
                "OPTIONS is answered by the function URL itself."
            )
    return {member: value for member, value in cors.items() if value is not None}


def _shown(context: RequestContext, address: FunctionAddress, config: Mapping[str, Any]) -> dict[str, Any]:
    """FunctionUrlConfig."""
    out = {
        "FunctionUrl": url_of(context, address.region, config["UrlId"]),
        "FunctionArn": address.qualified_arn,
        "AuthType": config["AuthType"],
        "InvokeMode": config["InvokeMode"],
        "CreationTime": config["CreationTime"],
        "LastModifiedTime": config["LastModifiedTime"],
    }
    if "Cors" in config:
        out["Cors"] = config["Cors"]
    return out
