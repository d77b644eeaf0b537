"""What a function's environments import is compiled once, and not at each start."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from typing import Any

from live_server import RUNNING_PYTHON, LiveServer, package, until

LONG_MODULE = "\n".join(f"def f{number}(a, b):\n    return [a, b, {number}]" for number in range(2_000))
APP = """
    import importlib.machinery, os, time
    compiled = []
    to_code = importlib.machinery.SourceFileLoader.source_to_code
    def noting(self, data, path, **options):
        compiled.append(path)
        return to_code(self, data, path, **options)
    importlib.machinery.SourceFileLoader.source_to_code = noting
    import big
    try:
        import layered
    except ImportError:
        pass
    time.sleep(0.05)  # long enough to be worth it, whatever the machine

    def handler(event, context):
        found = {}
        for root in ("/var/task", "/opt/python"):
            for name in os.listdir(root + "/__pycache__") if os.path.isdir(root + "/__pycache__") else ():
                with open(f"{root}/__pycache__/{name}", "rb") as file:
                    found[name.split(".")[0]] = file.read().decode(errors="replace")
        return {"compiled": compiled, "found": found}
"""


def invocations(live: LiveServer, name: str) -> float:
    with urllib.request.urlopen(f"{live.url}/_lambent/metrics") as answer:
        lines = answer.read().decode().splitlines()
    counted = [line for line in lines if line.startswith("lambent_lambda_invocations_total") and f'"{name}"' in line]
    return max(float(line.rpartition(" ")[2]) for line in counted)


def found_by(live: LiveServer, name: str, *modules: str) -> dict[str, str]:
    """What lies beside the modules, once all of them have something: an environment sees it while it lives."""

    def all_found() -> dict[str, str] | None:
        found: dict[str, str] = live.invoke(name).value["found"]
        return found if found.keys() >= set(modules) else None

    return until(all_found, 60.0)


def layer_of(live: LiveServer) -> str:
    content = {"ZipFile": package({"python/layered.py": LONG_MODULE})}
    arn: str = live.client().publish_layer_version(LayerName="layered", Content=content)["LayerVersionArn"]
    return arn


def test_the_next_environment_compiles_nothing_and_nobody_sees_who_did(live: LiveServer) -> None:
    client = live.client()
    name = live.create({"app.py": APP, "big.py": LONG_MODULE}, Layers=[layer_of(live)], MemorySize=512)
    assert live.invoke(name).value["compiled"] == ["/var/task/big.py", "/opt/python/layered.py"]
    found_by(live, name, "app", "big", "layered")

    client.update_function_configuration(FunctionName=name, Description="another environment")
    live.until_ready(name)
    assert live.invoke(name).value["compiled"] == []

    log = live.log_of(name)
    assert log.count("START RequestId") == log.count("REPORT ") == until(lambda: invocations(live, name))
    streams = live.client("logs").describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
    assert len(streams) == 2


def test_a_short_init_or_little_source_is_not_worth_it(live: LiveServer) -> None:
    """Both would come before a third, which is: one after the other is compiled."""
    quick = live.create(
        {"app.py": APP.replace("time.sleep(0.05)", "pass").replace("import big", ""), "big.py": LONG_MODULE}
    )
    small = live.create({"app.py": APP, "big.py": "pass"})
    worth_it = live.create({"app.py": APP, "big.py": LONG_MODULE + "\n# another package"})
    for name in (quick, small, worth_it):
        live.invoke(name)
    found_by(live, worth_it, "big")
    assert live.invoke(small).value["found"] == {}
    if "Init Duration" not in (log := live.log_of(quick)) or float(log.partition("Init Duration: ")[2].split()[0]) < 30:
        assert live.invoke(quick).value["found"] == {}


HOSTILE = """
    import base64, json, os, socket
    def reachable():
        try:
            socket.create_connection(("127.0.0.1", int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2])), 1).recv(1)
            return True
        except OSError:
            return False
    def handler(event, context):
        said = base64.b64encode(json.dumps([dict(os.environ), reachable(), os.listdir("/opt")]).encode()).decode()
        bad = {path: said for path in ("../VICTIM/app.py", "/etc/passwd.py", "../../../../../../etc/passwd.py")}
        return {"modules": {**bad, "big.py": said, "app.py": said}, "more": False}
"""


def test_a_package_that_passes_itself_off_as_the_compiler_gains_nothing(live: LiveServer) -> None:
    victim_package = package({"app.py": "def handler(event, context):\n    return 'safe'"})
    victim = live.create(victim_package)
    assert live.invoke(victim).value == "safe"
    digest = hashlib.sha256(victim_package).hexdigest()
    name = live.create(
        {"app.py": APP, "big.py": LONG_MODULE, "lambent_bytecode.py": HOSTILE.replace("VICTIM", digest)},
        Layers=[layer_of(live)],
        Environment={"Variables": {"SECRET": "of-the-function"}},
    )
    said: list[Any] = json.loads(found_by(live, name, "big")["big"])
    variables, endpoint_answers, layers = said
    assert "SECRET" not in variables
    assert not [name for name in variables if name.startswith(("AWS_ACCESS", "AWS_SECRET", "AWS_SESSION"))]
    assert not endpoint_answers
    assert "python" not in layers
    assert not list((live.data / "code" / digest).rglob("*.pyc"))

    # What is no bytecode is compiled as ever; and nobody else has met it.
    live.client().update_function_configuration(FunctionName=name, Description="another environment")
    live.until_ready(name)
    assert "/var/task/big.py" in live.invoke(name).value["compiled"]
    live.client().update_function_configuration(FunctionName=victim, Description="another environment")
    live.until_ready(victim)
    assert live.invoke(victim).value == "safe"


ENDLESS = """
    import http.client, os
    def handler(event, context):
        api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
        path = f"/2018-06-01/runtime/invocation/{context.aws_request_id}/response"
        api.request("POST", path, b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
        api.getresponse().read()
"""


def test_a_package_whose_answer_cannot_be_read_keeps_nobody_from_being_compiled(live: LiveServer) -> None:
    live.invoke(live.create({"app.py": APP, "big.py": LONG_MODULE, "lambent_bytecode.py": ENDLESS}))
    name = live.create({"app.py": APP, "big.py": LONG_MODULE + "\n# after one that cannot be read"})
    live.invoke(name)
    found_by(live, name, "big")


def test_it_is_of_the_interpreter_that_will_import_it(live: LiveServer) -> None:
    name = live.create({"app.py": APP, "big.py": LONG_MODULE + "\n# for another interpreter"})
    live.invoke(name)
    found_by(live, name, "big")
    other = live.installed("python3.13")
    if other is None or other == RUNNING_PYTHON:
        return
    live.client().update_function_configuration(FunctionName=name, Runtime=other)
    live.until_ready(name)
    assert live.invoke(name).value["compiled"] == ["/var/task/big.py"]
