"""What the front remembers of invocations' targets does not grow with the functions that ever were."""

from __future__ import annotations

import tracemalloc
from typing import Any

from lambent.front import invoke_api
from lambent.http1.request import Request

ABSENT: Any = None


def test_thousands_of_functions_leave_little_behind() -> None:
    targets = [f"/2015-03-31/functions/function-{number}/invocations".encode() for number in range(3_000)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        while targets:
            request = Request(ABSENT, b"POST", targets.pop(), [])
            assert invoke_api.is_invoke(request.method, request.target)
            invocation, _ = invoke_api._read(request, "111122223333", "eu-west-1", "r")
            assert invocation.function_name.startswith("function-")
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 400_000
