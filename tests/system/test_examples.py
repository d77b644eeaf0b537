"""The examples that set something up, each by its one command against a real server."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from live_server import LiveServer, environ, running

EXAMPLES = Path(__file__).parents[2] / "examples"
RUN_TIMEOUT_S = 100


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running(tmp_path_factory.mktemp("examples") / "data", "--virtual-clock") as server:
        yield server


def run(server: LiveServer, name: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name / "run.py", *options], env=environ(AWS_ENDPOINT_URL=server.url), text=True,
        timeout=RUN_TIMEOUT_S, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_photograph_in_a_bucket_becomes_a_thumbnail_and_an_item(server: LiveServer) -> None:
    said = run(server, "photographs")
    s3 = server.client("s3")
    made = s3.get_object(Bucket="photographs-000000000000", Key="thumbnails/rocket.jpg")
    assert made["Body"].read(3) == b"\xff\xd8\xff"
    (item,) = server.client("dynamodb").scan(TableName="photographs")["Items"]
    assert (item["width"]["N"], item["height"]["N"]) == ("640", "427")
    assert re.search(r"width +640\n", said)
    (version,) = server.client("lambda").list_layer_versions(LayerName="photographs")["LayerVersions"]
    assert version["Version"] == 1
    run(server, "photographs", "--remove")
    assert server.client("s3").list_buckets()["Buckets"] == []


def test_three_nights_pass_at_once_where_the_clock_can_be_turned(server: LiveServer) -> None:
    reports = re.findall(r"03:00: \{.*'files': (\d), 'bytes': (\d+)\}", run(server, "nightly-report"))
    assert reports == [("1", "27"), ("2", "1027"), ("3", "3027")]
    run(server, "nightly-report", "--remove")
    assert server.client("events").list_rules()["Rules"] == []


def test_a_night_comes_when_it_comes_where_the_clock_cannot_be_turned(live: LiveServer) -> None:
    assert "--virtual-clock" in run(live, "nightly-report")
    assert "--virtual-clock" in run(live, "nightly-report"), "a second run finds all that is there"
    run(live, "nightly-report", "--remove")


def test_each_customers_orders_are_carried_out_in_order(server: LiveServer) -> None:
    said = run(server, "orders")
    steps = ["placed", "paid", "packed", "sent"]
    both = ", ".join(f"{number} {step}" for number in (1, 2) for step in steps)
    assert re.findall(r"^(\w+) +(\d .+)$", said, re.MULTILINE) == [
        ("ada", both), ("grace", both.replace("1 paid, ", "")), ("linus", both),
    ]  # fmt: skip
    assert re.search(r'Dead letter: .*"step": "paid", "price": 0', said)
    run(server, "orders", "--remove")
    assert "QueueUrls" not in server.client("sqs").list_queues()
