"""Asking a service that speaks AWS's JSON protocols, on one connection that is kept."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from lambent.bench.errors import NotMeasured
from lambent.bench.server import Server


class JsonAsker:
    def __init__(self, server: Server, target: str, version: str) -> None:
        """`target` is what `X-Amz-Target` begins with; `version` is the protocol's: 1.0 or 1.1."""
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self._target = target
        self._content_type = f"application/x-amz-json-{version}"

    def ask(self, operation: str, body: bytes) -> dict[str, Any]:
        """The answer's members. Raises NotMeasured when it is an error."""
        headers = {"Content-Type": self._content_type, "X-Amz-Target": f"{self._target}.{operation}"}
        self._connection.request("POST", "/", body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise NotMeasured(f"{operation}: {answer.status} {content!r}")
        value: dict[str, Any] = json.loads(content) if content else {}
        return value

    def close(self) -> None:
        self._connection.close()


def together(count: int, connect: Callable[[], JsonAsker], work: Callable[[JsonAsker], None]) -> float:
    """The seconds that so many connections need when each does the same work. Raises NotMeasured when one of them fails."""
    problems: list[Exception] = []

    def one() -> None:
        asker = connect()
        try:
            work(asker)
        except (NotMeasured, OSError, http.client.HTTPException) as problem:
            problems.append(problem)
        finally:
            asker.close()

    threads = [threading.Thread(target=one) for _ in range(count)]
    began_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise NotMeasured(str(problems[0]))
    return time.perf_counter() - began_s
