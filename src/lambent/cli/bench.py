"""`lambent bench`"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lambent.cli.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE = click.Path(path_type=Path, dir_okay=False)
DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.command(short_help="Measure Lambent beside its peers.")
@click.option("--quick", is_flag=True, help="Minutes less; figures are rough.")
@click.option("--only", metavar="PART,…", help="These parts alone: cold, warm, burst, peers …")
@click.option(
    "--peers", is_flag=True, help="Install peers that are missing, by npm and pip, into a directory that is removed."
)
@click.option(
    "--soak", type=click.FloatRange(min=0), default=0.0, metavar="MINUTES", help="Also a mixed load, so long."
)
@click.option("--json", "json_file", type=FILE, metavar="FILE", help="Write all figures there.")
@click.option("--markdown", type=FILE, metavar="FILE", help="Write the page there, instead of printing it.")
@click.option("--plots", type=DIRECTORY, metavar="DIR", help="Write pictures there, as SVG.")
@click.option("--checkout", type=DIRECTORY, metavar="DIR",
              help="Write all of that into docs/ of Lambent's sources, and the tables in promises.md and README.md.")  # fmt: skip
def command(quick: bool, only: str | None, peers: bool, soak: float, **places: Path | None) -> None:
    """Measure Lambent on this machine beside nginx, bare interpreters and other servers, and write the figures down.

    It starts servers of its own on ports of 127.0.0.1 that are free, and stops them. Some ten minutes; nothing else should run meanwhile.
    Exit status 1: something of Lambent's own could not be measured.
    """
    from lambent.bench import suite
    from lambent.bench.server import new_run

    names = _chosen(only, suite.PARTS)
    if places["checkout"] and (only or quick):
        raise click.UsageError("--checkout writes what is promised: it takes a whole run, without --only and --quick")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped
    with new_run(_say, quick=quick, soak_minutes=soak, install_peers=peers) as run:
        figures = suite.measure(run, {*names, "soak"} if soak else names)
    try:
        _write(figures, **places)
    except (OSError, ValueError) as error:
        raise Problem(f"the figures could not be written: {error}") from error
    failed = suite.failures(figures)
    for name, told in failed.items():
        click.echo(f"{name}: {told}", err=True)
    sys.exit(1 if failed else 0)


def _chosen(only: str | None, parts: Iterable[str]) -> list[str]:
    """All parts, or those that are named. Raises click's usage error for one that there is not."""
    known = list(parts)
    names = [name.strip() for name in only.split(",")] if only else known
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.BadParameter(f"there is no {', '.join(unknown)}; parts are {', '.join(known)}", param_hint="--only")
    return names


def _say(doing: str) -> None:
    """A line for each thing that is done, so that a log has them too."""
    click.echo(doing, err=True)


def _write(
    figures: dict[str, Any], json_file: Path | None, markdown: Path | None, plots: Path | None, checkout: Path | None
) -> None:
    from lambent.bench.writing import write_checkout, write_json, write_page, write_plots

    if checkout:
        write_checkout(figures, checkout)
        click.echo(f"Written to {checkout / 'docs'}.", err=True)
    if json_file:
        write_json(figures, json_file)
    if plots:
        write_plots(figures, plots)
    if markdown:
        write_page(figures, markdown, plots)
    elif not checkout:
        from lambent.bench.report import benchmarks_page

        click.echo(benchmarks_page(figures))
