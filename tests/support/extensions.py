"""Extensions as layers of a live server's functions."""

from __future__ import annotations

import io
import textwrap
import uuid
import zipfile
from collections.abc import Mapping
from typing import Final

from live_server import EXECUTABLE, LiveServer

# An extension's beginning. Its end comes from the test: it calls `register`, then `next_event` again and again.
PRELUDE: Final = """\
#!/usr/bin/python3 -IS
import http.client, json, os, sys, threading, time
import http.server
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
me = {}
def ask(method, path, body=None, headers={}):
    api.request(method, path, None if body is None else json.dumps(body), {**me, **headers})
    answer = api.getresponse()
    return answer, answer.read()
def register(*events, name=os.path.basename(sys.argv[0])):
    answer, body = ask("POST", "/2020-01-01/extension/register", {"events": events}, {"Lambda-Extension-Name": name})
    if answer.status != 200:
        say("refused", answer.status, body.decode())
        sys.exit(1)
    me["Lambda-Extension-Identifier"] = answer.headers["Lambda-Extension-Identifier"]
def next_event():
    return json.loads(ask("GET", "/2020-01-01/extension/event/next")[1])
def say(*words):
    print("extension:", *words, flush=True)
def collect(port, *types):
    # Subscribes to telemetry and prints what comes.
    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            for event in json.loads(self.rfile.read(int(self.headers["content-length"]))):
                say("telemetry", json.dumps(event))
            self.send_response(200)
            self.end_headers()
        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("sandbox.localdomain", port), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return ask("PUT", "/2022-07-01/telemetry", {
        "schemaVersion": "2022-12-13", "types": types, "buffering": {"timeoutMs": 1000},
        "destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{port}"},
    })
"""


def program(code: str) -> str:
    return PRELUDE + textwrap.dedent(code)


def layer(live: LiveServer, files: Mapping[str, str]) -> str:
    """Publishes a layer of executable files; its version's ARN."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, content in files.items():
            info = zipfile.ZipInfo(path)
            info.external_attr = EXECUTABLE
            archive.writestr(info, content)
    name = f"layer-{uuid.uuid4().hex[:8]}"
    answer = live.client().publish_layer_version(LayerName=name, Content={"ZipFile": out.getvalue()})
    return str(answer["LayerVersionArn"])


def extension(live: LiveServer, code: str, name: str = "watcher") -> str:
    """A layer with one external extension; the ARN."""
    return layer(live, {f"extensions/{name}": program(code)})


def end_environments(live: LiveServer, function: str) -> None:
    """A changed function leaves its environments behind; their extensions are told SHUTDOWN."""
    live.client().update_function_configuration(FunctionName=function, Description=uuid.uuid4().hex)
