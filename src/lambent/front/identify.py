"""What a request asks for: protocol, service, operation, and for whom. Decided from the request and the models alone."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import parse_qs

import attrs

from lambent.wire import sqs_query
from lambent.wire.messages import WireRequest
from lambent.wire.models import Models
from lambent.wire.protocols.cbor import AWS_CONTENT_TYPE
from lambent.wire.shapes import Operation, Service
from lambent.wire.uri import Router

HOST_MAX_LENGTH: Final = 260  # a name of 253 characters, a colon and a port; no more of it is kept in memory
POST_FORM: Final = "PostObject"  # a page's form that uploads to S3: signed inside, and in no model
_REGION: Final = re.compile(r"(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d{1,2}")
_CREDENTIAL: Final = re.compile(r"Credential=([^/,\s]+(?:/[^/,\s]+)*?)/(\d{8})/([^/,\s]+)/([^/,\s]+)/aws4_request")
_OLD_CREDENTIAL: Final = re.compile(r"AWS ([^:\s]+):")
_QUEUE_PATH: Final = re.compile(r"/[0-9]{12}/[^/]+")
_RPC_PATH: Final = re.compile(r"/service/([^/]+)/operation/([^/]+)")
_VIRTUAL_BUCKET: Final = re.compile(
    r"(?P<bucket>.+?)\.s3(?:[.-][a-z0-9-]+)*\.(?:amazonaws\.com(?:\.cn)?|localhost\..+|localhost)"
)


Scope = tuple[str, str]
"""Account and region."""


@attrs.frozen(kw_only=True)
class Home:
    """Whose requests are that do not say it themselves, and which access keys do say it."""

    account_id: str = "000000000000"
    region: str = "us-east-1"
    account_of_key: Callable[[str], str | None] = lambda access_key_id: None  # of keys that were issued here

    def account_of(self, access_key_id: str | None) -> str:
        """A twelve-digit access key id is an account, and issued ones name theirs; everybody else shares the default."""
        if access_key_id is None:
            return self.account_id
        if len(access_key_id) == 12 and access_key_id.isascii() and access_key_id.isdecimal():
            return access_key_id
        return self.account_of_key(access_key_id) or self.account_id


@attrs.frozen(kw_only=True)
class Caller:
    """Who asks, as far as the request itself says; whether that is true is the signature's business."""

    access_key_id: str | None
    account_id: str
    region: str | None
    signing_name: str | None


@attrs.frozen(kw_only=True)
class Asked:
    """What is asked for. Without `operation` the request names none that the models know: `operation_name` is its word."""

    protocol: str
    service: Service | None
    operation: Operation | None
    operation_name: str | None
    caller: Caller
    region: str


def caller_of(request: WireRequest, home: Home) -> Caller:
    """Reads the credential scope of a header or a presigned query, valid or not."""
    text = request.headers.get("authorization", "")
    found = _CREDENTIAL.search(text)
    if found is None and "X-Amz-Credential=" in request.query:
        values = parse_qs(request.query).get("X-Amz-Credential", [""])
        found = _CREDENTIAL.search(f"Credential={values[0]}")
    if found is not None:
        key, _, region, service = found.groups()
        return Caller(access_key_id=key, account_id=home.account_of(key), region=region, signing_name=service)
    old = _OLD_CREDENTIAL.match(text)
    key = old[1] if old is not None else parse_qs(request.query).get("AWSAccessKeyId", [None])[0]
    return Caller(access_key_id=key, account_id=home.account_of(key), region=None, signing_name=None)


def _region_in(host: str) -> str | None:
    region = host_parts(host)[1]
    return region if region is not None and _REGION.fullmatch(region) else None


_SCOPE: Final = re.compile(rb"Credential=([^/,\s]+)/\d{8}/([^/,\s]+)/lambda/aws4_request")


class Identifier:
    """Finds services and operations; keeps what it has compiled."""

    def __init__(self, models: Models, home: Home | None = None) -> None:
        self._models = models
        self._home = home or Home()
        self._routers: dict[str, Router] = {}
        self._signed_scope = functools.lru_cache(maxsize=256)(self._read_scope)
        self._region_in = functools.lru_cache(maxsize=256)(_region_in)

    def scope_of(self, authorization: bytes | None, host: bytes, unsigned: Scope | None = None) -> Scope | None:
        """Account and region of a request to Lambda: the short cut for Invoke. None leaves it to `identify`."""
        if authorization is None:
            return self._unsigned_scope(host.decode("latin-1"), unsigned)
        found = _SCOPE.search(authorization, 0, 300)
        return None if found is None else self._signed_scope(found[1], found[2])

    def identify(self, request: WireRequest, unsigned: Scope | None = None) -> Asked:
        """`unsigned` is whose requests without credentials are, where the listener that they came by says it."""
        caller = caller_of(request, self._home)
        host = request.headers.get("host", "")
        prefix, _ = host_parts(host)
        if caller.access_key_id is None:
            account_id, region = self._unsigned_scope(host, unsigned)
            caller = attrs.evolve(caller, account_id=account_id)
        elif caller.region is not None and _REGION.fullmatch(caller.region):
            region = caller.region
        else:
            region = self._region_in(host[:HOST_MAX_LENGTH]) or self._home.region
        protocol, service, name = self._find(request, caller.signing_name, prefix)
        operation = service.operation(name) if service is not None and name is not None and service.has(name) else None
        return Asked(
            protocol=protocol, service=service, operation=operation, operation_name=name, caller=caller, region=region
        )

    def _unsigned_scope(self, host: str, unsigned: Scope | None) -> Scope:
        account_id, region = unsigned or (self._home.account_id, self._home.region)
        return account_id, self._region_in(host[:HOST_MAX_LENGTH]) or region

    def _read_scope(self, access_key_id: bytes, region: bytes) -> Scope | None:
        name = region.decode("latin-1")
        return (self._home.account_of(access_key_id.decode("latin-1")), name) if _REGION.fullmatch(name) else None

    def _find(
        self, request: WireRequest, signing_name: str | None, prefix: str | None
    ) -> tuple[str, Service | None, str | None]:
        rpc = _RPC_PATH.fullmatch(request.path)
        if rpc is not None and request.headers.get("smithy-protocol") == "rpc-v2-cbor":
            return "smithy-rpc-v2-cbor", self._by_target(rpc[1], rpc[2], signing_name), rpc[2]
        target = request.headers.get("x-amz-target")
        if target is not None:
            target_prefix, _, name = target.rpartition(".")
            is_cbor = request.headers.get("content-type", "").startswith(AWS_CONTENT_TYPE)
            return ("aws-cbor" if is_cbor else "json"), self._by_target(target_prefix, name, signing_name), name
        form = _form_of(request)
        if form is not None:
            service = self._by_form(form[0], form[1], signing_name, prefix, request.path)
            is_ec2 = service is not None and service.protocol == "ec2"
            return ("ec2" if is_ec2 else "query"), service, form[0]
        return self._by_address(request, signing_name, prefix)

    def _by_target(self, prefix: str, name: str, signing_name: str | None) -> Service | None:
        likely = self._service(signing_name)
        if likely is not None and likely.target_prefix == prefix:
            return likely
        candidates = [self._models.service(s.name) for s in self._models.by_target_prefix(prefix)]
        return next((s for s in candidates if s.has(name)), candidates[0] if candidates else None)

    def _is_sqs(self, action: str, version: str, path: str) -> bool:
        """A form without a signature: its model says JSON by now, so it is not among those of the query protocol."""
        if version != sqs_query.API_VERSION and _QUEUE_PATH.fullmatch(path) is None:
            return False
        return self._models.has("sqs") and self._models.service("sqs").has(action)

    def _by_form(
        self, action: str, version: str, signing_name: str | None, prefix: str | None, path: str
    ) -> Service | None:
        named = list(self._candidates(signing_name, prefix))
        for service in named:
            if service.has(action) and version in ("", service.api_version):
                return service
        if signing_name is None and self._is_sqs(action, version, path):
            return self._models.service("sqs")
        for summary in self._models.by_query_version(version):
            if (service := self._models.service(summary.name)).has(action):
                return service
        return next((s for s in named if s.protocol in ("query", "ec2")), None)

    def _by_address(
        self, request: WireRequest, signing_name: str | None, prefix: str | None
    ) -> tuple[str, Service | None, str | None]:
        first: Service | None = None
        for service in self._candidates(signing_name, prefix):
            first = first or service
            if service.protocol in ("rest-json", "rest-xml"):
                operation = self._router(service).find(request)
                if operation is not None:
                    return service.protocol, service, operation.name
        if first is not None:
            return first.protocol, first, POST_FORM if first.name == "s3" and _is_upload(request) else None
        return self._by_bare_address(request)

    def _by_bare_address(self, request: WireRequest) -> tuple[str, Service | None, str | None]:
        """Neither signature nor host say anything. Lambda's addresses begin with dates, so nothing is taken for it by
        mistake; what is left is S3's, as it is for every local stack."""
        for name in ("lambda", "s3"):
            operation = self._router(service := self._models.service(name)).find(request)
            if operation is not None:
                return service.protocol, service, operation.name
        return ("rest-xml", service, POST_FORM) if _is_upload(request) else ("rest-json", None, None)

    def _candidates(self, signing_name: str | None, prefix: str | None) -> Iterator[Service]:
        """The likeliest first; the index of all services is only built when that does not help."""
        seen: set[str] = set()
        likely = self._service(signing_name)
        if likely is not None and likely.signing_name == signing_name:
            seen.add(likely.name)
            yield likely
        summaries = [] if signing_name is None else self._models.by_signing_name(signing_name)
        if signing_name is None and prefix is not None:
            summaries = self._models.by_endpoint_prefix(prefix)
        for summary in summaries:
            if summary.name not in seen:
                yield self._models.service(summary.name)

    def _service(self, name: str | None) -> Service | None:
        return self._models.service(name) if name is not None and self._models.has(name) else None

    def _router(self, service: Service) -> Router:
        if service.name not in self._routers:
            self._routers[service.name] = Router(service)
        return self._routers[service.name]


def _is_upload(request: WireRequest) -> bool:
    return request.method == "POST" and request.headers.get("content-type", "").startswith("multipart/form-data")


def _form_of(request: WireRequest) -> tuple[str, str] | None:
    """Action and Version of a query-protocol request."""
    texts = []
    if request.method == "POST" and "x-www-form-urlencoded" in request.headers.get("content-type", ""):
        texts.append(request.body[:100_000].decode("utf-8", "replace"))
    if "Action=" in request.query:
        texts.append(request.query)
    for text in texts:
        values = parse_qs(text, keep_blank_values=True)
        if "Action" in values:
            return values["Action"][0], values.get("Version", [""])[0]
    return None


def host_parts(host: str) -> tuple[str | None, str | None]:
    """The endpoint prefix and the region that a host name has: `api.ecr.eu-west-1.amazonaws.com` → (`api.ecr`, `eu-west-1`)."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    for suffix in (".amazonaws.com.cn", ".amazonaws.com", ".api.aws", ".localhost.localstack.cloud", ".localhost"):
        if name.endswith(suffix):
            labels = name.removesuffix(suffix).split(".")
            region = next((label for label in labels if _REGION.fullmatch(label)), None)
            kept = [label for label in labels if label != region]
            return (".".join(kept) or None), region
    return None, None


def virtual_bucket(host: str) -> str | None:
    """The bucket of a virtual-hosted S3 address: `photos.s3.us-east-1.localhost:4566` → `photos`."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    found = _VIRTUAL_BUCKET.fullmatch(name)
    return found["bucket"] if found is not None else None
