"""`lambent events FUNCTION`"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import click

from lambent.cli.client import DEFAULT_ACCOUNT_ID, Server, server, server_options
from lambent.cli.problems import Problem

POLL_S: Final = 0.3
ANSWER_TIMEOUT_S: Final = 60


@click.command(short_help="Say what happened to a function's asynchronous events.")
@click.argument("function")
@click.option("-f", "--follow", is_flag=True, help="Stay, and print what happens as it does.")
@click.option("-n", "--last", default=20, metavar="NUMBER", help="How many of the newest events; default 20.")
@click.option("--show", metavar="ID", help="Print one event whole, as JSON, with its payload.")
@click.option("--replay", metavar="ID", help="Send a past event again, and print its new id.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@server_options
def command(
    function: str, follow: bool, last: int, show: str | None, replay: str | None, as_json: bool,
    endpoint_url: str, region: str,
) -> None:  # fmt: skip
    """Print what happened to each asynchronous event of FUNCTION: accepted, attempted, failed, throttled, sent to
    where, dropped and why.

    IDs are the request ids that the function sees.
    """
    if sum((follow, show is not None, replay is not None)) > 1:
        raise click.UsageError("--follow, --show and --replay do not go together")
    timeline = Timeline(server(endpoint_url, region), function)
    if replay is not None:
        request_id = timeline.ask("POST", f"/{quote(replay, safe='')}/replay")["requestId"]
        click.echo(json.dumps({"requestId": request_id}) if as_json else request_id)
    elif show is not None:
        click.echo(json.dumps(timeline.ask("GET", f"/{quote(show, safe='')}"), indent=None if as_json else 2))
    else:
        _print_steps(timeline, function, last, follow, as_json)


def _print_steps(timeline: Timeline, function: str, last: int, follow: bool, as_json: bool) -> None:
    try:
        shown = 0
        for step in timeline.follow(last) if follow else timeline.newest(last):
            click.echo(json.dumps(step) if as_json else line(step))
            shown += 1
        if not shown and not as_json:
            click.echo(f"No events of {function}. `lambent invoke {function} --event` leaves one.", err=True)
    except KeyboardInterrupt:
        return


def line(step: dict[str, Any]) -> str:
    """A step as people read it."""
    at = datetime.fromtimestamp(step["atMs"] / 1000).isoformat(sep=" ", timespec="milliseconds")
    details = dict(step["detail"])
    if "next_at_ms" in details:
        next_at = datetime.fromtimestamp(details.pop("next_at_ms") / 1000)
        details["next"] = next_at.isoformat(sep=" ", timespec="seconds")
    told = "  ".join(f"{name}={value}" for name, value in details.items())
    return f"{at}  {step['requestId']}  {step['what']:<17} {told}".rstrip()


class Timeline:
    """Reads the API below /_lambent/events/."""

    def __init__(self, target: Server, function: str) -> None:
        self._target = target
        self._function = function

    def newest(self, last: int) -> list[dict[str, Any]]:
        """The steps of so many newest events, in the order in which they happened."""
        events = self.ask("GET", f"?limit={max(last, 0)}")["events"]
        steps = [{"requestId": event["requestId"], **step} for event in events for step in event["steps"]]
        return sorted(steps, key=lambda step: int(step["id"]))

    def follow(self, last: int) -> Iterator[dict[str, Any]]:
        """The same, and then what happens, for ever."""
        steps = self.newest(last)
        yield from steps
        after = max((step["id"] for step in steps), default=0)
        while True:
            steps = self.ask("GET", f"/steps?after={after}")["steps"]
            yield from steps
            after = max((step["id"] for step in steps), default=after)
            if not steps:
                time.sleep(POLL_S)

    def ask(self, method: str, below: str) -> dict[str, Any]:
        """Raises Problem."""
        url = f"{self._target.url}/_lambent/events/{quote(self._function, safe='')}{below}"
        request = urllib.request.Request(url, method=method, headers=_signature(self._target, method, url))
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:
                content = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise Problem(_said(error)) from error
        except (OSError, ValueError) as error:
            url = self._target.url
            raise Problem(
                f"nothing answers at {url}; start a server with `lambent up`, or name another one by --endpoint-url"
            ) from error
        assert isinstance(content, dict)
        return content


def _said(error: urllib.error.HTTPError) -> str:
    try:
        content = json.load(error)
        return f"{content['code']}: {content['message']}"
    except (ValueError, KeyError, TypeError):
        return f"the server answered {error.code}"


def _signature(target: Server, method: str, url: str) -> dict[str, str]:
    """Headers that say who asks, as AWS's clients do; with dummies where the user has no credentials."""
    import botocore.session
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    with target.errors():
        credentials = botocore.session.get_session().get_credentials() or Credentials(DEFAULT_ACCOUNT_ID, "test")
        request = AWSRequest(method=method, url=url)
        SigV4Auth(credentials, "lambda", target.region).add_auth(request)
    return dict(request.headers.items())
