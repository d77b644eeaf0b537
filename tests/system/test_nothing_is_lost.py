"""Everything that calls functions at once, and kill -9 at any moment: what was accepted is delivered or in its dead letters.

The seed is printed; LAMBENT_TEST_SEED repeats it. LAMBENT_TEST_KILLS is how often the long run kills.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from killing.checks import check, check_stream, missing
from killing.functions import Traces
from killing.lives import Lives
from killing.load import Ledger, Sender, Worker
from killing.receivers import COLLECTED, OWN, Collected, Collector, Receiver, Seen
from killing.setup import FUNCTIONS, Setup
from live_server import until

KILLS = 50
LONG_KILLS = int(os.environ.get("LAMBENT_TEST_KILLS", "1000"))
SENDERS, RECEIVERS = "ab", "xy"
TURN_S = 61  # more than visibility, back-off and the first wait of an asynchronous event
SETTLED_S = 90.0


@attrs.define
class Harness:
    lives: Lives
    setup: Setup
    traces: Traces
    ledger: Ledger = attrs.field(factory=Ledger)
    seen: Seen = attrs.field(factory=Seen)
    collected: Collected = attrs.field(factory=Collected)

    def workers(self) -> list[Worker]:
        def choices() -> random.Random:
            return random.Random(self.lives.moments.random())

        parts = self.lives, self.setup
        return [
            *(Sender(name, *parts, self.ledger, choices()) for name in SENDERS),
            *(Receiver(name, *parts, self.ledger, self.seen, choices()) for name in RECEIVERS),
            Collector(*parts, self.collected, choices()),
        ]

    def settle(self) -> None:
        """Lets all that is owed come; then, for what waits for longer, the clock is turned while no function runs."""
        receiver = Receiver("z", self.lives, self.setup, self.ledger, self.seen, random.Random(0))
        collector = Collector(self.lives, self.setup, self.collected, random.Random(0))
        deadline_s = time.monotonic() + SETTLED_S
        while True:
            while self._take_all(receiver, collector):
                pass
            self.traces.read()
            left = missing(self.ledger, self.traces, self.seen, self.collected)
            if not left:
                return
            assert time.monotonic() < deadline_s, f"still missing: {left}"
            if "s" in left:
                time.sleep(0.1)
                continue
            self.setup.switch_queue_mappings(on=False)
            until(lambda: not any(self.lives.is_running(name) for name in FUNCTIONS), SETTLED_S)
            self.lives.turn(TURN_S)
            self.setup.switch_queue_mappings(on=True)

    @staticmethod
    def _take_all(receiver: Receiver, collector: Collector) -> int:
        own = sum(receiver.take(name, 0.0, wait_s=0) for name in OWN)
        return own + sum(collector.take(name) for name in COLLECTED)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Functions at level `process` may be of another user: they come to the file of traces here."""
    with tempfile.TemporaryDirectory(prefix="lambent-kills-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.mark.parametrize("kills", [
    pytest.param(KILLS, marks=pytest.mark.timeout(600)),
    pytest.param(LONG_KILLS, id="long", marks=[pytest.mark.long, pytest.mark.timeout(7200)]),
])  # fmt: skip
def test_what_was_accepted_is_delivered_or_a_dead_letter_however_often_the_server_is_killed(
    folder: Path, kills: int
) -> None:
    seed = int(os.environ.get("LAMBENT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"LAMBENT_TEST_SEED={seed}")
    lives, workers = Lives(folder, random.Random(seed)), list[Worker]()
    try:
        lives.begin()
        harness = prepared(lives, folder)
        workers = harness.workers()
        for worker in workers:
            worker.start()
        lives.die()
        while lives.kills < kills:
            lives.live_and_die()
            assert all(worker.is_alive() for worker in workers), [worker.problem for worker in workers]
        lives.begin()
        for worker in workers:
            worker.finish()
        harness.settle()
        check(harness.ledger, harness.traces, harness.seen, harness.collected, lives.kills)
        check_stream(lives.server.client("kinesis"), harness.ledger)
        report(harness)
    finally:
        for worker in workers:
            worker.stop()
        lives.end()


def prepared(lives: Lives, folder: Path) -> Harness:
    traces = Traces(folder / "traces")
    traces.create()
    setup = Setup(lives.server)
    setup.make(traces.path, lives.life)
    return Harness(lives, setup, traces)


def report(harness: Harness) -> None:
    """How much was done; a run that did next to nothing shows nothing."""
    accepted = {place: len(tokens) for place, tokens in sorted(harness.ledger.accepted.items())}
    begun = [line for line in harness.traces.lines if line.what == "begun"]
    print(f"{harness.lives.kills} kills; accepted {accepted}, in doubt {len(harness.ledger.doubtful)}; "
          f"{len(begun)} attempts, {len(begun) - len({(b.place, b.token) for b in begun})} of them again; "
          f"{harness.seen.repeated} messages received again; dead letters and results "
          f"{ {name: len(bodies) for name, bodies in harness.collected.bodies.items()} }")  # fmt: skip
    assert min(accepted.values()) >= harness.lives.kills / 2
    assert len({line.life for line in begun}) > harness.lives.kills / 4
