"""Internal extensions: threads of the runtime's own process, which register while it starts."""

from __future__ import annotations

import textwrap

from extensions import end_environments
from live_server import LiveServer, until

REGISTERING = """
    import http.client, json, os, signal, sys, threading, time
    def ask(method, path, body=None, headers={}):
        api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
        api.request(method, "/2020-01-01/extension/" + path, body, headers)
        answer = api.getresponse()
        return answer, answer.read()
    def register(*events, name="inner"):
        answer, body = ask("POST", "register", json.dumps({"events": events}), {"Lambda-Extension-Name": name})
        return answer.status, {"Lambda-Extension-Identifier": answer.headers.get("Lambda-Extension-Identifier", "")}, body
    def listen(me):
        while True:
            event = json.loads(ask("GET", "event/next", headers=me)[1])
            print("inner:", event["eventType"], event["requestId"], flush=True)
"""
SAYS_GOODBYE = """
    def goodbye(*_):
        print("terminated", flush=True)
        time.sleep(0.2)
        print("said goodbye", flush=True)
        sys.exit(0)
    signal.signal(signal.SIGTERM, goodbye)
    def handler(event, context):
        return context.aws_request_id
"""
LISTENING = """
    status, me, _ = register("INVOKE")
    threading.Thread(target=listen, args=(me,), daemon=True).start()
"""


def registering(*parts: str) -> str:
    return "".join(textwrap.dedent(part) for part in (REGISTERING, *parts))


def test_an_internal_extension_is_told_of_invocations_and_the_runtime_may_finish(live: LiveServer) -> None:
    name = live.create(registering(LISTENING, SAYS_GOODBYE), Timeout=10)
    first, second = live.invoke(name), live.invoke(name)
    for answer in (first, second):
        assert f"inner: INVOKE {answer.value}\n" in live.log_of(name)
    end_environments(live, name)
    until(lambda: "said goodbye" in live.log_of(name))


def test_an_internal_extension_may_not_ask_for_shutdown_nor_come_late(live: LiveServer) -> None:
    code = """
        refused = register("SHUTDOWN")
        def handler(event, context):
            late = register("INVOKE", name="late")
            return [refused[0], json.loads(refused[2])["errorType"], late[0], json.loads(late[2])["errorType"]]
    """
    answer = live.invoke(live.create(registering(code), Timeout=10))
    assert answer.value == [403, "Extension.InvalidEventType", 403, "Extension.RegistrationClosed"]


def test_an_internal_extension_that_gives_up_ends_the_environment(live: LiveServer) -> None:
    code = """
        status, me, _ = register()
        threading.Thread(target=ask, args=("GET", "event/next", None, me), daemon=True).start()
        def handler(event, context):
            ask("POST", "exit/error", "{}", {**me, "Lambda-Extension-Function-Error-Type": "Extension.NoMore"})
            time.sleep(60)
    """
    answer = live.invoke(live.create(registering(code), Timeout=30))
    assert answer.error["errorType"] == "Extension.ExitError"
    assert answer.seconds < 10
