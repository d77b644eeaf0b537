"""`lambent up`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from lambent.cli.problems import Problem
from lambent.cli.settings import config_options, read_config


@click.command(short_help="Start the server.")
@click.option("--port", type=click.IntRange(0, 65_535), help="TCP port of everything; default 4566.")
@click.option("--host", metavar="ADDRESS", help="Address to listen on; default 127.0.0.1.")
@click.option("--auth", type=click.Choice(["open", "enforce"]), help="Whether signatures are checked; default open.")
@click.option("--isolation", type=click.Choice(["auto", "root", "rootless", "process"]), help="Level of the cage.")
@click.option("--internet/--no-internet", default=None, help="Whether functions reach the internet; default no.")
@click.option("--virtual-clock", is_flag=True, default=None, help="Let /_lambent/clock turn the time; for tests.")
@config_options
def command(config_file: Path | None, **flags: Any) -> None:
    """Start the server, and serve until Ctrl-C or SIGTERM.

    Every setting is in docs/configuration.md; those that have no option here are given in the file or as LAMBENT_NAME.
    """
    config = read_config(config_file, flags)
    from lambent.app import up

    try:
        status = up(config)
    except OSError as error:
        raise Problem(f"the server could not start: {error}") from error
    sys.exit(status)
