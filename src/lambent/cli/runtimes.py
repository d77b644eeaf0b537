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
    from lambent.runtimes.find import Installations


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
@click.argument("names", metavar="[RUNTIME|LANGUAGE]...", nargs=-1)
@click.pass_obj
def build(data_dir: Path, names: tuple[str, ...]) -> None:
    """Build what functions see at /var/runtime, AWS's SDK included, for the RUNTIMEs or for all that were found.

    A server builds what it can from its own installation when it starts. This adds what comes from a package index: the SDK
    for JavaScript (by npm), and boto3 for Pythons that Lambent's own is too new for (by pip). A running server sees it at
    its next start.
    """
    with progress("Looking for interpreters"):
        found = _installations(data_dir)
    failures = [failure for name in _chosen(found, names) if (failure := _build(found, name)) is not None]
    if failures:
        raise Problem("; ".join(dict.fromkeys(failures)))


def _chosen(found: Installations, names: tuple[str, ...]) -> list[str]:
    """Runtime ids; a language stands for all of its own. Raises Problem for what is not on this machine."""
    from lambent.runtimes import find

    if not names:
        return sorted(found.by_runtime)
    chosen: dict[str, None] = {}
    for name in names:
        of_language = sorted(i.runtime for i in found.by_runtime.values() if i.family == name)
        if not of_language and name not in found.by_runtime:
            raise Problem(str(find.missing(name)))
        chosen.update(dict.fromkeys(of_language or [name]))
    return list(chosen)


def _build(found: Installations, name: str) -> str | None:
    """Builds one as far as possible, and says what could not be: without its SDK a runtime still works."""
    from lambent.runtimes.errors import RuntimeNotUsable

    failure = None
    installation = found.by_runtime[name]
    if has_sdk(found, installation) is False:
        try:
            found.fetch_sdk(name, lambda doing: click.echo(f"{doing} …", err=True))
        except RuntimeNotUsable as error:
            failure = str(error)
    try:
        with progress(f"Building {name}"):
            built = found.for_runtime(name)
            found.directories.finish(installation)
    except RuntimeNotUsable as error:
        return str(error)
    except OSError as error:
        return f"{name} was built, but its SDK could not be compiled: {error}"
    click.echo(f"{name}: {built.runtime_dir or 'needs no directory'}")
    return failure


def _list(data_dir: Path, as_json: bool) -> None:
    with progress("Asking each interpreter for its version"):
        installations = _installations(data_dir)
    found = sorted(
        installations.by_runtime.items(),
        key=lambda item: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", item[0])],
    )
    if as_json:
        click.echo(json.dumps([_row(installations, installation) for _, installation in found]))
        return
    if not found:
        raise Problem("no interpreter was found; install Python or Node.js, or add one by `lambent runtimes add PATH`")
    rows = [("RUNTIME", "VERSION", "SDK", "INTERPRETER")]
    for name, installation in found:
        row = _row(installations, installation)
        rows.append(
            (name, row["version"], {True: "there", False: "not built", None: "-"}[row["sdk"]], row["path"] or "-")
        )
    widths = [max(len(line[column]) for line in rows) for column in range(3)]
    for line in rows:
        click.echo("  ".join((*(line[column].ljust(widths[column]) for column in range(3)), line[3])))


def _row(found: Installations, installation: RuntimeInstallation) -> dict[str, Any]:
    return {
        "runtime": installation.runtime,
        "language": installation.family,
        "version": installation.version,
        "path": str(installation.executable) if installation.executable else None,
        "sdk": has_sdk(found, installation),
    }


def has_sdk(found: Installations, installation: RuntimeInstallation) -> bool | None:
    """Whether the next cold start finds AWS's SDK in its runtime directory; None where none belongs there."""
    from lambent.runtimes import nodejs

    mark = {"python": "boto3", "nodejs": "node_modules/@aws-sdk"}.get(installation.family)
    if mark is None or (installation.family == "nodejs" and not nodejs.sdk_fits(installation)):
        return None
    directory = found.directories.current(installation)
    return directory is not None and (directory / mark).is_dir()


def _installations(data_dir: Path) -> Installations:
    from lambent.runtimes.find import Installations

    return Installations.find(data_dir)
