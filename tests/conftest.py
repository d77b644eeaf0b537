"""What all folders of tests share: one real server."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from kafka_broker import KafkaBroker, running_kafka
from live_server import LiveServer, running
from rabbit_broker import RabbitBroker, running_rabbit

# Where the run was started in the background, Ctrl-C is ignored, and programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


NEED_BROKERS: Final = (
    "tests/system/sources/test_brokers_to_functions.py",
    "tests/unit/sources/test_kafka_poller.py",
    "tests/unit/sources/test_rabbit_poller.py",
)

# How long an example takes says more about the machine than about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
# The normal run judges a change by the same examples each time. `make test-long` draws new ones for every property.
settings.register_profile("the same examples", settings.get_profile("any machine"), derandomize=True)

# A finalizer that happens to run at the bottom of a deep recursion fails there, and tests of deeply nested input recurse as
# deep as Python lets them. So the collector runs between modules and never during a test.
gc.disable()


def pytest_configure(config: pytest.Config) -> None:
    if config.option.markexpr == "not long":
        settings.load_profile("the same examples")


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """A module's tests run in one process, for they share servers; those that need a broker run in one, which starts it once."""
    # The folder `unit` stays last: its modules are short, so the processes end together.
    config.option.loadscopereorder = False
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = _together
    return scheduler


def _together(nodeid: str) -> str:
    module = nodeid.partition("::")[0]
    return "brokers" if module in NEED_BROKERS else module


@pytest.fixture(scope="module", autouse=True)
def _collect_garbage() -> Iterator[None]:
    yield
    gc.collect()
    gc.freeze()  # what is still here stays for the session: no need to look at it again after each module


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server at the best level that this machine has, with its own data, for all tests that do not end it."""
    with running(tmp_path_factory.mktemp("live") / "data") as server:
        yield server


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitBroker]:
    """A RabbitMQ for all tests that read queues of it: each has queues of its own."""
    with running_rabbit(tmp_path_factory.mktemp("rabbit")) as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """The same of Kafka, with topics."""
    with running_kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker
