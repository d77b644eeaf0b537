"""CloudWatch's metrics as boto3, the AWS CLI and clients of its older protocols see them, and Lambent's own among them."""

from __future__ import annotations

import datetime
import json
import math
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from aws_cli import aws_cli
from live_server import REGION, LiveServer, until

ECHO = """
def handler(event, context):
    if event.get("fail"):
        raise ValueError("no")
    return event
"""


def around() -> dict[str, datetime.datetime]:
    now, hour = datetime.datetime.now(datetime.UTC), datetime.timedelta(hours=1)
    return {"StartTime": now - hour, "EndTime": now + hour}


def dimensions(**values: str) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in values.items()]


def point(live: LiveServer, namespace: str, name: str, stat: str = "Sum", **where: str) -> float | None:
    """What two hours around now come to."""
    answer = live.client("cloudwatch").get_metric_statistics(
        Namespace=namespace, MetricName=name, Dimensions=dimensions(**where), Period=7200, Statistics=[stat], **around()
    )
    found = sum(p[stat] for p in answer["Datapoints"]) if answer["Datapoints"] else None
    return found if found is None else float(found)


def test_a_metric_from_boto3(live: LiveServer) -> None:
    cloudwatch, namespace = live.client("cloudwatch"), f"App/{uuid.uuid4().hex[:8]}"
    cloudwatch.put_metric_data(
        Namespace=namespace,
        MetricData=[
            {"MetricName": "latency", "Dimensions": dimensions(stage="a"), "Values": [1.5, 2.5], "Counts": [3, 1]},
            {"MetricName": "latency", "Dimensions": dimensions(stage="b"), "Value": 9, "Unit": "Seconds"},
        ],
    )
    assert point(live, namespace, "latency", stage="a") == 7.0
    assert point(live, namespace, "latency") is None  # another metric: nothing is added up over dimensions
    paginator = cloudwatch.get_paginator("list_metrics")
    listed = [m for page in paginator.paginate(Namespace=namespace, RecentlyActive="PT3H") for m in page["Metrics"]]
    assert [m["Dimensions"] for m in listed] == [dimensions(stage="a"), dimensions(stage="b")]
    stat = {"Metric": {k: listed[0][k] for k in ("Namespace", "MetricName", "Dimensions")}, "Period": 60, "Stat": "p75"}
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[{"Id": "q", "MetricStat": stat}], **around()
    )
    assert [value for page in pages for result in page["MetricDataResults"] for value in result["Values"]] == [1.5]


def test_refusals_reach_boto3_as_the_exceptions_of_its_model(live: LiveServer) -> None:
    cloudwatch = live.client("cloudwatch")
    with pytest.raises(cloudwatch.exceptions.InvalidParameterValueException, match="The value NaN for parameter"):
        cloudwatch.put_metric_data(Namespace="App", MetricData=[{"MetricName": "m", "Value": math.nan}])
    with pytest.raises(ClientError) as caught:
        cloudwatch.get_metric_data(MetricDataQueries=[{"Id": "a", "Expression": "SEARCH('x', 'Sum')"}], **around())
    assert (caught.value.response["Error"]["Code"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]) == (
        "NotImplemented", 501,
    )  # fmt: skip


def test_alarms_stay_with_the_neighbours(live: LiveServer) -> None:
    cloudwatch, name = live.client("cloudwatch"), f"alarm-{uuid.uuid4().hex[:8]}"
    cloudwatch.put_metric_alarm(
        AlarmName=name, Namespace="App", MetricName="m", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    assert [a["MetricName"] for a in cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]] == ["m"]
    cloudwatch.delete_alarms(AlarmNames=[name])


def test_the_aws_cli(live: LiveServer) -> None:
    namespace = f"Cli/{uuid.uuid4().hex[:8]}"

    def aws(*arguments: str) -> Any:
        done = aws_cli("--endpoint-url", live.url, "--output", "json", "cloudwatch", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    aws("put-metric-data", "--namespace", namespace, "--metric-name", "m", "--value", "4", "--dimensions", "a=1,b=2")
    times = {name: at.isoformat() for name, at in around().items()}
    found = aws(
        "get-metric-statistics", "--namespace", namespace, "--metric-name", "m", "--period", "7200",
        "--statistics", "Maximum", "--dimensions", "Name=b,Value=2", "Name=a,Value=1",
        "--start-time", times["StartTime"], "--end-time", times["EndTime"],
    )  # fmt: skip
    assert [p["Maximum"] for p in found["Datapoints"]] == [4.0]
    assert len(aws("list-metrics", "--namespace", namespace)["Metrics"]) == 1


def _ask(live: LiveServer, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    scope = f"test/20261130/{REGION}/monitoring/aws4_request"
    signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
    request = urllib.request.Request(f"{live.url}/", body, {**signed, **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_older_query_protocol(live: LiveServer) -> None:
    namespace = f"Query/{uuid.uuid4().hex[:8]}"

    def query(action: str, **fields: str) -> tuple[int, str]:
        form = urllib.parse.urlencode({"Action": action, "Version": "2010-08-01", "Namespace": namespace, **fields})
        status, body = _ask(live, {"Content-Type": "application/x-www-form-urlencoded"}, form.encode())
        return status, body.decode()

    datum = {"MetricData.member.1.MetricName": "m", "MetricData.member.1.Value": "2.5"}
    assert query("PutMetricData", **datum)[0] == 200
    times = {name: at.strftime("%Y-%m-%dT%H:%M:%SZ") for name, at in around().items()}
    status, text = query(
        "GetMetricStatistics", MetricName="m", Period="7200", **{"Statistics.member.1": "Sum"}, **times
    )
    assert (status, "<Sum>2.5</Sum>" in text, "<Unit>None</Unit>" in text) == (200, True, True), text
    status, text = query("PutMetricData", **{**datum, "MetricData.member.1.Unit": "Miles"})
    assert status == 400
    assert "<Code>InvalidParameterValue</Code>" in text
    assert "The parameter MetricData.member.1.Unit must be a value in the set [ Seconds," in text


def test_json(live: LiveServer) -> None:
    namespace = f"Json/{uuid.uuid4().hex[:8]}"

    def call(operation: str, **members: Any) -> tuple[int, Any]:
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"GraniteServiceVersion20100801.{operation}",
        }
        status, body = _ask(live, headers, json.dumps(members).encode())
        return status, json.loads(body or b"{}")

    assert call("PutMetricData", Namespace=namespace, MetricData=[{"MetricName": "m", "Value": 1}]) == (200, {})
    assert call("ListMetrics", Namespace=namespace)[1]["Metrics"][0]["MetricName"] == "m"
    status, error = call("PutMetricData", Namespace="AWS/No", MetricData=[{"MetricName": "m", "Value": 1}])
    assert (status, error["__type"]) == (400, "InvalidParameterValueException")


# --- Lambent's own


def test_what_functions_do_is_counted(live: LiveServer) -> None:
    name, aws_lambda = live.create(ECHO), live.client()
    version = aws_lambda.publish_version(FunctionName=name)["Version"]
    aws_lambda.create_alias(FunctionName=name, Name="prod", FunctionVersion=version)
    for _ in range(3):
        live.invoke(name, {})
    live.invoke(name, {"fail": True})
    live.invoke(name, {}, Qualifier="prod")
    aws_lambda.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError, match="TooManyRequestsException"):
        live.invoke(name, {})

    def figure(metric: str, stat: str = "Sum", **more: str) -> float | None:
        return point(live, "AWS/Lambda", metric, stat, FunctionName=name, **more)

    until(lambda: figure("Invocations") == 5)  # the last is told when its runtime asks for the next event
    assert (figure("Errors"), figure("Throttles")) == (1, 1)
    assert figure("Errors", "Average") == pytest.approx(1 / 5)
    assert figure("Invocations", Resource=f"{name}:prod") == 1
    assert figure("Invocations", Resource=f"{name}:prod", ExecutedVersion=version) == 1
    assert figure("Invocations", Resource=name) == 4
    assert figure("Duration", "SampleCount") == 5
    assert 0 < (figure("Duration", "Maximum") or 0) < 60_000
    assert figure("ConcurrentExecutions", "Maximum") == 1
    assert (point(live, "AWS/Lambda", "Invocations") or 0) >= 5  # across all functions


def test_asynchronous_events_are_counted(live: LiveServer) -> None:
    name = live.create(ECHO)
    live.client().put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    live.invoke(name, {"fail": True}, InvocationType="Event", LogType="None")
    until(lambda: point(live, "AWS/Lambda", "AsyncEventsDropped", FunctionName=name) == 1)
    assert point(live, "AWS/Lambda", "AsyncEventsReceived", FunctionName=name) == 1
    assert (point(live, "AWS/Lambda", "AsyncEventAge", "Average", FunctionName=name) or 0) < 60_000


def test_queues_and_mappings_are_counted(live: LiveServer) -> None:
    name, queue = live.create(ECHO), f"q-{uuid.uuid4().hex[:8]}"
    sqs, url = live.client("sqs"), live.client("sqs").create_queue(QueueName=queue)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    mapping = live.client().create_event_source_mapping(
        FunctionName=name, EventSourceArn=arn, MetricsConfig={"Metrics": ["EventCount"]},
        FilterCriteria={"Filters": [{"Pattern": '{"body": {"wanted": [true]}}'}]},
    )  # fmt: skip
    for wanted in ("true", "false", "true"):
        sqs.send_message(QueueUrl=url, MessageBody=f'{{"wanted": {wanted}}}')

    def of_mapping(metric: str) -> float | None:
        return point(live, "AWS/Lambda", metric, EventSourceMappingUUID=mapping["UUID"])

    until(lambda: of_mapping("DeletedEventCount") == 2)
    assert (of_mapping("PolledEventCount"), of_mapping("FilteredOutEventCount"), of_mapping("InvokedEventCount")) == (
        3, 1, 2,
    )  # fmt: skip
    assert of_mapping("FailedInvokeEventCount") is None
    of_queue = {
        metric: point(live, "AWS/SQS", metric, QueueName=queue)
        for metric in ("NumberOfMessagesSent", "NumberOfMessagesReceived", "NumberOfMessagesDeleted", "SentMessageSize")
    }
    assert of_queue == {
        "NumberOfMessagesSent": 3, "NumberOfMessagesReceived": 3, "NumberOfMessagesDeleted": 3,
        "SentMessageSize": 2 * len('{"wanted": true}') + len('{"wanted": false}'),
    }  # fmt: skip
    live.client().delete_event_source_mapping(UUID=mapping["UUID"])


def test_topics_rules_and_streams_are_counted(live: LiveServer) -> None:
    name = f"n-{uuid.uuid4().hex[:8]}"
    sqs, sns, events, kinesis = (live.client(service) for service in ("sqs", "sns", "events", "kinesis"))
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name=name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"FilterPolicy": '{"wanted": ["yes"]}'})
    for wanted in ("yes", "no"):
        attributes = {"wanted": {"DataType": "String", "StringValue": wanted}}
        sns.publish(TopicArn=topic, Message="four", MessageAttributes=attributes)
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn}, {"Id": "none", "Arn": f"{arn}-none"}])
    events.put_events(Entries=[{"Source": name, "DetailType": "d", "Detail": "{}"}])
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.put_records(StreamName=name, Records=[{"Data": b"12345", "PartitionKey": "a"}] * 3)

    def of_topic(metric: str) -> float | None:
        return point(live, "AWS/SNS", metric, TopicName=name)

    def of_rule(metric: str) -> float | None:
        return point(live, "AWS/Events", metric, RuleName=name)

    until(lambda: of_topic("NumberOfNotificationsDelivered") == 1)
    assert (of_topic("NumberOfMessagesPublished"), of_topic("NumberOfNotificationsFilteredOut")) == (2, 1)
    until(lambda: of_rule("FailedInvocations") == 1)
    assert (of_rule("TriggeredRules"), of_rule("Invocations")) == (1, 2)
    of_stream = [point(live, "AWS/Kinesis", metric, StreamName=name) for metric in ("IncomingRecords", "IncomingBytes")]
    assert of_stream == [3, 15]


def test_prometheus_reads_them_too(live: LiveServer) -> None:
    name = live.create(ECHO)
    live.invoke(name, {})

    def page() -> str | None:
        with urllib.request.urlopen(f"{live.url}/_lambent/metrics", timeout=30) as answer:
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            text: str = answer.read().decode()
        return text if f'function_name="{name}"' in text else None

    text = until(page)
    labels = f'{{account_id="000000000000",region="{REGION}",function_name="{name}"}}'
    lines = text.splitlines()
    assert f"lambent_lambda_invocations_total{labels} 1" in lines
    assert f"lambent_lambda_duration_milliseconds_count{labels} 1" in lines
    kinds = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(kinds) == len(set(kinds))
    assert "lambent_lambda_invocations_total" in kinds


def test_functions_do_not_read_the_servers_figures(live: LiveServer) -> None:
    name = live.create("""
        import os, urllib.request, urllib.error
        def handler(event, context):
            try:
                urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/_lambent/metrics")
            except urllib.error.HTTPError as error:
                return error.code
        """)
    assert live.invoke(name, {}).value == 403


def test_metrics_come_out_of_log_lines(live: LiveServer) -> None:
    namespace = f"Lines/{uuid.uuid4().hex[:8]}"
    name = live.create("""
        import json, time
        def handler(event, context):
            print(json.dumps({
                "_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [{
                    "Namespace": event["namespace"], "Dimensions": [["stage"]],
                    "Metrics": [{"Name": "work", "Unit": "Seconds"}]}]},
                "stage": "test", "work": 4.5}))
            print("an ERROR of 12 units")
        """)
    live.invoke(name, {"namespace": namespace})
    until(lambda: point(live, namespace, "work", stage="test") == 4.5)
    live.client("logs").put_metric_filter(
        logGroupName=f"/aws/lambda/{name}", filterName="f", filterPattern="[an, level = ERROR, of, units, rest]",
        metricTransformations=[{"metricName": "units", "metricNamespace": namespace, "metricValue": "$units"}],
    )  # fmt: skip
    live.invoke(name, {"namespace": namespace})
    until(lambda: point(live, namespace, "units") == 12)
