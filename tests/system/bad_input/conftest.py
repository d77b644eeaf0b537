"""While a function misbehaves, another one must not notice."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import attrs
import pytest

from live_server import Answer, LiveServer

PROMPT_S = 5.0  # far above the milliseconds that it takes: these machines do other things as well
PAUSE_S = 0.1


@attrs.define
class Bystander:
    """Calls a harmless function again and again from a thread of its own."""

    live: LiveServer
    name: str
    answers: list[Answer] = attrs.field(factory=list)
    problem: Exception | None = None
    _ended: threading.Event = attrs.field(factory=threading.Event)

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                self.answers.append(self.live.invoke(self.name, "still here", LogType="None"))
            except Exception as problem:  # whatever it is, the test must tell of it
                self.problem = problem
                return
            self._ended.wait(PAUSE_S)

    def end(self) -> None:
        self._ended.set()


@pytest.fixture(scope="session")
def harmless(live: LiveServer) -> str:
    name = live.create("def handler(event, context):\n    return event")
    assert live.invoke(name, 1).value == 1
    return name


@pytest.fixture(autouse=True)
def bystander(live: LiveServer, harmless: str) -> Iterator[Bystander]:
    """Fails the test when the other function was not answered promptly at any time, or the server is gone."""
    bystander = Bystander(live, harmless)
    thread = threading.Thread(target=bystander.run)
    thread.start()
    try:
        yield bystander
    finally:
        bystander.end()
        thread.join(timeout=30)
    assert bystander.problem is None, bystander.problem
    assert bystander.answers
    assert all(answer.value == "still here" for answer in bystander.answers)
    assert max(answer.seconds for answer in bystander.answers) < PROMPT_S
    assert live.process.poll() is None, live.output.read_text()
