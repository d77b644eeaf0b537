"""What can be read of an invocation while it still runs."""

from __future__ import annotations

import threading

from live_server import LiveServer, until


def test_start_can_be_read_before_anything_else_is_said(live: LiveServer) -> None:
    name = live.create("import time\ndef handler(event, context):\n    time.sleep(event)", Timeout=30)
    live.invoke(name, 0)
    caller = threading.Thread(target=live.invoke, args=(name, 3))
    caller.start()
    try:
        until(lambda: live.log_of(name).count("START RequestId") == 2 or None)
        assert live.log_of(name).count("REPORT RequestId") == 1
    finally:
        caller.join()
    log = live.log_of(name)
    assert [line.split()[0] for line in log.splitlines() if "RequestId" in line][-3:] == ["START", "END", "REPORT"]
