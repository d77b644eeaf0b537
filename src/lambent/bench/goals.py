"""The promised figures, and where a run puts what it measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

MISSED: Final = "**(missed)**"
NOT_MEASURED: Final = "not measured"


@attrs.frozen(kw_only=True)
class Goal:
    """One promised figure."""

    promise: str
    part: str
    figure: str  # within the part; "p99_ms.median" goes one deeper
    limit: float
    unit: str = ""
    at_least: bool = False  # else at most
    by: str  # the function that measures it
    file: str  # its module in lambent/bench
    holds_back: str = ""  # what stands between the figure and the goal when it is missed, where that is known

    @property
    def wanted(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}"

    def measured(self, figures: Mapping[str, Any]) -> float | None:
        """None when it was left out."""
        found: Any = figures.get(self.part)
        for name in self.figure.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return float(found) if isinstance(found, int | float) else None

    def is_kept(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def told(self, figures: Mapping[str, Any]) -> str:
        value = self.measured(figures)
        if value is None:
            return NOT_MEASURED
        return f"{value:g}{self.unit}" + ("" if self.is_kept(value) else f" {MISSED}")

    def missed_by(self, figures: Mapping[str, Any]) -> float | None:
        """How many times as much, or as little, was measured as was promised. None when the goal is kept, or was not measured."""
        value = self.measured(figures)
        if value is None or self.is_kept(value):
            return None
        return self.limit / value if self.at_least else value / self.limit


# docs/decisions/0011-the-warm-road-calls-back.md has what was tried.
WAKE_UPS: Final = (
    "each request wakes two processes, the server and the environment, and on two processors caches are cold after every sleep; "
    "what is left in Python is spread over some 190 small calls"
)
PAYLOAD: Final = (
    "it passes four sockets where the yardstick passes two, and looking whether the event is JSON, reading its string and writing it into the "
    "answer takes some 6 ms, almost one and a half times the yardstick"
)
# docs/decisions/0002-cells-from-zygotes.md and 0019-what-waits-for-a-function.md, at their ends.
HAND_OVERS: Final = (
    "server, launcher and runtime hand over to each other, and after a pause each finds the caches cold, so that a call of Python's costs some 4 µs: of "
    "what was traced of a hit, a quarter is the server's until the launcher is told, an eighth the launcher's, two fifths the runtime's until it asks for its event. "
    "It waits for memory and not for the processor: a machine on which a bare Python takes 9.7 ms instead of 16.9 took 4.7 ms for a hit instead of 4.9, and the version "
    "before within 5 % of that, in turns"
)
GOALS: Final = (
    Goal(promise="Cold start of a Python hello over HTTP at level `root`, a cell waiting, against `python3 -S -E -c pass`",
         part="cold", figure="python_hit_ratio", limit=0.25, unit=" ×", by="of_python", file="cold.py", holds_back=HAND_OVERS),
    Goal(promise="The same without a cell waiting, one right after the other",
         part="cold", figure="python_miss_ratio", limit=0.6, unit=" ×", by="of_python", file="cold.py", holds_back=HAND_OVERS),
    Goal(promise="Cold start of a Node.js hello over HTTP, against `node -e 0`",
         part="cold", figure="node_hit_ratio", limit=0.25, unit=" ×", by="interleaved", file="cold.py"),
    Goal(promise="Cold start of a Java hello over HTTP, against `java -version`",
         part="cold", figure="java_hit_ratio", limit=0.5, unit=" ×", by="interleaved", file="cold.py"),
    Goal(promise="How often a Python cold start is faster than the quickest peer's, in whatever language that is",
         part="peers", figure="python_cold_least", limit=10, unit=" ×", at_least=True, by="ratios", file="peers/comparison.py",
         holds_back="the quickest peer, lambda-local, runs a Node.js function in its own process: it has nothing to start, and isolates nothing. "
                    "Peers that run Python are 20 × and more behind"),
    Goal(promise="Restoring an environment with SnapStart, against the init that it saves: boto3 and a client",
         part="snapstart", figure="ratio", limit=0.025, unit=" ×", by="measure", file="snapstart.py",
         holds_back="about half is what every start costs before its runtime is told, and the rest is pages: 290 that are copied because "
                    "the first event writes to them, at 2.7 µs each, and 180 faults of Python's way there: 4.2 and 4.4 ms on machines where init takes 230 and 128"),
    Goal(promise="Init phase of a Python function that imports 100 modules, once they are compiled, against its first one",
         part="imports", figure="ratio", limit=0.35, unit=" ×", by="measure", file="imports.py"),
    Goal(promise="Warm invocations a second, 8 connections, a Python echo, against nginx answering 200",
         part="warm", figure="ratio", limit=0.3, unit=" ×", at_least=True, by="_beside_nginx", file="warm.py",
         holds_back=WAKE_UPS),
    Goal(promise="The same, 99th percentile",
         part="warm", figure="p99_ms.median", limit=10, unit=" ms", by="_beside_nginx", file="warm.py"),
    Goal(promise="Warm invocations a second, the most connections that it survives, against serverless-offline with Python",
         part="peers", figure="warm_serverless_offline_python", limit=2, unit=" ×", at_least=True, by="ratios",
         file="peers/comparison.py",
         holds_back="in runs of one day Lambent had 7,300 to 8,500 a second, and the peer 2,300 to 4,000"),
    Goal(promise="Warm invocations a second, the most connections that it survives, against MiniStack",
         part="peers", figure="warm_ministack_python", limit=50, unit=" ×", at_least=True, by="ratios",
         file="peers/comparison.py"),
    Goal(promise="Processor time of server and environment for a warm invocation",
         part="warm", figure="processor_us_a_request", limit=90, unit=" µs", by="_processor_time", file="warm.py",
         holds_back=WAKE_UPS),
    Goal(promise="A payload of 6 MB there and back, against copying it twice through a socket",
         part="warm", figure="six_mb_ratio", limit=3, unit=" ×", by="_large", file="warm.py", holds_back=PAYLOAD),
    Goal(promise="Memory of its own that an idle Python environment keeps",
         part="density", figure="own_mb_each", limit=2.5, unit=" MB", by="measure", file="density.py"),
    Goal(promise="Memory of all that are alive at once",
         part="density", figure="proportional_mb_total", limit=1_300, unit=" MB", by="measure", file="density.py"),
    Goal(promise="Environments alive at once",
         part="density", figure="environments", limit=500, at_least=True, by="measure", file="density.py"),
    Goal(promise="Environments a second beyond those that wait in the pool",
         part="beyond", figure="environments_per_s.median", limit=250, at_least=True, by="measure_beyond", file="burst.py",
         holds_back="two processors make as many as a start leaves them time for: of what a cell takes, a quarter is its two forks with their page tables, another "
                    "quarter the pages that they copy, then come namespaces, and Python in four processes; a third of the launcher's part is the disk for /tmp"),
    Goal(promise="200 requests at once to a function without an environment, until all are answered",
         part="burst", figure="hello_first_s", limit=1, unit=" s", by="measure", file="burst.py"),
    Goal(promise="The same where each takes 0.1 s and so an environment of its own, when the stock has grown by such a burst",
         part="burst", figure="naps_100_ms_again_s", limit=1, unit=" s", by="measure", file="burst.py"),
    Goal(promise="Median latency of an echo while another function prints a million lines, against before",
         part="noisy", figure="p50_ratio", limit=2, unit=" ×", by="measure", file="noisy.py"),
    Goal(promise="Memory of the server under a mixed load, the end against after it has settled",
         part="soak", figure="memory_growth", limit=1.05, unit=" ×", by="growth", file="soak.py"),
    Goal(promise="Its descriptors when no function is left, after all of that load against after its first minutes",
         part="soak", figure="descriptors_growth", limit=1.05, unit=" ×", by="_at_rest", file="soak.py"),
    Goal(promise="`lambent up` until its health check answers",
         part="start", figure="healthy_after_s.median", limit=1, unit=" s", by="measure", file="starting.py"),
    Goal(promise="Memory of the idle server, all its processes",
         part="start", figure="idle_mib.median", limit=120, unit=" MiB", by="measure", file="starting.py"),
    Goal(promise="Processor time of the server for `GetFunction`",
         part="control", figure="get_ms", limit=2, unit=" ms", by="_first", file="control_plane.py"),
    Goal(promise="The same for `CreateFunction` with a package of 1 KB",
         part="control", figure="create_ms", limit=15, unit=" ms", by="_first", file="control_plane.py"),
    Goal(promise="The same for a page of `ListFunctions` of 10,000 functions, against one of 10",
         part="control", figure="list_ratio", limit=2, unit=" ×", by="_listed", file="control_plane.py"),
    Goal(promise="Memory for 10,000 functions, each looked at",
         part="control", figure="added_mib", limit=200, unit=" MiB", by="_listed", file="control_plane.py"),
    Goal(promise="What 10,000 functions add to the time of a start",
         part="control", figure="added_start_s", limit=0.5, unit=" s", by="_start_s", file="control_plane.py"),
    Goal(promise="Asynchronous events accepted a second, each on disk when it is answered, from 16 connections",
         part="asynchronous", figure="accepted_per_s", limit=5_000, at_least=True, by="over_http", file="asynchronous.py"),
    Goal(promise="The same, against the bare store in groups",
         part="asynchronous", figure="ratio", limit=0.5, unit=" ×", at_least=True, by="into_the_store",
         file="asynchronous.py",
         holds_back="an event over HTTP takes three and a half times the processor time of the bare store; half of it is the event loop's, where "
         "sockets, the attempts that run meanwhile and waiting for the interpreter's lock cost more than the road itself"),
    Goal(promise="Messages a second from a full queue through a function that does nothing, in tens",
         part="polling", figure="queue_messages_per_s", limit=3_000, at_least=True, by="queue_messages_per_s",
         file="polling.py"),
    Goal(promise="Records a second from a full stream of two shards through the same, in hundreds",
         part="polling", figure="stream_records_per_s", limit=5_000, at_least=True, by="stream_records_per_s",
         file="polling.py"),
    Goal(promise="From sending a message to an idle queue until its handler has it, median",
         part="polling", figure="send_to_handler_p50_ms", limit=20, unit=" ms", by="ways_ms", file="polling.py"),
    Goal(promise="Part of a core that 200 idle mappings take",
         part="polling", figure="idle_core_share", limit=0.05, by="idle_core_share", file="polling.py"),
    Goal(promise="Messages a second that are sent to a queue, received and deleted over HTTP, in tens, from 4 connections",
         part="queues", figure="through_per_s", limit=4_000, at_least=True, by="through", file="queues.py"),
    Goal(promise="The same on an empty queue, against one that holds 100,000",
         part="queues", figure="depth_ratio", limit=1.5, unit=" ×", by="measure", file="queues.py"),
    Goal(promise="Records that a Kinesis stream takes a second, in `PutRecords` of 500 from 4 connections",
         part="streams", figure="put_per_s", limit=3_800, at_least=True, by="put", file="streams.py"),
    Goal(promise="The same into an empty stream, against one ten times as deep",
         part="streams", figure="depth_ratio", limit=1.5, unit=" ×", by="measure", file="streams.py"),
)  # fmt: skip
