"""What protocols do at their edges, as data: text forms, odd places, empty and hostile bodies."""

from __future__ import annotations

import base64
import datetime
import json
import math
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.errors import AwsError
from lambent.wire import cbor, eventstream, rest, values, xml_body
from lambent.wire.messages import WireRequest
from lambent.wire.models import Models
from lambent.wire.protocols import PROTOCOLS
from lambent.wire.shapes import Service
from lambent.wire.uri import Router, template

UTC = datetime.UTC
NOON = datetime.datetime(2026, 7, 31, 12, 0, 0, tzinfo=UTC)


def service(protocol: str, members: Mapping[str, Any], http: Mapping[str, Any] | None = None, **shapes: Any) -> Service:
    """A service of one operation, whose input and output have these members."""
    structure = {"type": "structure", "members": members, **shapes.pop("structure", {})}
    scalars = {
        n: {"type": n.lower()} for n in ("String", "Integer", "Long", "Float", "Double", "Boolean", "Blob", "Timestamp")
    }
    model = {
        "metadata": {
            "protocol": protocol,
            "apiVersion": "2020-01-01",
            "endpointPrefix": "x",
            "targetPrefix": "X",
            "jsonVersion": "1.1",
        },
        "operations": {
            "Do": {
                "name": "Do",
                "http": http or {"method": "POST", "requestUri": "/"},
                "input": {"shape": "S"},
                "output": {"shape": "S"},
            }
        },
        "shapes": {"S": structure, **scalars, **shapes},
    }
    return Service("x", model)


def read(of: Service, **request: Any) -> dict[str, Any]:
    wire = WireRequest(**{"method": "POST", "path": "/", **request})
    return PROTOCOLS[of.protocol].parse_request(of.operation("Do"), wire)


def written(of: Service, result: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    response = PROTOCOLS[of.protocol].serialize_response(of.operation("Do"), result, "id")
    return response.body, dict(response.headers)


# Scalars


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-07-31T12:00:00Z", NOON),
        ("2026-07-31T12:00:00.000Z", NOON),
        ("2026-07-31T14:00:00+02:00", NOON),
        ("2026-07-31T12:00:00.123456Z", NOON.replace(microsecond=123456)),
        ("2026-07-31T12:00:00", NOON),
        ("2026-07-31", NOON.replace(hour=0)),
        ("Fri, 31 Jul 2026 12:00:00 GMT", NOON),
        ("Fri, 31 Jul 2026 14:00:00 +0200", NOON),
        ("1785499200", NOON),
        ("1785499200.5", NOON.replace(microsecond=500_000)),
        ("1.7854992e9", NOON),
        ("-1", datetime.datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_times_are_read_in_every_format(text: str, moment: datetime.datetime) -> None:
    assert values.timestamp_from_text(text) == moment


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01T00:00:00Z", "1e300", "Fri, 99 Jul 2026 12:00:00 GMT"])
def test_what_is_no_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        values.timestamp_from_text(text)


@pytest.mark.parametrize(
    ("timestamp_format", "text"),
    [
        ("iso8601", "2026-07-31T12:00:00.120Z"),
        ("rfc822", "Fri, 31 Jul 2026 12:00:00 GMT"),
        ("unixTimestamp", "1785499200.12"),
    ],
)
def test_times_are_written_in_every_format(timestamp_format: str, text: str) -> None:
    assert values.timestamp_to_text(NOON.replace(microsecond=120_000), timestamp_format) == text


@given(
    st.datetimes(
        timezones=st.just(UTC), min_value=datetime.datetime(1900, 1, 1), max_value=datetime.datetime(2200, 1, 1)
    )
)
def test_a_time_survives_as_text_and_nearly_as_a_number(moment: datetime.datetime) -> None:
    assert values.timestamp_from_text(values.timestamp_to_text(moment, "iso8601")) == moment
    assert abs(values.timestamp_from_number(values.timestamp_to_number(moment)) - moment) < datetime.timedelta(
        microseconds=2
    )


# JSON

EVERYTHING = {
    "s": {"shape": "String"}, "i": {"shape": "Integer"}, "f": {"shape": "Float"}, "b": {"shape": "Boolean"},
    "blob": {"shape": "Blob"}, "t": {"shape": "Timestamp"}, "l": {"shape": "L"}, "m": {"shape": "M"}, "n": {"shape": "N"},
    "iso": {"shape": "Iso"}, "http": {"shape": "Http"}, "d": {"shape": "D"}, "Renamed": {"shape": "String", "locationName": "re"},
}  # fmt: skip
INNER: dict[str, Any] = {
    "L": {"type": "list", "member": {"shape": "Integer"}},
    "M": {"type": "map", "key": {"shape": "String"}, "value": {"shape": "Integer"}},
    "N": {"type": "structure", "members": {"x": {"shape": "N"}, "s": {"shape": "String"}}},
    "Iso": {"type": "timestamp", "timestampFormat": "iso8601"},
    "Http": {"type": "timestamp", "timestampFormat": "rfc822"},
    "D": {"type": "structure", "members": {}, "document": True},
}
JSON = service("json", EVERYTHING, **INNER)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{}", {}),
        ("", {}),
        ("  ", {}),
        ('{"unknown": {"deep": [1]}, "s": null}', {}),
        ('{"i": 3.0, "f": 1, "b": false}', {"i": 3, "f": 1.0, "b": False}),
        ('{"f": "Infinity"}', {"f": math.inf}),
        (
            '{"blob": "AP8=", "t": 1785499200, "iso": "2026-07-31T12:00:00Z"}',
            {"blob": b"\x00\xff", "t": NOON, "iso": NOON},
        ),
        ('{"http": "Fri, 31 Jul 2026 12:00:00 GMT"}', {"http": NOON}),
        ('{"l": [1, null, 2], "m": {"a": 1, "b": null}}', {"l": [1, 2], "m": {"a": 1}}),
        ('{"n": {"x": {"x": {"s": "deep"}}}}', {"n": {"x": {"x": {"s": "deep"}}}}),
        (
            '{"d": {"any": [1, null, {"x": true}]}, "re": "named"}',
            {"d": {"any": [1, None, {"x": True}]}, "Renamed": "named"},
        ),
        ('{"s": "\\ud83c\\udf88"}', {"s": "🎈"}),
    ],
)
def test_json_is_read_by_its_shapes(body: str, expected: dict[str, Any]) -> None:
    assert read(JSON, body=body.encode()) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"i": "1"}', "STRING_VALUE can not be converted to an Integer"),
        ('{"i": true}', "TRUE_VALUE can not be converted to an Integer"),
        ('{"s": 1}', "NUMBER_VALUE can not be converted to a String"),
        ('{"s": false}', "FALSE_VALUE can not be converted to a String"),
        ('{"s": {}}', "Start of structure or map found where not expected."),
        ('{"s": []}', "Start of list found where not expected"),
        ('{"b": 1}', "NUMBER_VALUE can not be converted to a Boolean"),
        ('{"l": "x"}', "Unexpected field type"),
        ('{"l": {}}', "Start of structure or map found where not expected."),
        ('{"m": []}', "Start of list found where not expected"),
        ('{"n": "x"}', "Unexpected field type"),
        ('{"t": "2026"}', "STRING_VALUE can not be converted to milliseconds since epoch"),
        ('{"t": 1e300}', "the timestamp is out of range"),
        ('{"blob": "%%"}', "STRING_VALUE can not be converted to a Blob"),
        ("[]", "Start of list found where not expected"),
        ('"x"', "Unexpected field type"),
        ("{", "Could not parse request body into json: "),
        ("[" * 50_000, "Could not parse request body into json: "),
        ('{"s": "\udcff"}', "Could not parse request body into json: "),
    ],
)
def test_json_of_the_wrong_type_is_refused(body: str, message: str) -> None:
    with pytest.raises(AwsError) as caught:
        read(JSON, body=body.encode("utf-8", "surrogateescape"))
    assert (caught.value.code, caught.value.status) == ("SerializationException", 400)
    assert caught.value.message.startswith(message)


def test_json_is_written_without_what_is_absent_or_unknown() -> None:
    body, headers = written(
        JSON, {"s": None, "nobody": 1, "f": math.nan, "t": NOON, "blob": b"\x00", "l": [], "Renamed": "x"}
    )
    assert json.loads(body) == {"f": "NaN", "t": 1785499200, "blob": "AA==", "l": [], "re": "x"}
    assert headers["Content-Type"] == "application/x-amz-json-1.1"


# REST


def located(location: str, shape: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    return {"shape": shape, "location": location, **({"locationName": name} if name else {}), **more}


REST = service(
    "rest-json",
    {
        "Label": located("uri", "String"), "Greedy": located("uri", "String"), "At": located("querystring", "Timestamp", "at"),
        "Keys": located("querystring", "Keys", "key"), "Flag": located("querystring", "Boolean", "flag"),
        "Rest": located("querystring", "Rest"), "When": located("header", "Timestamp", "X-When"),
        "Items": located("header", "Keys", "X-Items"), "Dates": located("header", "Dates", "X-Dates"),
        "Json": located("header", "String", "X-Json", jsonvalue=True), "Meta": located("headers", "Rest", "X-Meta-"),
        "Body": {"shape": "String"},
    },
    {"method": "POST", "requestUri": "/a/{Label}/b/{Greedy+}?fixed=1"},
    Keys={"type": "list", "member": {"shape": "String"}},
    Rest={"type": "map", "key": {"shape": "String"}, "value": {"shape": "String"}},
    Dates={"type": "list", "member": {"shape": "Timestamp"}},
)  # fmt: skip


def test_rest_members_are_read_from_all_their_places() -> None:
    params = read(
        REST,
        path="/a/x%2Fy%20z%3A/b/one/two%2Fthree/",
        query="fixed=1&at=2026-07-31T12%3A00%3A00Z&key=1&key=2&flag=true&more=a+b",
        headers={
            "x-when": "Fri, 31 Jul 2026 12:00:00 GMT", "x-items": 'a, "b,c", "d\\"e",f', "x-meta-one": "1", "x-meta-two": "ü",
            "x-dates": "Fri, 31 Jul 2026 12:00:00 GMT, Fri, 31 Jul 2026 12:00:00 GMT",
            "x-json": base64.b64encode(b'{"a": 1}').decode(),
        },
        body=b'{"Body": "text", "Label": "not from here"}',
    )  # fmt: skip
    assert params == {
        "Label": "x/y z:", "Greedy": "one/two/three/", "At": NOON, "Keys": ["1", "2"], "Flag": True, "Rest": {"more": "a b"},
        "When": NOON, "Items": ["a", "b,c", 'd"e', "f"], "Dates": [NOON, NOON], "Json": {"a": 1},
        "Meta": {"one": "1", "two": "ü"}, "Body": "text",
    }  # fmt: skip


@pytest.mark.parametrize(
    "request_parts",
    [{"query": "flag=maybe"}, {"query": "at=soon"}, {"headers": {"x-json": "%"}}, {"headers": {"x-when": "x"}}],
)
def test_rest_members_that_are_not_of_their_type_are_refused(request_parts: dict[str, Any]) -> None:
    with pytest.raises(AwsError) as caught:
        read(REST, **{"path": "/a/l/b/g", "body": b"{}", **request_parts})
    assert caught.value.code == "SerializationException"


def test_rest_answers_put_members_where_they_belong() -> None:
    body, headers = written(REST, {"When": NOON, "Items": ["a", 'b,"c'], "Json": [1], "Meta": {"k": "v"}, "Body": "x"})
    assert json.loads(body) == {"Body": "x"}
    assert headers["X-When"] == "Fri, 31 Jul 2026 12:00:00 GMT"
    assert headers["X-Items"] == 'a,"b,\\"c"'
    assert rest.split_list(headers["X-Items"]) == ["a", 'b,"c']
    assert base64.b64decode(headers["X-Json"]) == b"[1]"
    assert headers["X-Meta-k"] == "v"


@pytest.mark.parametrize(
    ("uri", "path", "labels"),
    [
        ("/{A}", "/x", {"A": "x"}),
        ("/{A}", "/x/", {"A": "x"}),
        ("/{A}", "/x/y", None),
        ("/{A}", "/", None),
        ("/{A}/{B+}", "/x/y/z/", {"A": "x", "B": "y/z/"}),
        ("/{A}/{B+}", "/x/", None),
        ("/f/{A}/tags", "/f/arn%3Aaws%3Ax%2Fy/tags", {"A": "arn:aws:x/y"}),
        ("/f/{A}/tags", "/f/arn:aws:x/tags", {"A": "arn:aws:x"}),
        ("/f/", "/f", {}),
        ("/f.x", "/fax", None),
        ("/{A+}", "/%2F%0A", {"A": "/\n"}),
    ],
)
def test_addresses_are_matched_with_their_labels_decoded(uri: str, path: str, labels: dict[str, str] | None) -> None:
    assert template(uri).labels_in(path) == labels


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "operation"),
    [
        ("GET", "/", "", {}, "ListBuckets"),
        ("GET", "/b", "", {}, "ListObjects"),
        ("GET", "/b/", "", {}, "ListObjects"),
        ("GET", "/b", "list-type=2&prefix=x", {}, "ListObjectsV2"),
        ("GET", "/b", "acl", {}, "GetBucketAcl"),
        ("GET", "/b", "acl=", {}, "GetBucketAcl"),
        ("GET", "/b/k/with/slashes", "x-id=GetObject", {}, "GetObject"),
        ("GET", "/b/k", "uploadId=1", {}, "ListParts"),
        ("PUT", "/b/k", "", {}, "PutObject"),
        ("PUT", "/b/k", "", {"x-amz-copy-source": "x/y"}, "CopyObject"),
        ("PUT", "/b/k", "partNumber=1&uploadId=2", {}, "UploadPart"),
        ("PUT", "/b/k", "partNumber=1&uploadId=2", {"x-amz-copy-source": "x/y"}, "UploadPartCopy"),
        ("POST", "/b", "delete", {}, "DeleteObjects"),
        ("POST", "/b/k", "uploads", {}, "CreateMultipartUpload"),
        ("DELETE", "/b/k", "uploadId=2", {}, "AbortMultipartUpload"),
        ("DELETE", "/b/k", "", {}, "DeleteObject"),
        ("PATCH", "/b/k", "", {}, None),
    ],
)
def test_s3_operations_are_told_apart(
    models: Models, method: str, path: str, query: str, headers: dict[str, str], operation: str | None
) -> None:
    found = Router(models.service("s3")).find(WireRequest(method=method, path=path, query=query, headers=headers))
    assert (found.name if found is not None else None) == operation


# Forms

FORM = service(
    "query",
    {
        "Name": {"shape": "String"}, "Empty": {"shape": "Plain"}, "Plain": {"shape": "Plain"}, "Flat": {"shape": "Flat"},
        "Map": {"shape": "Map"}, "FlatMap": {"shape": "FlatMap"}, "Nest": {"shape": "Nest"}, "Blob": {"shape": "Blob"},
        "Time": {"shape": "Timestamp"},
    },
    Plain={"type": "list", "member": {"shape": "String"}},
    Flat={"type": "list", "member": {"shape": "String", "locationName": "Item"}, "flattened": True},
    Map={"type": "map", "key": {"shape": "String"}, "value": {"shape": "Integer"}},
    FlatMap={"type": "map", "key": {"shape": "String", "locationName": "Name"},
             "value": {"shape": "String", "locationName": "Value"}, "flattened": True},
    Nest={"type": "structure", "members": {"List": {"shape": "Nests"}, "x": {"shape": "String"}}},
    Nests={"type": "list", "member": {"shape": "Nest"}},
)  # fmt: skip


def test_forms_spell_trees() -> None:
    form = {
        "Action": "Do", "Version": "2020-01-01", "Name": "a b+&=ü", "Empty": "", "Plain.member.2": "two", "Plain.member.1": "one",
        "Plain.member.10": "ten", "Item.1": "i", "Map.entry.1.key": "k", "Map.entry.1.value": "7", "FlatMap.1.Name": "n",
        "FlatMap.1.Value": "v", "Nest.List.member.1.List.member.1.x": "deep", "Blob": "AA==", "Time": "2026-07-31T12:00:00Z",
        "Unknown.1.x": "y",
    }  # fmt: skip
    assert read(FORM, body=urlencode(form).encode()) == {
        "Name": "a b+&=ü", "Empty": [], "Plain": ["one", "two", "ten"], "Flat": ["i"], "Map": {"k": 7}, "FlatMap": {"n": "v"},
        "Nest": {"List": [{"List": [{"x": "deep"}]}]}, "Blob": b"\x00", "Time": NOON,
    }  # fmt: skip


def test_a_form_may_come_in_the_query_of_a_get() -> None:
    assert read(FORM, method="GET", query="Action=Do&Name=x") == {"Name": "x"}


@pytest.mark.parametrize("body", ["Map.entry.1.key=k&Map.entry.1.value=x", "Time=soon", "Blob=%25"])
def test_values_of_a_form_that_are_not_of_their_type_are_refused(body: str) -> None:
    with pytest.raises(AwsError) as caught:
        read(FORM, body=body.encode())
    assert caught.value.code == "SerializationException"


def test_a_form_of_a_million_dots_is_no_trouble() -> None:
    assert read(FORM, body=b"Nest" + b".List.member.1" * 100_000 + b".x=1") is not None


# XML

XML_SHAPES: dict[str, Any] = {
    "S": {
        "type": "structure", "payload": "Doc", "members": {"Doc": {"shape": "Doc", "locationName": "Document"}},
    },
    "Doc": {
        "type": "structure", "xmlNamespace": {"uri": "http://x/"},
        "members": {
            "Type": {"shape": "String", "locationName": "xsi:type", "xmlAttribute": True},
            "Rules": {"shape": "Rules", "locationName": "Rule"}, "Names": {"shape": "Names"}, "Map": {"shape": "Map"},
            "Text": {"shape": "String"}, "At": {"shape": "Timestamp"},
        },
    },
    "Rules": {"type": "list", "member": {"shape": "String"}, "flattened": True},
    "Names": {"type": "list", "member": {"shape": "String", "locationName": "Name"}},
    "Map": {"type": "map", "key": {"shape": "String"}, "value": {"shape": "Integer"}},
}  # fmt: skip
XML = service("rest-xml", {}, **XML_SHAPES)
DOCUMENT = (
    '<Document xmlns="http://x/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Kind"><Rule>a</Rule>'
    "<Rule>&lt;b&gt;</Rule><Names><Name>n</Name><Name/></Names><Map><entry><key>k</key><value>1</value></entry></Map>"
    "<Text> two  words </Text><Strange><x/></Strange><At>2026-07-31T12:00:00Z</At></Document>"
)


def test_xml_is_read_with_its_attributes_namespaces_and_flat_lists() -> None:
    assert read(XML, body=DOCUMENT.encode()) == {
        "Doc": {
            "Type": "Kind", "Rules": ["a", "<b>"], "Names": ["n", ""], "Map": {"k": 1}, "Text": " two  words ", "At": NOON,
        }
    }  # fmt: skip


@pytest.mark.parametrize(
    "body", ["<a", "text", '<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>', "<a>&undefined;</a>", "\x00"]
)
def test_malformed_or_dangerous_xml_is_refused(body: str) -> None:
    with pytest.raises(AwsError) as caught:
        read(XML, body=body.encode())
    assert (caught.value.code, caught.value.status) == ("MalformedXML", 400)


def test_what_xml_cannot_hold_is_written_as_references() -> None:
    writer = xml_body.Writer()
    writer.text("a", "x\x01 <&>\r")
    assert writer.document().endswith(b"<a>x&#x1; &lt;&amp;&gt;&#xD;</a>")


# CBOR

items = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats(allow_nan=False) | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(items)
def test_cbor_survives_the_round_trip(value: Any) -> None:
    assert cbor.decode(cbor.encode(value)) == value


@given(st.binary(max_size=60))
def test_garbage_is_no_cbor_or_some_value_and_nothing_else(data: bytes) -> None:
    try:
        cbor.decode(data)
    except (ValueError, OverflowError):
        return


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("9f0102ff", [1, 2]),
        ("bf6161 01ff", {"a": 1}),
        ("5f4161 4162ff", b"ab"),
        ("7f6161 6162ff", "ab"),
        ("c11a6a6c8fc0", datetime.datetime.fromtimestamp(0x6A6C8FC0, UTC)),
        ("c1fb3ff8000000000000", datetime.datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)),
        ("f93e00", 1.5),
        ("fa3fc00000", 1.5),
        ("f7", None),
        ("3903e7", -1000),
    ],
)
def test_cbor_forms_that_other_clients_send_are_read(data: str, value: Any) -> None:
    assert cbor.decode(bytes.fromhex(data)) == value


@pytest.mark.parametrize(
    "data", [b"", b"\x81" * 100_000, b"\x9b" + b"\xff" * 8, b"\x5b" + b"\xff" * 8, b"\x01\x01", b"\xff"]
)
def test_hostile_cbor_is_refused_quickly(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        cbor.decode(data)


# Event streams


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=20), st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=40)
    ),
    st.binary(max_size=100),
)
def test_frames_are_read_by_botocore_and_by_us(headers: dict[str, Any], payload: bytes) -> None:
    headers = {name: value for name, value in headers.items() if len(name.encode()) <= 255}
    frame = eventstream.encode_message(headers.items(), payload)
    buffer = EventStreamBuffer()
    buffer.add_data(frame)
    (message,) = list(buffer)
    assert (message.headers, message.payload) == (headers, payload)
    found = eventstream.decode_message(frame + b"more")
    assert found is not None
    assert (dict(found[0].headers), found[0].payload, found[1]) == (headers, payload, len(frame))
    assert eventstream.decode_message(frame[:-1]) is None


@given(st.binary(min_size=12, max_size=60), st.integers(0, 400), st.integers(1, 255))
def test_a_damaged_frame_is_noticed(payload: bytes, at: int, change: int) -> None:
    frame = bytearray(eventstream.event("e", payload, "text/plain"))
    frame[at % len(frame)] ^= change
    try:
        found = eventstream.decode_message(bytes(frame))
    except ValueError:
        return
    assert found is None


async def test_modelled_streams_are_read_by_botocore(models: Models) -> None:
    operation = models.service("logs").operation("StartLiveTail")

    async def events() -> AsyncIterator[dict[str, Any]]:
        yield {"sessionStart": {"requestId": "r", "logGroupIdentifiers": ["g"]}}
        yield {
            "sessionUpdate": {
                "sessionMetadata": {"sampled": False},
                "sessionResults": [{"message": "m", "timestamp": 5}],
            }
        }
        raise AwsError("SessionTimeoutException", "too long", 400)

    response = PROTOCOLS["json"].serialize_response(operation, {"responseStream": events()}, "id")
    assert response.stream is not None
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join([frame async for frame in response.stream]))
    messages = list(buffer)
    kinds = [m.headers.get(":event-type") or m.headers.get(":exception-type") for m in messages]
    assert kinds == ["initial-response", "sessionStart", "sessionUpdate", "SessionTimeoutException"]
    assert json.loads(messages[2].payload)["sessionResults"] == [{"message": "m", "timestamp": 5}]
    assert json.loads(messages[3].payload) == {"message": "too long"}


def test_the_models_are_indexed_by_what_requests_carry(models: Models) -> None:
    assert len(models.index) > 400
    assert models.by_target_prefix("Logs_20140328")[0].name == "logs"
    assert models.by_signing_name("lambda")[0].name == "lambda"
    assert models.by_endpoint_prefix("states")[0].name == "stepfunctions"
    assert "iam" in {summary.name for summary in models.by_query_version("2010-05-08")}
    with pytest.raises(KeyError):
        models.service("../../etc")
    assert not models.has("nosuchservice")
