"""Every operation of the services that matter, against botocore's own serializers and parsers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lambent.model.errors import AwsError
from lambent.wire.models import Models
from lambent.wire.protocols import PROTOCOLS
from lambent.wire.uri import Router

SERVICES = ["lambda", "logs", "sqs", "sns", "s3", "sts", "iam", "kinesis", "events", "dynamodb", "cloudwatch", "scheduler",
            "cloudfront", "codedeploy", "xray", "stepfunctions"]  # fmt: skip
CBOR = "smithy-rpc-v2-cbor"
# The protocol that botocore chooses, and the others that such a service speaks with other clients.
CASES = [(service, None) for service in SERVICES] + [("cloudwatch", CBOR), ("cloudwatch", "query"), ("codedeploy", CBOR),
         ("eventbridgev2", CBOR)]  # fmt: skip
SEEDS = 3
SAME_ADDRESS = {"ListDirectoryBuckets"}  # told from ListBuckets by nothing but the host name
AMBIGUOUS = {
    "GetBucketNotification",
    "PutBucketNotification",
}  # two members of one name, which botocore's parser confuses
REST = ("rest-json", "rest-xml")


@pytest.mark.parametrize(("service", "chosen"), CASES)
def test_what_botocore_sends_is_what_we_read(
    service: str, chosen: str | None, models: Models, peer_of: Callable[[str], Any], sampler: Callable[[str, str], Any]
) -> None:
    peer, ours = peer_of(service), models.service(service)
    protocol = PROTOCOLS[chosen or peer.model.resolved_protocol]
    router = Router(ours) if ours.protocol in REST else None
    for name in set(ours.operation_names) - AMBIGUOUS:
        for seed in range(SEEDS):
            sent = sampler(f"{name}-{seed}", chosen or peer.model.resolved_protocol).members(
                peer.operation(name).input_shape
            )
            request = peer.request(name, sent, chosen)
            if router is not None:
                found = router.find(request)
                assert found is not None
                assert found.name == name or name in SAME_ADDRESS or peer.operation(name).deprecated, (
                    request.path,
                    request.query,
                )
            read = protocol.parse_request(ours.operation(name), request)
            if "ContentLength" not in sent:
                read.pop("ContentLength", None)  # the HTTP client's own header, which is a member of S3's PutObject
            assert pruned(read) == pruned(sent), name


@pytest.mark.parametrize(("service", "chosen"), CASES)
def test_what_we_answer_is_what_botocore_reads(
    service: str, chosen: str | None, models: Models, peer_of: Callable[[str], Any], sampler: Callable[[str, str], Any]
) -> None:
    peer, ours = peer_of(service), models.service(service)
    protocol = PROTOCOLS[chosen or peer.model.resolved_protocol]
    for name in ours.operation_names:
        output = peer.operation(name).output_shape
        if name in AMBIGUOUS or (output is not None and has_event_stream_payload(output)):
            continue
        for seed in range(SEEDS):
            result = sampler(f"{name}-{seed}-answer", chosen or peer.model.resolved_protocol).members(output)
            response = protocol.serialize_response(ours.operation(name), result, "the-request-id")
            if name == "GetBucketLocation":  # its document is one element, which botocore reads in a handler
                assert result.get("LocationConstraint", "") in response.body.decode()
                continue
            raw_name, raw = take_raw_payload(output, result)
            if raw_name is not None:
                assert response.body == raw
                continue
            parsed = peer.parse(name, response, chosen)
            metadata = parsed.pop("ResponseMetadata")
            assert output is None or metadata["RequestId"] == "the-request-id"
            without_empty_headers = {k: v for k, v in parsed.items() if not (v == {} and k not in result)}
            expected = dict(result)
            if output is not None:
                for member_name, member in output.members.items():
                    if member.serialization.get("location") == "statusCode":
                        expected[member_name] = response.status
            assert pruned(without_empty_headers) == pruned(expected), name


@pytest.mark.parametrize(("service", "chosen"), CASES)
def test_every_modelled_error_has_its_code_and_message_at_the_client(
    service: str, chosen: str | None, models: Models, peer_of: Callable[[str], Any], sampler: Callable[[str, str], Any]
) -> None:
    peer, ours = peer_of(service), models.service(service)
    protocol = PROTOCOLS[chosen or peer.model.resolved_protocol]
    request = peer.request(ours.operation_names[0], sampler("e", chosen or peer.model.resolved_protocol).members(
        peer.operation(ours.operation_names[0]).input_shape), chosen)  # fmt: skip
    for shape in peer.model.error_shapes:
        error = AwsError(shape.name, "What went <wrong> & why", 400)
        response = protocol.serialize_error(error, request, "the-request-id", ours)
        parsed = peer.parse_error(response, chosen)
        if request.method == "HEAD":
            continue
        assert parsed["Error"]["Message"] == "What went <wrong> & why"
        assert parsed["ResponseMetadata"]["RequestId"] == "the-request-id"
        code = parsed["Error"].get("QueryErrorCode", parsed["Error"]["Code"])
        assert code == shape.name or peer.model.shape_for_error_code(code) is not None, parsed


def pruned(value: Any) -> Any:
    """Forms and XML cannot say that a structure is there and empty, and an absent REST-JSON payload is sent as an empty
    object. S3's Expires stays the text that came."""
    if isinstance(value, dict):
        kept = {k: pruned(v) for k, v in value.items() if k != "Expires"}
        return {k: v for k, v in kept.items() if v != {}}
    return [pruned(item) for item in value] if isinstance(value, list) else value


def has_event_stream_payload(shape: Any) -> bool:
    return any(member.serialization.get("eventstream") for member in shape.members.values())


def take_raw_payload(shape: Any, result: dict[str, Any]) -> tuple[str | None, bytes]:
    payload = shape.serialization.get("payload") if shape is not None else None
    if payload is None or shape.members[payload].type_name not in ("blob", "string"):
        return None, b""
    value = result.get(payload, b"")
    return payload, value.encode() if isinstance(value, str) else value
