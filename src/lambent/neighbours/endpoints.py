"""Services that the configuration sends to real endpoints: requests are signed again with credentials of the server's own.

botocore is imported when the first such request comes; each runs on one of its service's threads, so that an endpoint which
does not answer, and clients that poll a queue for long, hold up nothing else.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, ParamSpec, TypeVar

from lambent.model.errors import AwsError, service_fault
from lambent.model.request import RequestContext
from lambent.wire.messages import WireRequest, WireResponse

# Of the client's own connection and signature: they end here.
_DROPPED: Final = frozenset(
    {"authorization", "connection", "content-length", "expect", "host", "transfer-encoding", "x-amz-content-sha256",
     "x-amz-date", "x-amz-security-token"}
)  # fmt: skip
_SIGNATURE: Final = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-Security-Token",
                     "X-Amz-Signature", "X-Amz-SignedHeaders")  # fmt: skip
_KEPT_BACK: Final = frozenset({"connection", "transfer-encoding", "date", "content-length", "server"})


THREADS: Final = 32  # of each service: as many requests at the same time, and connections

P = ParamSpec("P")
T = TypeVar("T")


class Endpoints:
    """`urls` by botocore's service names. Credentials are the standard ones of AWS's tools: environment, profile, role."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self.urls = dict(urls)
        self._threads = {
            service: concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix=f"lambent-{service}")
            for service in urls
        }

    def url_of(self, service: str) -> str | None:
        return self.urls.get(service)

    async def forward(self, context: RequestContext, service: str, request: WireRequest) -> WireResponse:
        """A client's request, sent on. Raises AwsError ServiceException when the endpoint cannot be reached."""
        return await self._on_thread(service, self._forward, context, service, request)

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Raises AwsError as the endpoint answered, or ServiceException when it cannot be reached."""
        return await self._on_thread(service, self._call, context, service, operation, request)

    async def _on_thread(self, service: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        work_of_service = functools.partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads[service], work_of_service)

    def _call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        import botocore
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            client = self._client(service, context.region)
            answer: dict[str, Any] = getattr(client, botocore.xform_name(operation))(**request)
            answer.pop("ResponseMetadata", None)
            return {name: value.read() if hasattr(value, "read") else value for name, value in answer.items()}
        except ClientError as error:
            told = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
            raise AwsError(told.get("Code", "Unknown"), told.get("Message", ""), status) from error
        except BotoCoreError as error:
            raise self._unreachable(service, error) from error

    def _forward(self, context: RequestContext, service: str, request: WireRequest) -> WireResponse:
        from botocore.auth import S3SigV4Auth, SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError

        query = _without_signature(request.query)
        url = self.urls[service].rstrip("/") + request.path + (f"?{query}" if query else "")
        headers = {name: value for name, value in request.headers.items() if name not in _DROPPED}
        outgoing = AWSRequest(method=request.method, url=url, headers=headers, data=request.body)
        try:
            credentials = _session().get_credentials()
            if credentials is None:
                raise service_fault(
                    f"There are no AWS credentials for the endpoint of {service}: set AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, for the server."
                )
            signing_name = self._client(service, context.region).meta.service_model.signing_name
            signer = S3SigV4Auth if service == "s3" else SigV4Auth
            signer(credentials.get_frozen_credentials(), signing_name, context.region).add_auth(outgoing)
            answer = _http().send(outgoing.prepare())
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _KEPT_BACK]
            return WireResponse(status=answer.status_code, headers=kept, body=answer.content)
        except BotoCoreError as error:
            raise self._unreachable(service, error) from error

    def _client(self, service: str, region: str) -> Any:
        return _client(service, region, self.urls[service])

    def _unreachable(self, service: str, error: Exception) -> AwsError:
        return service_fault(f"The endpoint of {service}, {self.urls[service]}, cannot be used: {error}")


@functools.cache
def _session() -> Any:
    import botocore.session

    return botocore.session.Session()


@functools.lru_cache(64)
def _client(service: str, region: str, url: str) -> Any:
    return _session().create_client(service, region_name=region, endpoint_url=url)


@functools.cache
def _http() -> Any:
    from botocore.httpsession import URLLib3Session

    return URLLib3Session(max_pool_connections=THREADS)


def _without_signature(query: str) -> str:
    """A presigned query without its signature: the new one is in a header."""
    return "&".join(part for part in query.split("&") if part.partition("=")[0] not in _SIGNATURE)
