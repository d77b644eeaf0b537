"""`lambent invoke NAME`"""

from __future__ import annotations

import base64
import contextlib
import json
import sys
from pathlib import Path
from typing import IO, Any

import click

from lambent.cli.client import Server, server, server_options
from lambent.cli.problems import Problem
from lambent.cli.progress import progress


@click.command(short_help="Call a function.")
@click.argument("name")
@click.option(
    "-p", "--payload", default="{}", metavar="JSON|@FILE|-", help="The event: JSON, a file's, or standard input's."
)
@click.option("--qualifier", metavar="VERSION|ALIAS", help="Which version to call; default $LATEST.")
@click.option("--event", is_flag=True, help="Leave the event in the queue and do not wait for the function.")
@click.option("--log", is_flag=True, help="Also print the last 4 KB of the function's log, on standard error.")
@click.option("--stream", is_flag=True, help="Print a streamed response as it comes.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the response to a file.")
@click.option("--json", "as_json", is_flag=True, help="Print status, version, error and payload as one JSON object.")
@server_options
def command(
    name: str, payload: str, qualifier: str | None, event: bool, log: bool, stream: bool, output: Path | None,
    as_json: bool, endpoint_url: str, region: str,
) -> None:  # fmt: skip
    """Call the function NAME and print what it answers.

    Exit status 0: it answered. 1: it failed, or could not be called; the reason is on standard error.
    """
    if stream and (event or as_json or log):
        raise click.UsageError("--stream goes with neither --event, --log nor --json")
    target = server(endpoint_url, region)
    members: dict[str, Any] = {"FunctionName": name, "Payload": _payload(payload)}
    if qualifier:
        members["Qualifier"] = qualifier
    with _sink(output) as sink:
        if stream:
            failure = _stream(target, members, sink)
        else:
            members |= {"InvocationType": "Event"} if event else {"LogType": "Tail"} if log else {}
            failure = _call(target, members, sink, as_json)
    if failure:
        raise Problem(failure)


def _payload(text: str) -> bytes:
    """The event's bytes. Raises Problem when they are not JSON."""
    try:
        if text == "-":
            data = sys.stdin.buffer.read()
        elif text.startswith("@"):
            data = Path(text[1:]).read_bytes()
        else:
            data = text.encode()
    except OSError as error:
        raise Problem(f"{text[1:]}: {error.strerror}; --payload takes JSON, @FILE or -") from error
    try:
        json.loads(data)
    except ValueError as error:
        raise Problem(f"the payload is not JSON: {error}; a file's is given as @FILE") from error
    return data


def _call(target: Server, members: dict[str, Any], sink: IO[bytes], as_json: bool) -> str | None:
    """Calls, prints, and says how the function failed if it did."""
    name = members["FunctionName"]
    client = target.client("lambda")
    with progress(f"Waiting for {name}"), target.errors():
        answer = client.invoke(**members)
        body: bytes = answer["Payload"].read()
    tail = base64.b64decode(answer.get("LogResult", "")).decode(errors="replace")
    error: str | None = answer.get("FunctionError")
    if as_json:
        result = {
            "StatusCode": answer["StatusCode"], "ExecutedVersion": answer.get("ExecutedVersion"), "FunctionError": error,
            "Payload": _parsed(body), "LogResult": tail or None, "RequestId": answer["ResponseMetadata"].get("RequestId"),
        }  # fmt: skip
        _print(sink, json.dumps(result).encode())
    elif answer["StatusCode"] == 202:
        request_id = answer["ResponseMetadata"].get("RequestId")
        told = f"`lambent events {name}` tells what happens to it, `lambent logs {name}` what it prints"
        click.echo(f"Queued as {request_id}. {told}.", err=True)
    else:
        _print(sink, body)
    if tail and not as_json:
        click.echo(tail, err=True, nl=False)
    return f"{name} failed ({error}): {_reason(body)}; see `lambent logs {name}`" if error else None


def _stream(target: Server, members: dict[str, Any], sink: IO[bytes]) -> str | None:
    client = target.client("lambda")
    name = members["FunctionName"]
    with target.errors():
        answer = client.invoke_with_response_stream(**members)
        for part in answer["EventStream"]:
            if "PayloadChunk" in part:
                sink.write(part["PayloadChunk"]["Payload"])
                sink.flush()
            elif "InvokeComplete" in part and part["InvokeComplete"].get("ErrorCode"):
                end = part["InvokeComplete"]
                return f"{name} failed ({end['ErrorCode']}): {end.get('ErrorDetails', '')}; see `lambent logs {name}`"
    return None


def _sink(output: Path | None) -> contextlib.AbstractContextManager[IO[bytes]]:
    """Where the response goes; standard output stays open."""
    if output is None:
        return contextlib.nullcontext(sys.stdout.buffer)
    try:
        return output.open("wb")
    except OSError as error:
        raise Problem(f"{output}: {error.strerror}; choose another file by --output") from error


def _print(sink: IO[bytes], body: bytes) -> None:
    """Writes the response; a terminal also gets the end of the line."""
    sink.write(body)
    sink.flush()
    if sink.isatty() and not body.endswith(b"\n"):
        sink.write(b"\n")
        sink.flush()


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode(errors="replace")


def _reason(body: bytes) -> str:
    """An error's type and message in one line."""
    error = _parsed(body)
    if not isinstance(error, dict):
        return str(error)
    told = ": ".join(str(error[key]) for key in ("errorType", "errorMessage") if error.get(key))
    return " ".join(told.split()) or "it gave no reason"
