"""boto3 against a real server with real cages: what its users do, from the first function to the last."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.request
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from guests import NO_DATA
from lambent.runtimes.find import discover
from lambent.runtimes.python import sdk_fits
from lambent.runtimes.search import standard_paths
from live_server import REGION, ROLE, RUNNING_PYTHON, LiveServer, package, until

FOUND = discover(standard_paths(NO_DATA))
PYTHONS = sorted(name for name in FOUND if name.startswith("python"))
DRAWS = 60  # with even weights all of them hit one version once in 2^59 runs

SAYS = """
    import os
    def handler(event, context):
        return ["{}", context.function_version, os.environ.get("WHO")]
"""


def says(text: str) -> bytes:
    return package({"app.py": SAYS.format(text)})


def quick(waiter: Any, **members: Any) -> None:
    """A waiter of botocore's, which would otherwise look once a second."""
    waiter.wait(**members, WaiterConfig={"Delay": 0, "MaxAttempts": 5_000})


def test_a_function_is_created_changed_published_and_deleted(live: LiveServer) -> None:
    client, name = live.client(), f"life-{uuid.uuid4().hex[:8]}"
    created = client.create_function(
        FunctionName=name, Runtime=RUNNING_PYTHON, Handler="app.handler", Role=ROLE, Code={"ZipFile": says("one")},
        Description="a test", Timeout=5, MemorySize=256, Tags={"team": "a"}, Environment={"Variables": {"WHO": "me"}},
    )  # fmt: skip
    arn = f"arn:aws:lambda:{REGION}:000000000000:function:{name}"
    assert (created["FunctionArn"], created["State"], created["Version"]) == (arn, "Pending", "$LATEST")
    assert created["CodeSha256"] == base64.b64encode(hashlib.sha256(says("one")).digest()).decode()
    quick(client.get_waiter("function_active_v2"), FunctionName=name)
    quick(client.get_waiter("function_exists"), FunctionName=name)
    assert live.invoke(name).value == ["one", "$LATEST", "me"]

    client.update_function_code(FunctionName=name, ZipFile=says("two"))
    quick(client.get_waiter("function_updated_v2"), FunctionName=name)
    assert live.invoke(arn).value == ["two", "$LATEST", "me"]
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"WHO": "you"}}, Timeout=7)
    quick(client.get_waiter("function_updated"), FunctionName=name)
    assert live.invoke(f"000000000000:function:{name}").value == ["two", "$LATEST", "you"]

    published = client.publish_version(FunctionName=name, Description="first")
    quick(client.get_waiter("published_version_active"), FunctionName=name, Qualifier=published["Version"])
    assert published["FunctionArn"] == f"{arn}:1"
    client.update_function_code(FunctionName=name, ZipFile=says("three"), Publish=True)
    quick(client.get_waiter("function_updated_v2"), FunctionName=name)
    assert [live.invoke(name, Qualifier=q).value[:2] for q in ("1", "2", "$LATEST")] == [
        ["two", "1"], ["three", "2"], ["three", "$LATEST"],
    ]  # fmt: skip
    listed = client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in listed] == ["$LATEST", "1", "2"]

    code = client.get_function(FunctionName=name, Qualifier="1")["Code"]["Location"]
    with urllib.request.urlopen(code, timeout=10) as downloaded:
        assert downloaded.read() == says("two")
    client.delete_function(FunctionName=name)
    with pytest.raises(ClientError, match=r"ResourceNotFoundException.*Function not found: " + arn):
        live.invoke(name)


def test_an_alias_shares_its_calls_between_two_versions(live: LiveServer) -> None:
    client, name = live.client(), live.create(says("old"))
    client.publish_version(FunctionName=name)
    client.update_function_code(FunctionName=name, ZipFile=says("new"), Publish=True)
    client.create_alias(
        FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}}
    )
    answers = [live.invoke(f"{name}:live") for _ in range(DRAWS)]
    assert {(a.version, *a.value[:2]) for a in answers} == {("1", "old", "1"), ("2", "new", "2")}
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2", RoutingConfig={})
    assert {live.invoke(name, Qualifier="live").version for _ in range(5)} == {"2"}
    client.delete_alias(FunctionName=name, Name="live")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        live.invoke(f"{name}:live")


def test_layers_lie_over_each_other_in_opt(live: LiveServer) -> None:
    client, layer = live.client(), f"layer-{uuid.uuid4().hex[:8]}"
    versions = [
        client.publish_layer_version(
            LayerName=layer, CompatibleRuntimes=[RUNNING_PYTHON],
            Content={"ZipFile": package({"python/greeting.py": f"WORD = '{word}'", f"data/{word}.txt": word})},
        )
        for word in ("good", "better")
    ]  # fmt: skip
    code = """
        import os
        import greeting
        def handler(event, context):
            return [greeting.WORD, greeting.__file__, sorted(os.listdir("/opt/data"))]
    """
    name = live.create(code, Layers=[versions[0]["LayerVersionArn"]])
    assert live.invoke(name).value == ["good", "/opt/python/greeting.py", ["good.txt"]]
    client.update_function_configuration(FunctionName=name, Layers=[versions[1]["LayerVersionArn"]])
    quick(client.get_waiter("function_updated_v2"), FunctionName=name)
    assert live.invoke(name).value[0] == "better"
    other = client.publish_layer_version(
        LayerName=f"{layer}-other", Content={"ZipFile": package({"data/other.txt": "x"})}
    )
    client.update_function_configuration(
        FunctionName=name, Layers=[other["LayerVersionArn"], versions[0]["LayerVersionArn"]]
    )
    quick(client.get_waiter("function_updated_v2"), FunctionName=name)
    assert live.invoke(name).value == ["good", "/opt/python/greeting.py", ["good.txt", "other.txt"]]
    client.delete_layer_version(LayerName=layer, VersionNumber=1)
    assert live.invoke(name).value[0] == "good"  # who has it keeps it
    assert [v["Version"] for v in client.list_layer_versions(LayerName=layer)["LayerVersions"]] == [2]


def test_tags_and_lists(live: LiveServer) -> None:
    client = live.client()
    names = sorted(live.create(says("x"), Tags={"n": str(n)}) for n in range(3))
    arn = client.get_function_configuration(FunctionName=names[0])["FunctionArn"]
    client.tag_resource(Resource=arn, Tags={"team": "images", "n": "9"})
    assert client.list_tags(Resource=arn)["Tags"] == {"team": "images", "n": "9"}
    client.untag_resource(Resource=arn, TagKeys=["n"])
    assert client.get_function(FunctionName=names[0])["Tags"] == {"team": "images"}
    pages = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
    listed = [function["FunctionName"] for page in pages for function in page["Functions"]]
    assert set(names) <= set(listed)
    assert len(listed) == len(set(listed))


def test_the_context_is_what_the_caller_gave_and_dry_run_runs_nothing(live: LiveServer) -> None:
    name = live.create(
        """
        def handler(event, context):
            print("was run")
            mobile = context.client_context
            return {
                "app": mobile.client.app_title, "custom": mobile.custom, "env": mobile.env,
                "name": context.function_name, "version": context.function_version,
                "arn": context.invoked_function_arn, "memory": context.memory_limit_in_mb,
                "group": context.log_group_name, "request": context.aws_request_id,
                "left": context.get_remaining_time_in_millis(),
            }
        """
    )
    assert live.invoke(name, InvocationType="DryRun", LogType="None").status == 204
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        live.client().invoke(FunctionName=f"{name}-absent", InvocationType="DryRun")
    given = {"client": {"app_title": "camera"}, "custom": {"a": "b"}, "env": {"locale": "de"}}
    answer = live.invoke(name, ClientContext=base64.b64encode(json.dumps(given).encode()).decode())
    told = answer.value
    assert 0 < told.pop("left") <= 3000
    assert f"START RequestId: {told.pop('request')} Version: $LATEST\n" in answer.log
    assert told == {
        "app": "camera", "custom": {"a": "b"}, "env": {"locale": "de"}, "name": name, "version": "$LATEST",
        "arn": f"arn:aws:lambda:{REGION}:000000000000:function:{name}", "memory": "128",
        "group": f"/aws/lambda/{name}",
    }  # fmt: skip
    assert live.log_of(name).count("was run") == 1


def test_what_a_function_prints_is_in_the_tail_and_in_the_log_group(live: LiveServer) -> None:
    name = live.create("def handler(event, context):\n    print('said', event)\n    return 1")
    answer = live.invoke(name, "something")
    lines = answer.log.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["START", "said", "END", "REPORT"]
    assert "Init Duration: " in lines[-1]
    logs, group = live.client("logs"), f"/aws/lambda/{name}"
    live.invoke(name, "else", LogType="None")
    until(lambda: live.log_of(name).count("REPORT RequestId: ") == 2)
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert "/[$LATEST]" in stream["logStreamName"]
    events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)[
        "events"
    ]
    words = [event["message"].split(" ")[0] for event in events]
    assert words == ["INIT_START", "START", "said", "END", "REPORT", "START", "said", "END", "REPORT"]
    found = logs.filter_log_events(logGroupName=group, filterPattern='"said else"')["events"]
    assert [event["message"] for event in found] == ["said else\n"]


@pytest.mark.parametrize("runtime", PYTHONS)
def test_every_python_runs_itself(live: LiveServer, runtime: str) -> None:
    code = "import sys\ndef handler(event, context):\n    return [event, *sys.version_info[:2]]"
    minor = [int(part) for part in runtime.removeprefix("python").split(".")]
    assert live.invoke(live.create(code, Runtime=runtime), {"ü": "日本"}).value == [{"ü": "日本"}, *minor]


@pytest.mark.parametrize("runtime", [name for name in PYTHONS if sdk_fits(FOUND[name])])
def test_boto3_is_there_without_being_packaged_and_reaches_lambent(live: LiveServer, runtime: str) -> None:
    name = live.create(
        """
        import os
        import boto3
        def handler(event, context):
            found = boto3.client("lambda").get_function_configuration(FunctionName=context.function_name)
            listed = boto3.client("lambda").list_functions()["Functions"]
            identity = [f for f in listed if f["FunctionName"] == context.function_name]
            return [found["Runtime"], len(identity), os.environ["AWS_REGION"]]
        """,
        Runtime=runtime,
        MemorySize=512,
        Timeout=30,
    )
    assert live.invoke(name).value == [runtime, 1, REGION]


@pytest.mark.parametrize(
    ("runtime", "program"),
    [("ruby3.3", "Ruby 3.3"), ("dotnet8", ".NET 8"), ("nodejs24.x", "Node.js 24"), ("python3.14", "Python 3.14")],
)
def test_a_missing_interpreter_is_named_at_invoke_with_what_to_do(live: LiveServer, runtime: str, program: str) -> None:
    if runtime in FOUND:
        pytest.skip(f"{runtime} is installed here")
    name = live.create({"app.py": "x"}, Runtime=runtime)
    with pytest.raises(ClientError) as raised:
        live.invoke(name)
    error = raised.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 502
    assert error["Error"]["Code"] == "InvalidRuntimeException"
    assert program in error["Error"]["Message"]
    assert "lambent runtimes" in error["Error"]["Message"] or "install" in error["Error"]["Message"].lower()


def test_waiters_end_when_the_function_cannot_become_what_they_wait_for(live: LiveServer) -> None:
    waiter = live.client().get_waiter("function_exists")
    with pytest.raises(WaiterError):
        waiter.wait(FunctionName="never-there", WaiterConfig={"Delay": 0, "MaxAttempts": 3})
