"""Functions that print tiny lines without end, or one without an end. The `bystander` sees that another does not notice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from live_server import LiveServer
from neighbour_pace import TWOFOLD, Pace, least_ratio

LINES = 100_000
MANY_LINES = 1_000_000
LONG_MIB = 10
GROWTH_MAX_MIB = 150
SECONDS = 120
COMPUTES_S = 4

WRITES = """
    import os
    def handler(event, context):
        for _ in range(event // 1000):
            os.write(1, b"x\\n" * 1000)
        return event
"""
PRINTS = """
    def handler(event, context):
        for number in range(event):
            print(number)
        return event
"""
LOGS = """
    import logging
    logging.getLogger().setLevel("INFO")
    def handler(event, context):
        for number in range(event // 10):
            logging.info(number)
        return event
"""
ONE_LINE = f"""
    def handler(event, context):
        print("x" * ({LONG_MIB} << 20))
        return event
"""
COMPUTES = """
    import time
    def handler(event, context):
        until = time.monotonic() + event
        while time.monotonic() < until:
            pass
        return event
"""
FLOODS = {"writes": WRITES, "prints": PRINTS, "logs": LOGS, "one line": ONE_LINE}


def printer(live: LiveServer, code: str) -> str:
    return live.create(code, MemorySize=1769, Timeout=SECONDS)


def own_lines(live: LiveServer, name: str) -> list[str]:
    """Without the platform's."""
    platform = ("START ", "END ", "REPORT ", "INIT_START ")
    return [line for line in live.log_of(name).splitlines() if not line.startswith(platform)]


def test_tiny_lines_are_all_kept_and_another_functions_lines_are_there_meanwhile(live: LiveServer) -> None:
    flood = printer(live, PRINTS)
    other = live.create("def handler(event, context):\n    print('said', event)\n    return event")
    before_mib = live.resident_mib()
    with ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(live.invoke, flood, LINES)
        said = 0
        while not flooding.done():
            assert live.invoke(other, said).value == said
            said += 1
        assert flooding.result().value == LINES
    assert live.resident_mib() - before_mib < GROWTH_MAX_MIB
    assert own_lines(live, other) == [f"said {number}" for number in range(said)]
    assert own_lines(live, flood) == [str(number) for number in range(LINES)]
    assert "lines were dropped" not in live.output.read_text()


def test_a_line_of_ten_megabytes_is_kept_in_pieces(live: LiveServer) -> None:
    name = printer(live, ONE_LINE)
    assert live.invoke(name, 1).value == 1
    lines = own_lines(live, name)
    assert "".join(lines) == "x" * (LONG_MIB << 20)
    assert max(map(len, lines)) <= 262_144


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", FLOODS)
def test_a_million_lines_leave_others_twofold_at_most(live: LiveServer, harmless: str, kind: str) -> None:
    """Against one that computes and prints nothing: what a processor less costs is not the log's doing."""
    name, silent = printer(live, FLOODS[kind]), printer(live, COMPUTES)
    live.invoke(name, 0)
    live.invoke(silent, 0)
    before_mib = live.resident_mib()

    def flood(pace: Pace) -> None:
        assert live.invoke(name, MANY_LINES, LogType="None").value == MANY_LINES
        pace.until_more(100)

    def compute(pace: Pace) -> None:
        assert live.invoke(silent, COMPUTES_S).value == COMPUTES_S
        pace.until_more(100)

    assert least_ratio(live, harmless, flood, compute) < TWOFOLD
    assert live.resident_mib() - before_mib < GROWTH_MAX_MIB
    live.client("logs").delete_log_group(logGroupName=f"/aws/lambda/{name}")
