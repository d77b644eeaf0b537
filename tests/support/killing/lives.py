"""One data directory, one port, one server after the other."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import attrs

from live_server import LiveServer, launch, start

OPTIONS = ("--isolation", "process", "--virtual-clock")
BEFORE_READY = 0.15  # of the kills come while the server starts
SHORT_LIFE, LONG_LIFE = 40, 200  # requests that are answered in it, at most
LONG_LIVES = 0.1  # so that what is tried again after a while comes to its end in between
LIFE_MOST_S = 5.0


@attrs.define
class Lives:
    """`up` is set while the server can be asked; `life` is a file in which functions find the number of their server's life."""

    folder: Path
    moments: random.Random
    up: threading.Event = attrs.field(factory=threading.Event)
    kills: int = 0
    answered: int = 0  # requests, roughly: several threads count
    turned_s: float = 0.0  # of the clock of the server that lives
    _server: LiveServer | None = None
    _options: tuple[str, ...] = ()
    _start_s: float = 1.0

    def __attrs_post_init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._options = (*OPTIONS, "--port", str(listener.getsockname()[1]))
        self._note_life()

    @property
    def server(self) -> LiveServer:
        """The last one that was ready. Its clients serve for all lives: the address stays."""
        assert self._server is not None
        return self._server

    @property
    def life(self) -> Path:
        return self.folder / "life"

    def begin(self) -> None:
        began_s = time.monotonic()
        started = start(self.folder / "data", *self._options)
        self._start_s = time.monotonic() - began_s
        if self._server is None:
            self._server = started
        else:
            self._server.process, self._server.output = started.process, started.output
        self.turned_s = 0.0
        self.up.set()

    def live_and_die(self) -> None:
        """One life, which ends at any moment: also before the server is ready."""
        if self.moments.random() < BEFORE_READY:
            process, _ = launch(self.folder / "data", *self._options)
            time.sleep(self.moments.random() * self._start_s)
            process.kill()
            process.wait()
            self._killed()
        else:
            self.begin()
            self.die()

    def die(self) -> None:
        most = LONG_LIFE if self.moments.random() < LONG_LIVES else SHORT_LIFE
        enough, over_s = self.answered + self.moments.randrange(most), time.monotonic() + LIFE_MOST_S
        while self.answered < enough and time.monotonic() < over_s:
            time.sleep(self.moments.random() * 0.01)
        self.up.clear()
        self.server.process.kill()
        self.server.process.wait()
        self._killed()

    def _killed(self) -> None:
        self.kills += 1
        self._note_life()

    def _note_life(self) -> None:
        self.life.write_text(str(self.kills))

    def turn(self, seconds: float) -> None:
        self._ask("POST", "clock", {"advance_s": seconds})
        self.turned_s += seconds

    def is_running(self, function: str) -> bool:
        """Whether an asynchronous event of the function is with it, or is due."""
        now_s = self._ask("GET", "clock")["now"]
        for event in self._ask("GET", f"events/{function}?limit=1000")["events"]:
            if event["state"] == "attempted" or (
                event["state"] == "waiting" and event["nextAttemptAtMs"] <= now_s * 1000
            ):
                return True
        return False

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.server.url}/_lambent/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def end(self) -> None:
        self.up.clear()
        if self._server is not None:
            self._server.stop()
