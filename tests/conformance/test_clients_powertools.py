"""Powertools for Python inside a function: its package in a layer, as its users bring it."""

from __future__ import annotations

import importlib.util
import io
import json
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest

from live_server import LiveServer, until

CODE = """
import os
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.typing import LambdaContext

logger, metrics, app = Logger(service="orders"), Metrics(namespace="Orders", service="orders"), APIGatewayHttpResolver()
processor = BatchProcessor(event_type=EventType.SQS)

@app.get("/orders/<order_id>")
def order(order_id: str):
    logger.info("looked at", extra={"order_id": order_id})
    return {"order": order_id, "from": app.lambda_context.function_name}

def one(record):
    if record.json_body["amount"] < 0:
        raise ValueError("negative")

@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict, context: LambdaContext):
    metrics.add_metric(name="Requests", unit=MetricUnit.Count, value=1)
    if "Records" in event:
        return process_partial_response(event=event, record_handler=one, processor=processor, context=context)
    return app.resolve(event, context)
"""


def layer() -> bytes:
    """Powertools and what it imports, from where they are installed, below `python/`."""
    site = Path(sysconfig.get_path("purelib"))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("aws_lambda_powertools", "jmespath"):
            for file in sorted((site / name).rglob("*.py")):
                archive.write(file, f"python/{file.relative_to(site)}")
        found = importlib.util.find_spec("typing_extensions")
        assert found is not None
        assert found.origin is not None
        archive.write(found.origin, "python/typing_extensions.py")
    return out.getvalue()


@pytest.fixture(scope="module")
def function(live: LiveServer) -> str:
    published = live.client().publish_layer_version(LayerName="powertools", Content={"ZipFile": layer()})
    return live.create(CODE, Layers=[published["LayerVersionArn"]], MemorySize=256, Timeout=20)


def http_event(path: str) -> dict[str, Any]:
    return {
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "headers": {},
        "requestContext": {"http": {"method": "GET", "path": path}, "stage": "$default", "requestId": "r"},
        "isBase64Encoded": False,
    }  # fmt: skip


def test_its_routes_logs_and_metrics_work(live: LiveServer, function: str) -> None:
    answer = live.invoke(function, http_event("/orders/7")).value
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"]) == {"order": "7", "from": function}

    def entries() -> list[dict[str, Any]] | None:
        lines = [json.loads(line) for line in live.log_of(function).splitlines() if line.startswith("{")]
        return lines if any("_aws" in line for line in lines) and any("order_id" in line for line in lines) else None

    found = until(entries)
    line = next(entry for entry in found if entry.get("order_id") == "7")
    assert (line["service"], line["function_name"], line["cold_start"]) == ("orders", function, True)
    assert line["function_memory_size"] == "256"
    metric = next(entry for entry in found if "Requests" in entry)
    assert metric["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Orders"
    assert any(entry.get("ColdStart") == [1.0] for entry in found)


def test_its_unknown_routes_and_partial_batches_are_answers(live: LiveServer, function: str) -> None:
    assert live.invoke(function, http_event("/nothing")).value["statusCode"] == 404
    records = [
        {"messageId": str(amount), "body": json.dumps({"amount": amount}), "eventSource": "aws:sqs"}
        for amount in (1, -1, 2)
    ]
    assert live.invoke(function, {"Records": records}).value == {"batchItemFailures": [{"itemIdentifier": "-1"}]}
