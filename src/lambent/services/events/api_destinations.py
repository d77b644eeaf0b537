"""Calling API destinations: HTTP with the connection's authorization.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-api-destinations.html
"""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import functools
import ipaddress
import socket
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
import msgspec

from lambent.model.errors import AwsError
from lambent.ports import Catalog, Clock
from lambent.services.events.connections import RATE_DEFAULT, connection_of, destination_of, opened
from lambent.store.deliveries import Delivery

Members = dict[str, Any]

TIMEOUT_S: Final = 5.0  # docs: a request has five seconds
# Of their own: whoever does not answer must not hold up the server's other work. Three leave some for others.
THREADS: Final = 64
TOKEN_MARGIN_S: Final = 30.0  # a token that ends sooner is not used any more
TOKEN_LIFE_S: Final = 3600.0  # when its issuer does not say
METADATA_IPV6: Final = ipaddress.ip_address("fd00:ec2::254")  # EC2's, where it has IPv6
_RETRIED: Final = frozenset({401, 407, 408, 409, 425, 429})  # and all of 5xx; docs: others are not sent again


@attrs.frozen(kw_only=True)
class Request:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


class ApiDestinations:
    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self._threads = concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="lambent-api-destinations")
        self._tokens: dict[str, tuple[float, str]] = {}  # by connection: until when (monotonic), the Authorization
        self._free_s: dict[str, float] = {}  # by destination: when the next request may begin (monotonic)

    async def send(self, delivery: Delivery) -> None:
        """Raises AwsError."""
        destination = destination_of(self._catalog, delivery.lane)
        if destination is None:
            raise AwsError("ResourceNotFoundException", f"{delivery.lane} does not exist", 404)
        connection = connection_of(self._catalog, destination["ConnectionArn"])
        if connection is None or connection["ConnectionState"] != "AUTHORIZED":
            raise AwsError("AccessDeniedException", f"{destination['ConnectionArn']} is not authorized", 403)
        parameters = await opened(self._catalog, connection)
        headers = await self._authorization(connection["ConnectionArn"], parameters)
        request = _request(destination, parameters, headers, delivery)
        await self._turn(destination)
        status, _ = await asyncio.get_running_loop().run_in_executor(self._threads, exchange, request)
        if status == 401:
            self._tokens.pop(connection["ConnectionArn"], None)
        _check(status, request.url)

    async def _turn(self, destination: Mapping[str, Any]) -> None:
        """Waits until the destination's rate allows one more."""
        arn, rate = destination["ApiDestinationArn"], destination.get("InvocationRateLimitPerSecond") or RATE_DEFAULT
        now_s = self._clock.monotonic()
        begin_s = max(self._free_s.get(arn, 0.0), now_s)
        self._free_s[arn] = begin_s + 1 / rate
        if begin_s > now_s:
            await self._clock.sleep(begin_s - now_s)

    async def _authorization(self, arn: str, parameters: Mapping[str, Any]) -> Members:
        if (basic := parameters.get("BasicAuthParameters")) is not None:
            pair = base64.b64encode(f"{basic['Username']}:{basic['Password']}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        if (key := parameters.get("ApiKeyAuthParameters")) is not None:
            return {key["ApiKeyName"]: key["ApiKeyValue"]}
        until_s, known = self._tokens.get(arn, (0.0, ""))
        if until_s <= self._clock.monotonic():
            asking = asyncio.get_running_loop().run_in_executor(self._threads, _token, parameters["OAuthParameters"])
            known, life_s = await asking
            self._tokens[arn] = (self._clock.monotonic() + life_s - TOKEN_MARGIN_S, known)
        return {"Authorization": known}


def _request(
    destination: Mapping[str, Any], parameters: Mapping[str, Any], authorization: Mapping[str, str], delivery: Delivery
) -> Request:
    """The connection's parameters go before the target's."""
    asked = delivery.about["target"].get("HttpParameters") or {}
    always = parameters.get("InvocationHttpParameters") or {}
    url = destination["InvocationEndpoint"]
    for value in asked.get("PathParameterValues") or ():
        url = url.replace("*", urllib.parse.quote(value, safe=""), 1)
    query = {**(asked.get("QueryStringParameters") or {}), **_pairs(always.get("QueryStringParameters"))}
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Amazon/EventBridge/ApiDestinations",
        **(asked.get("HeaderParameters") or {}),
        **_pairs(always.get("HeaderParameters")),
        **authorization,
    }
    return Request(
        method=destination["HttpMethod"],
        url=_with_query(url, query),
        headers=headers,
        body=_with_members(delivery.body, _pairs(always.get("BodyParameters"))),
    )


def _token(parameters: Mapping[str, Any]) -> tuple[str, float]:
    """The Authorization header of an OAuth client, and how long it is good. Raises AwsError."""
    client, more = parameters["ClientParameters"], parameters.get("OAuthHttpParameters") or {}
    form = {
        "grant_type": "client_credentials", "client_id": client["ClientID"], "client_secret": client["ClientSecret"],
        **_pairs(more.get("BodyParameters")),
    }  # fmt: skip
    url = _with_query(parameters["AuthorizationEndpoint"], _pairs(more.get("QueryStringParameters")))
    headers = {"Content-Type": "application/x-www-form-urlencoded", **_pairs(more.get("HeaderParameters"))}
    request = Request(
        method=parameters["HttpMethod"], url=url, headers=headers, body=urllib.parse.urlencode(form).encode()
    )
    status, body = exchange(request)
    _check(status, url)
    try:
        answer = msgspec.json.decode(body)
        return f"{answer.get('token_type', 'Bearer')} {answer['access_token']}", float(
            answer.get("expires_in", TOKEN_LIFE_S)
        )
    except (msgspec.DecodeError, KeyError, AttributeError, ValueError) as error:
        raise AwsError("ErrorFromTarget", f"{url} gave no access token", 502) from error


def exchange(request: Request) -> tuple[int, bytes]:
    """Status and body; blocks. Raises AwsError, 502, when there is no answer."""
    from botocore.awsrequest import AWSRequest
    from botocore.exceptions import BotoCoreError

    _refuse_metadata(request.url)
    outgoing = AWSRequest(method=request.method, url=request.url, headers=dict(request.headers), data=request.body)
    try:
        answer = _session().send(outgoing.prepare())
    except BotoCoreError as error:
        raise AwsError("ErrorFromTarget", f"{request.url} gives no answer: {error}", 502) from error
    return answer.status_code, answer.content


@functools.cache
def _session() -> Any:
    from botocore.httpsession import URLLib3Session

    return URLLib3Session(timeout=TIMEOUT_S, max_pool_connections=32)


def _refuse_metadata(url: str) -> None:
    """Link-local addresses are those of a cloud's own metadata, which no event may ask for. Raises AwsError, 403."""
    parts = urllib.parse.urlsplit(url)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise AwsError("ErrorFromTarget", f"{parts.hostname} is not known: {error}", 502) from error
    if any(_is_metadata(str(address[4][0])) for address in found):
        raise AwsError("AccessDeniedException", f"{parts.hostname} is a link-local address, which is refused", 403)


def _is_metadata(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return address.is_link_local or address == METADATA_IPV6


def _check(status: int, url: str) -> None:
    if 200 <= status < 300:
        return
    if status in _RETRIED or status >= 500:
        raise AwsError("ErrorFromTarget", f"{url} answered {status}", 502)
    raise AwsError("SdkClientError", f"{url} answered {status}", 400)


def _pairs(listed: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    return {pair["Key"]: pair.get("Value", "") for pair in listed or ()}


def _with_query(url: str, query: Mapping[str, str]) -> str:
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urllib.parse.urlencode(query)}"


def _with_members(body: bytes, members: Mapping[str, str]) -> bytes:
    if not members:
        return body
    try:
        document = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body
    return msgspec.json.encode({**document, **members}) if isinstance(document, dict) else body
