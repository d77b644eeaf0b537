"""`lambent runtimes`"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lambent.cli.problems import Problem
from lambent.cli.progress import progress
from lambent.cli.settings import config_options, read_config

if TYPE_CHECKING:
    from lambent.model.cage import RuntimeInstallation


@click.group(invoke_without_command=True, short_help="List, add and build runtimes.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@config_options
@click.pass_context
def command(ctx: click.Context, config_file: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """List the interpreters that were found on this machine, by the runtime id that they serve."""
    ctx.obj = read_config(config_file, {"data_dir": data_dir}).data_dir
    if ctx.invoked_subcommand is None:
        _list(ctx.obj, as_json)


@command.command(short_help="Add a directory with an interpreter.")
@click.argument("prefix", metavar="PATH", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.pass_obj
def add(data_dir: Path, prefix: Path) -> None:
    """Remember PATH, a self-contained installation with `bin` below it. A running server sees it at its next start."""
    from lambent.runtimes import find
    from lambent.runtimes.errors import RuntimeNotUsable

    try:
        with progress(f"Asking what is in {prefix}"):
            brought = find.add(data_dir, prefix)
    except RuntimeNotUsable as error:
        raise Problem(str(error)) from error
    except OSError as error:
        raise Problem(f"it could not be remembered in {data_dir}: {error.strerror}; choose another --data") from error
    for installation in brought:
        click.echo(f"Added {installation.runtime}: {installation.executable} ({installation.version}).")


@command.command(short_help="Build the directories with client and SDK.")
@click.argument("names", metavar="[RUNTIME]...", nargs=-1)
@click.pass_obj
def build(data_dir: Path, names: tuple[str, ...]) -> None:
    """Build what functions see at /var/runtime, AWS's SDK included, for RUNTIME or for all that were found.

    A server does this by itself when a runtime is first used; done ahead, the first function does not wait for it.
    """
    from lambent.runtimes.errors import RuntimeMissing, RuntimeNotUsable

    with progress("Looking for interpreters"):
        found = _installations(data_dir)
    for name in names or sorted(found.by_runtime):
        try:
            with progress(f"Building {name}"):
                built = found.for_runtime(name)
        except (RuntimeMissing, RuntimeNotUsable) as error:
            raise Problem(str(error)) from error
        click.echo(f"{name}: {built.runtime_dir or 'needs no directory'}")


def _list(data_dir: Path, as_json: bool) -> None:
    with progress("Asking each interpreter for its version"):
        by_runtime = _installations(data_dir).by_runtime
    found = sorted(
        by_runtime.items(), key=lambda item: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", item[0])]
    )
    if as_json:
        click.echo(json.dumps([_row(data_dir, installation) for _, installation in found]))
        return
    if not found:
        raise Problem("no interpreter was found; install Python or Node.js, or add one by `lambent runtimes add PATH`")
    rows = [("RUNTIME", "VERSION", "SDK", "INTERPRETER")]
    for name, installation in found:
        row = _row(data_dir, installation)
        rows.append(
            (name, row["version"], {True: "there", False: "not built", None: "-"}[row["sdk"]], row["path"] or "-")
        )
    widths = [max(len(line[column]) for line in rows) for column in range(3)]
    for line in rows:
        click.echo("  ".join((*(line[column].ljust(widths[column]) for column in range(3)), line[3])))


def _row(data_dir: Path, installation: RuntimeInstallation) -> dict[str, Any]:
    return {
        "runtime": installation.runtime,
        "language": installation.family,
        "version": installation.version,
        "path": str(installation.executable) if installation.executable else None,
        "sdk": has_sdk(data_dir, installation),
    }


def has_sdk(data_dir: Path, installation: RuntimeInstallation) -> bool | None:
    """Whether AWS's SDK is in a runtime directory that was built; None for languages that bring none."""
    marks = {"python": "boto3", "nodejs": "node_modules/@aws-sdk"}
    mark = marks.get(installation.family)
    return None if mark is None else any((data_dir / "runtimes" / installation.runtime).glob(f"*/{mark}"))


def _installations(data_dir: Path) -> Any:
    from lambent.runtimes.find import Installations

    return Installations.find(data_dir)
