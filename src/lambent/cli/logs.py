"""`lambent logs NAME`"""

from __future__ import annotations

import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final

import click

from lambent.cli.client import Server, server, server_options
from lambent.cli.problems import Problem

UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
POLL_S: Final = 0.3
OVERLAP_MS: Final = 10_000  # lines of other environments may be stored after later ones: look back this far again
REMEMBERED_EVENTS: Final = 50_000


@click.command(short_help="Print what a function logged.")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Stay, and print new lines as they come.")
@click.option("--since", default="10m", metavar="AGE", help="How far back: 30s, 5m, 2h, 1d; default 10m.")
@click.option("--filter", "pattern", default="", metavar="PATTERN", help="A CloudWatch Logs filter pattern.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@server_options
def command(name: str, follow: bool, since: str, pattern: str, as_json: bool, endpoint_url: str, region: str) -> None:
    """Print the log of the function NAME, or of the log group NAME if it begins with a slash."""
    start_ms = int((time.time() - age_s(since)) * 1000)
    target = server(endpoint_url, region)
    reader = Reader(target, target.client("logs"), _group(target, name), pattern)
    try:
        shown = 0
        for event in reader.follow(start_ms) if follow else reader.since(start_ms):
            click.echo(json.dumps(event) if as_json else event["message"].rstrip("\n"))
            shown += 1
        if not shown and not as_json:
            click.echo(f"Nothing in the last {since}. --since looks further back, -f waits.", err=True)
    except KeyboardInterrupt:
        return


def age_s(text: str) -> int:
    """Seconds in `5m`. Raises click's usage error."""
    matched = re.fullmatch(r"(\d+)([smhdw])", text)
    if not matched:
        raise click.BadParameter("expected a number and one of s, m, h, d, w, as in 5m", param_hint="--since")
    return int(matched[1]) * UNITS_S[matched[2]]


class Reader:
    """Reads events of one group in order of time, each once."""

    def __init__(self, target: Server, client: Any, group: str, pattern: str) -> None:
        self._target = target
        self._client = client
        self._members = {"logGroupName": group, **({"filterPattern": pattern} if pattern else {})}
        self._seen: OrderedDict[str, None] = OrderedDict()

    def since(self, start_ms: int) -> Iterator[dict[str, Any]]:
        """What is stored. A group that does not exist has nothing."""
        token: dict[str, str] = {}
        while True:
            page = self._page({"startTime": start_ms, **token})
            for event in page.get("events", []):
                if event["eventId"] not in self._seen:
                    self._seen[event["eventId"]] = None
                    yield event
            if not page.get("nextToken"):
                return
            token = {"nextToken": page["nextToken"]}

    def follow(self, start_ms: int, sleep: Callable[[float], None] = time.sleep) -> Iterator[dict[str, Any]]:
        """What is stored and what comes, for ever."""
        newest_ms = start_ms
        while True:
            for event in self.since(max(start_ms, newest_ms - OVERLAP_MS)):
                newest_ms = max(newest_ms, event["timestamp"])
                yield event
            while len(self._seen) > REMEMBERED_EVENTS:
                self._seen.popitem(last=False)
            sleep(POLL_S)

    def _page(self, members: dict[str, Any]) -> dict[str, Any]:
        with self._target.errors():
            try:
                page: dict[str, Any] = self._client.filter_log_events(**self._members, **members)
            except self._client.exceptions.ResourceNotFoundException:
                return {}
        return page


def _group(target: Server, name: str) -> str:
    if name.startswith("/"):
        return name
    client = target.client("lambda")
    with target.errors():
        try:
            configuration = client.get_function_configuration(FunctionName=name)
        except client.exceptions.ResourceNotFoundException:
            raise Problem(
                f"there is no function {name}; deploy it, or name a log group, as in /aws/lambda/{name}"
            ) from None
    group = configuration.get("LoggingConfig", {}).get("LogGroup")
    return str(group or f"/aws/lambda/{configuration['FunctionName']}")
