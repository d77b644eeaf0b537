"""A mixed load for a long time: memory and descriptors of the server must be flat once it has settled.

Six threads, each at a gentle pace, so that what is looked at is growth and not speed: warm echoes of 1 KB and of 1 MB, functions that
are created, started cold, updated and deleted, asynchronous events, messages through a queue's mapping, and log lines in plenty.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
from botocore.exceptions import BotoCoreError, ClientError

from lambent.bench import processes
from lambent.bench.connection import Caller
from lambent.bench.errors import NotMeasured
from lambent.bench.functions import ECHO_PYTHON, create, hello, python
from lambent.bench.noisy import PRINTS
from lambent.bench.server import RUNNING_PYTHON, Run, Server
from lambent.bench.warm import event

SETTLE_S: Final = 300.0  # or half of a shorter run
SAMPLE_S: Final = 10.0
CALM_S: Final = 45.0  # longer than it takes to see that fewer cells have to wait
RESTS: Final = 6
LOOK_S: Final = 0.5
PART: Final = 5  # growth is what the last fifth has over the first
PAUSES_S: Final = {"echo": 0.005, "large": 0.1, "lives": 0.5, "events": 0.05, "queue": 0.1, "prints": 1.0}


@attrs.frozen(kw_only=True)
class Sample:
    at_s: float  # since the load began
    memory_mib: float  # proportional, of the server without environments
    descriptors: int


def measure(run: Run) -> dict[str, Any]:
    """`soak_minutes` of it, in two parts: until it has settled, and then. After each, descriptors are counted at rest."""
    if not run.soak_minutes:
        raise NotMeasured("it takes long: --soak MINUTES asks for it")
    duration_s = run.soak_minutes * 60
    settle_s = min(SETTLE_S, duration_s / 2)
    calm_s = min(CALM_S, duration_s / 6)
    with run.server() as server:
        first, settling = _soaked(server, "a", settle_s, run.say)
        resting = _at_rest(server, calm_s)
        second, settled = _soaked(server, "b", duration_s - settle_s, run.say)
        resting_again = _at_rest(server, calm_s)
    return {
        "minutes": run.soak_minutes,
        "done": {name: first[name] + second[name] for name in first},
        "memory_growth": growth([sample.memory_mib for sample in settled]),
        "descriptors_at_rest": resting,
        "descriptors_at_rest_again": resting_again,
        "descriptors_growth": round(resting_again / resting, 4),
        "samples": [attrs.asdict(sample) for sample in (*settling, *(_later(sample, settle_s) for sample in settled))],
    }


def growth(values: Sequence[float]) -> float:
    """Median of the last fifth, divided by that of the first. Raises NotMeasured for too few samples."""
    part = len(values) // PART
    if not part:
        raise NotMeasured(f"{len(values)} samples are too few; soak longer")
    return round(statistics.median(values[-part:]) / statistics.median(values[:part]), 4)


def _later(sample: Sample, by_s: float) -> Sample:
    return attrs.evolve(sample, at_s=round(sample.at_s + by_s, 1))


def _at_rest(server: Server, calm_s: float) -> int:
    """Descriptors when no function is left, and so no environment: those come and go, with a dozen each.

    Cells that wait are given up step by step, so it is looked at until it has not changed for `calm_s`.
    """
    client = server.client()
    for mapping in client.list_event_source_mappings()["EventSourceMappings"]:
        client.delete_event_source_mapping(UUID=mapping["UUID"])
    for page in client.get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            client.delete_function(FunctionName=function["FunctionName"])
    begun = changed = time.monotonic()
    known = -1
    while (now := time.monotonic()) - changed < calm_s and now - begun < RESTS * calm_s:
        found = processes.descriptors(server.tree() - server.environments())
        if found != known:
            known, changed = found, now
        time.sleep(LOOK_S)
    return known


def _soaked(
    server: Server, phase: str, duration_s: float, say: Callable[[str], None]
) -> tuple[dict[str, int], list[Sample]]:
    steps = _prepared(server, phase)
    over, counts, problems = threading.Event(), dict.fromkeys(steps, 0), list[Exception]()

    def work(name: str) -> None:
        step = steps[name]()
        while not over.wait(PAUSES_S[name]):
            try:
                step(counts[name])
            except (NotMeasured, ClientError, BotoCoreError) as problem:
                problems.append(problem)
                over.set()
                return
            counts[name] += 1

    threads = [threading.Thread(target=work, args=(name,)) for name in steps]
    for thread in threads:
        thread.start()
    samples = _sampled(server, duration_s, over, say)
    over.set()
    for thread in threads:
        thread.join()
    if problems:
        raise NotMeasured(f"the load failed after {len(samples)} samples: {problems[0]}")
    return counts, samples


def _sampled(server: Server, duration_s: float, over: threading.Event, say: Callable[[str], None]) -> list[Sample]:
    begun, samples = time.monotonic(), list[Sample]()
    while (at_s := time.monotonic() - begun) < duration_s and not over.wait(min(SAMPLE_S, duration_s / 60)):
        own = server.tree() - server.environments()
        memory_mib = round(processes.memory_mib(own, processes.PROPORTIONAL), 1)
        samples.append(Sample(at_s=round(at_s, 1), memory_mib=memory_mib, descriptors=processes.descriptors(own)))
        say(f"soak: {at_s / 60:.0f} of {duration_s / 60:g} minutes, {memory_mib:g} MiB")
    return samples


def _prepared(server: Server, phase: str) -> dict[str, Callable[[], Callable[[int], object]]]:
    """For each kind of load what makes one step of it, to be called in its own thread."""
    echo, consumer, prints, name = (f"{kind}-{phase}" for kind in ("echo", "events", "prints", "soak"))
    create(server.client(), [echo, consumer], python(RUNNING_PYTHON, ECHO_PYTHON))
    create(server.client(), [prints], python(RUNNING_PYTHON, PRINTS))
    queue = server.client("sqs").create_queue(QueueName=name, Attributes={"VisibilityTimeout": "120"})["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:000000000000:{name}"
    server.client().create_event_source_mapping(FunctionName=consumer, EventSourceArn=arn)

    def invoking(name: str, body: bytes) -> Callable[[], Callable[[int], object]]:
        def made() -> Callable[[int], object]:
            caller = Caller(server.port)
            return lambda _: caller.invoke(name, body)

        return made

    def lives() -> Callable[[int], object]:
        client = server.client()
        return lambda number: _life(client, f"life-{phase}-{number}")

    def events() -> Callable[[int], object]:
        caller = Caller(server.port)
        return lambda _: caller.invoke(consumer, event(1_000), None, "X-Amz-Invocation-Type: Event")

    def messages() -> Callable[[int], object]:
        client = server.client("sqs")
        return lambda number: client.send_message(QueueUrl=queue, MessageBody=f"message {number}")

    return {
        "echo": invoking(echo, event(1_000)),
        "large": invoking(echo, event(1_000_000)),
        "lives": lives,
        "events": events,
        "queue": messages,
        "prints": invoking(prints, b'{"lines": 2000}'),
    }


def _life(client: Any, name: str) -> None:
    create(client, [name], hello(RUNNING_PYTHON))
    client.invoke(FunctionName=name)
    client.update_function_configuration(FunctionName=name, MemorySize=256)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    client.delete_function(FunctionName=name)
