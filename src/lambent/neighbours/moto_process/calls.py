"""A request on its way through moto: from what the server sent to moto's own handler, and back."""

from __future__ import annotations

import functools
import re
import threading
import urllib.parse
from collections.abc import Callable
from typing import Any, Final

import attrs
import botocore.exceptions
import botocore.handlers
import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from moto import backend_index, backends
from moto.core.base_backend import BackendDict
from moto.core.botocore_stubber import MockRawResponse
from moto.core.request import Request
from werkzeug.exceptions import HTTPException

from lambent.model.errors import AwsError
from lambent.neighbours.frames import Call, Wire
from lambent.neighbours.moto_process.backends import Unit, holder_of

HOME_ACCOUNT: Final = "000000000000"  # whichever: only its addresses are read
CLIENTS_MAX: Final = 64
# botocore's handlers that change members on their way: what clients of ours have done already, or will do.
_FOR_USERS: Final = frozenset(
    {"base64_encode_user_data", "copy_source_sse_md5", "decode_console_output", "decode_list_object",
     "decode_list_object_v2", "decode_list_object_versions", "handle_copy_source_param", "json_decode_policies",
     "set_list_objects_encoding_type_url", "sse_md5"}
)  # fmt: skip
_DROPPED: Final = frozenset(
    {"authorization", "user-agent", "host", "content-length", "x-moto-account-id", "x-amz-security-token", "expect",
     "transfer-encoding", "connection"}
)  # fmt: skip
_KEPT_BACK: Final = frozenset({"status", "server", "date", "transfer-encoding", "connection"})

Handler = Callable[..., Any]
Answered = tuple[int, list[tuple[str, str]], bytes]


@attrs.frozen(kw_only=True)
class Requested:
    """Which request it is, whichever way it came."""

    service: str
    operation: str
    account_id: str
    region: str
    request_id: str
    access_key_id: str | None
    object_of_s3: tuple[str, str] | None  # bucket and key

    @classmethod
    def of(cls, question: Wire | Call) -> Requested:
        return cls(
            service=question.service,
            operation=question.operation,
            account_id=question.account_id,
            region=question.region,
            request_id=question.request_id,
            access_key_id=question.access_key_id,
            object_of_s3=_object_of(question) if question.service == "s3" else None,
        )


def _object_of(question: Wire | Call) -> tuple[str, str] | None:
    if isinstance(question, Call):
        bucket, key = question.request.get("Bucket"), question.request.get("Key")
    else:
        bucket, _, key = urllib.parse.unquote(question.path).lstrip("/").partition("/")
    return (bucket, key) if bucket and key else None


def unit_for(requested: Requested) -> Unit | None:
    """The backend that a request is about; None for services that moto keeps in no such place. Raises AwsError."""
    holder = holder_for(requested.service, requested.region)
    if holder is None:
        return None
    regional = not holder_is_global(requested.service)
    return Unit(holder, requested.account_id, requested.region if regional else _partition(requested.region))


@functools.cache
def holder_for(service: str, region: str) -> str | None:
    found = _handlers(host_for(service, region))
    backend = found[0][1]
    return None if backend is None else holder_of(backend)


@functools.cache
def holder_is_global(service: str) -> bool:
    """Whether moto keeps it by partition."""
    found = _handlers(host_for(service, "us-east-1"))
    return found[0][2]


def _partition(region: str) -> str:
    from moto.utilities.utils import get_partition

    partition: str = get_partition(region)
    return partition


@functools.cache
def _session() -> Any:
    return botocore.session.Session(profile=None)


@functools.cache
def host_for(service: str, region: str) -> str:
    """The host name of AWS's own endpoint. Raises AwsError for a service that nobody knows."""
    if service in REFUSED:
        raise _not_offered(service)
    if service == "s3":
        return "s3.amazonaws.com"
    try:
        prefix = _session().get_service_model(service).endpoint_prefix
        found = _session().get_component("endpoint_resolver").construct_endpoint(prefix, region)
        if found is None:
            return f"{prefix}.{region}.amazonaws.com"
    except botocore.exceptions.UnknownServiceError as error:
        raise _not_offered(service) from error
    host: str = found["hostname"]
    return host


@functools.cache
def _handlers(host: str) -> list[tuple[list[tuple[re.Pattern[str], Handler]], type | None, bool]]:
    """For each of moto's services at a host: its addresses, its class of backends, whether it is global.

    Raises AwsError when there is none.
    """
    result = []
    for name, pattern in backend_index.backend_url_patterns:
        if not pattern.match(f"https://{host}/"):
            continue
        holder: Any = backends.get_backend(name)
        is_dict = isinstance(holder, BackendDict)
        if is_dict:
            account = holder[HOME_ACCOUNT]
            backend = account["us-east-1"] if "us-east-1" in account.regions else account["aws"]
            is_global = "us-east-1" not in account.regions
        else:
            backend, is_global = holder["global"], True
        urls = [(re.compile(url), handler) for url, handler in backend.urls.items()]
        result.append((urls, type(backend) if is_dict else None, is_global))
    if not result:
        raise _not_offered(host.split(".")[0])
    return result


# What moto has and does not do: it would say yes and nothing would happen.
REFUSED: Final = frozenset({"batch", "cloudformation", "lambda", "logs"})


def _not_offered(service: str) -> AwsError:
    return AwsError("NotImplemented", f"The service {service} is not offered by Lambent.", 501)


def send(requested: Requested, method: str, url: str, headers: list[tuple[str, str]], body: bytes) -> Answered:
    """Through moto. Raises what moto raises: NotImplementedError for an operation that it has not."""
    parsed = urllib.parse.urlsplit(url)
    clean_url = f"{parsed.scheme}://{parsed.netloc}{parsed.path}"
    handler = _handler(parsed.netloc, clean_url)
    if handler is None:
        raise NotImplementedError
    kept = {name: value for name, value in headers if name.lower() not in _DROPPED}
    key = requested.access_key_id or "AKIAEXAMPLE"
    scope = f"{key}/20200101/{requested.region}/{requested.service}/aws4_request"
    kept["Authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
    kept["x-moto-account-id"] = requested.account_id
    kept["Host"] = parsed.netloc
    kept["Content-Length"] = str(len(body))
    request = Request.from_primitives(method, url, kept, body)
    request.environ["RAW_URI"] = parsed.path
    try:
        status, answer_headers, content = handler(request, request.raw_url, request.headers)
    except HTTPException as error:
        status, content = error.code or 500, error.get_body()
        answer_headers = dict(error.get_headers())
    return int(status), _headers(answer_headers, method, requested.request_id), _bytes(content)


def _handler(host: str, url: str) -> Handler | None:
    for urls, _, _ in _handlers(host):
        for pattern, handler in urls:
            if pattern.match(url):
                return handler
    return None


def _headers(headers: Any, method: str, request_id: str) -> list[tuple[str, str]]:
    kept: list[tuple[str, str]] = []
    for name, value in dict(headers).items():
        lower = name.lower()
        if lower in _KEPT_BACK or (lower == "content-length" and method != "HEAD") or lower.endswith("requestid"):
            continue
        kept.append((name, value.decode() if isinstance(value, bytes) else str(value)))
    kept.append(("x-amzn-RequestId", request_id))
    return kept


def _bytes(content: Any) -> bytes:
    if content is None:
        return b""
    return content if isinstance(content, bytes) else str(content).encode()


def serve_wire(question: Wire, body: bytes) -> Answered:
    """A client's request as it came."""
    host = host_for(question.service, question.region)
    query = f"?{question.query}" if question.query else ""
    url = f"https://{host}{question.path}{query}"
    return send(Requested.of(question), question.method, url, question.headers, body)


_current: Final = threading.local()


def serve_call(question: Call) -> dict[str, Any]:
    """An operation by its members. Raises AwsError as the service answered."""
    client = _client(question.service, question.region, question.as_sent)
    _current.requested = Requested.of(question)
    try:
        method = getattr(client, botocore.xform_name(question.operation), None)
        if method is None:
            raise NotImplementedError
        answer = method(**question.request)
    except botocore.exceptions.ClientError as error:
        told = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
        raise AwsError(told.get("Code", "Unknown"), told.get("Message", ""), status) from error
    except botocore.exceptions.ParamValidationError as error:
        raise AwsError("ValidationException", str(error)) from error
    finally:
        _current.requested = None
    answer.pop("ResponseMetadata", None)
    return {name: value.read() if hasattr(value, "read") else value for name, value in answer.items()}


@functools.lru_cache(CLIENTS_MAX)
def _client(service: str, region: str, as_sent: bool) -> Any:
    """A client whose requests go to moto without leaving the process."""
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, user_agent="lambent")
    try:
        client = _session().create_client(
            service,
            region_name=region,
            aws_access_key_id="AKIAEXAMPLE",
            aws_secret_access_key="none",
            config=config,
            endpoint_url=f"https://{host_for(service, region)}",
        )
    except botocore.exceptions.UnknownServiceError as error:
        raise _not_offered(service) from error
    if as_sent:
        for event, handler, *_ in botocore.handlers.BUILTIN_HANDLERS:
            if getattr(handler, "__name__", "") in _FOR_USERS:
                client.meta.events.unregister(event, handler)
    client.meta.events.register_first("before-send", _answer_here)
    return client


def _answer_here(request: Any, **_: Any) -> AWSResponse:
    body = request.body
    if body is None:
        body = b""
    elif hasattr(body, "read"):
        body = body.read()
    elif isinstance(body, str):
        body = body.encode()
    headers = [(n, v.decode() if isinstance(v, bytes) else str(v)) for n, v in request.headers.items()]
    status, answer_headers, content = send(_current.requested, request.method, request.url, headers, bytes(body))
    from botocore.compat import HTTPHeaders

    found = HTTPHeaders()
    for name, value in answer_headers:
        found[name] = value
    return AWSResponse(request.url, status, found, MockRawResponse(content))
