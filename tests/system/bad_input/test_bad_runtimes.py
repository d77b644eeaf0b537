"""Runtimes that do not keep to the Runtime API. Each takes the place of Lambent's own client when it is imported."""

from __future__ import annotations

from live_server import LiveServer

MIB = 1024 * 1024
RUNTIME = """
import http.client, json, os, socket
address = os.environ["AWS_LAMBDA_RUNTIME_API"]
connection = http.client.HTTPConnection(address)
def ask(method, path, body=None, headers={}):
    connection.request(method, "/2018-06-01/runtime/" + path, body, headers)
    response = connection.getresponse()
    return response, response.read().decode()
def next_event():
    response, body = ask("GET", "invocation/next")
    return response.headers["Lambda-Runtime-Aws-Request-Id"], json.loads(body)
"""


def runtime(body: str) -> str:
    return RUNTIME + "\n".join(line[8:] for line in body.splitlines())


def test_of_two_answers_the_first_counts(live: LiveServer) -> None:
    name = live.create(
        runtime("""
        refused = None
        while True:
            request_id, event = next_event()
            ask("POST", f"invocation/{request_id}/response", json.dumps({"event": event, "refused": refused}))
            response, body = ask("POST", f"invocation/{request_id}/response", '"second"')
            refused = [response.status, json.loads(body)["errorType"]]
        """)
    )
    assert live.invoke(name, 1).value == {"event": 1, "refused": None}
    assert live.invoke(name, 2).value == {"event": 2, "refused": [403, "InvalidStateTransition"]}


def test_an_answer_for_another_request_is_refused(live: LiveServer) -> None:
    name = live.create(
        runtime("""
        seen = "11111111-1111-4111-8111-111111111111"
        while True:
            request_id, event = next_event()
            response, body = ask("POST", f"invocation/{seen}/response", '"not mine"')
            refused = [response.status, json.loads(body)["errorType"]]
            ask("POST", f"invocation/{request_id}/response", json.dumps(refused))
            seen = request_id
        """)
    )
    for _ in range(3):  # a made-up request, then one that has been answered
        assert live.invoke(name).value == [400, "InvalidRequestID"]


def test_bad_http_to_the_runtime_api_harms_nobody(live: LiveServer) -> None:
    name = live.create(
        runtime("""
        def rude(data, close=False):
            host, port = address.split(":")
            with socket.create_connection((host, int(port))) as rude_one:
                rude_one.settimeout(5)
                try:
                    rude_one.sendall(data)
                    if close:
                        return "closed"
                    rude_one.shutdown(socket.SHUT_WR)
                    return rude_one.recv(4096)[:12].decode("latin-1")
                except OSError:
                    return "reset"
        while True:
            request_id, event = next_event()
            target = b"POST /2018-06-01/runtime/invocation/" + request_id.encode() + b"/response HTTP/1.1\\r\\n"
            seen = [
                rude(b"\\x16\\x03\\x01 this is not HTTP\\r\\n\\r\\n"),
                rude(b"GET / HTTP/9.9\\r\\n\\r\\n"),
                rude(b"GET /" + b"x" * 1000000 + b" HTTP/1.1\\r\\n\\r\\n"),
                rude(b"GET / HTTP/1.1\\r\\n" + b"a: b\\r\\n" * 100000 + b"\\r\\n"),
                rude(target + b"content-length: -5\\r\\n\\r\\nhello"),
                rude(target + b"content-length: 5\\r\\ncontent-length: 6\\r\\n\\r\\nhello"),
                rude(target + b"transfer-encoding: chunked\\r\\n\\r\\nzz\\r\\nhello"),
                rude(b"DELETE /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n"),
                rude(b"GET /../../etc/passwd HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n"),
            ]
            rude(target + b"content-length: 5000000\\r\\n\\r\\nhalf", close=True)
            ask("POST", f"invocation/{request_id}/response", json.dumps(seen))
        """),
        Timeout=20,
    )
    for _ in range(2):
        answers = live.invoke(name).value
        assert len(answers) == 9
        assert all(answer in ("", "reset") or answer.startswith("HTTP/1.1 4") for answer in answers), answers


def test_a_runtime_that_asks_for_the_next_event_first_gets_the_same_one_again(live: LiveServer) -> None:
    name = live.create(
        runtime("""
        while True:
            request_id, event = next_event()
            again = [next_event() == (request_id, event) for _ in range(3)]
            ask("POST", f"invocation/{request_id}/response", json.dumps(again))
        """)
    )
    assert live.invoke(name).value == [True, True, True]
    assert live.invoke(name).value == [True, True, True]


def test_a_function_that_closes_its_descriptors_is_answered_all_the_same(live: LiveServer) -> None:
    name = live.create(
        """
        import os
        def handler(event, context):
            os.closerange(*event)
            return "well"
        """,
        Timeout=3,
    )
    for closed in ([0, 3], [0, 1024], [0, 0]):  # Lambent's client connects again
        assert live.invoke(name, closed).value == "well"


def test_a_runtime_that_closes_its_descriptors_and_hangs_ends_with_the_timeout(live: LiveServer) -> None:
    name = live.create(
        runtime("""
        request_id, event = next_event()
        os.closerange(0, 1024)
        import signal
        signal.pause()
        """),
        Timeout=1,
    )
    for _ in range(2):
        assert live.invoke(name).error["errorType"] == "Sandbox.Timedout"


def test_a_runtime_cannot_fill_the_servers_memory_through_its_api(live: LiveServer) -> None:
    """By a request that has no end, or by asking for a large event again and again without reading it."""
    name = live.create(
        runtime("""
        def connect():
            host, port = address.split(":")
            connection = socket.create_connection((host, int(port)))
            connection.settimeout(5)
            return connection
        ask_next = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\n"
        piece = bytes(65536)
        while True:
            request_id, event = next_event()
            held = []
            for head, piece in (
                (b"Transfer-Encoding: chunked\\r\\n\\r\\n", b"10000\\r\\n" + b"a" * 65536 + b"\\r\\n"),
                (b"X-Long: ", b"a" * 65536),
            ):
                held.append(connect())
                try:
                    held[-1].sendall(ask_next + head)
                    for _ in range(60 * 16):
                        held[-1].sendall(piece)
                except OSError:
                    pass
            for _ in range(40):
                held.append(connect())
                held[-1].sendall(ask_next + b"\\r\\n")
                assert held[-1].recv(1) == b"H"
            ask("POST", f"invocation/{request_id}/response", json.dumps(len(event)))
        """),
        Timeout=60,
    )
    live.invoke(name, "x")
    before_mib = live.resident_mib()
    for _ in range(2):
        assert live.invoke(name, "x" * (5 * MIB)).value == 5 * MIB
        assert live.resident_mib() - before_mib < 80


def test_seven_megabytes_are_too_large_an_answer(live: LiveServer) -> None:
    name = live.create("def handler(event, context):\n    return 'x' * event", MemorySize=256, Timeout=10)
    error = live.invoke(name, 7 * MIB).error
    assert error["errorType"] == "Function.ResponseSizeTooLarge"
    assert error["errorMessage"] == "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
    assert len(live.invoke(name, 6 * MIB - 2).value) == 6 * MIB - 2
