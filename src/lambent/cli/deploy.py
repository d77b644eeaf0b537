"""`lambent deploy PATH`"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import click

from lambent.cli import deployment, guess
from lambent.cli.client import Server, server, server_options
from lambent.cli.contents import Contents, read_contents
from lambent.cli.problems import Problem
from lambent.cli.progress import progress

LAYER_ROOTS: Final = frozenset({"python", "nodejs", "java", "ruby", "lib", "bin", "extensions", "bootstrap"})
LAYER_PREFIX: Final = {"python": "python", "nodejs": "nodejs/node_modules", "java": "java/lib", "ruby": "ruby/lib"}


@attrs.frozen(kw_only=True)
class Options:
    """What stood on the command line."""

    path: Path
    name: str | None
    handler: str | None
    runtime: str | None
    role: str | None
    memory: int | None
    timeout: int | None
    environment: dict[str, str]
    layers: tuple[str, ...]
    as_json: bool


@click.command(short_help="Create or update a function.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="Name of the function; guessed from PATH.")
@click.option("--handler", help="Handler, as in app.handler; guessed from the files.")
@click.option("--runtime", help="Runtime id, as in python3.13; guessed: the newest that the server has.")
@click.option("--memory", type=click.IntRange(128, 10_240), metavar="MIB", help="Memory in MiB; AWS's default is 128.")
@click.option(
    "--timeout", type=click.IntRange(1, 900), metavar="SECONDS", help="Timeout in seconds; AWS's default is 3."
)
@click.option(
    "--env", "env", multiple=True, metavar="K=V", help="A variable, added to those the function has. Repeatable."
)
@click.option("--layer", "layers", multiple=True, metavar="DIR|ZIP|ARN",
              help="A layer, published if it is a folder or a zip. Repeatable, in order.")  # fmt: skip
@click.option(
    "--role",
    metavar="ARN",
    help="Execution role. Without it a role `lambent-deploy` is named, and made where roles must exist.",
)
@click.option("--watch", is_flag=True, help="Stay, and deploy again on every save.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@server_options
def command(
    path: Path, name: str | None, handler: str | None, runtime: str | None, memory: int | None, timeout: int | None,
    env: tuple[str, ...], layers: tuple[str, ...], role: str | None, watch: bool, as_json: bool,
    endpoint_url: str, region: str,
) -> None:  # fmt: skip
    """Create or update a function from PATH: a source file, a folder, a zip, or a program.

    What is not said is guessed, and the guess is printed. A function that exists keeps the settings that are not named.
    """
    options = Options(
        path=path, name=name, handler=handler, runtime=runtime, role=role, memory=memory, timeout=timeout,
        environment=_variables(env), layers=layers, as_json=as_json,
    )  # fmt: skip
    target = server(endpoint_url, region)
    client = target.client("lambda")
    if not watch:
        deploy_once(target, client, options)
        return
    from lambent.cli.watch import watch_and

    watch_and(path, lambda: deploy_once(target, client, options))


def deploy_once(target: Server, client: Any, options: Options) -> None:
    """Packs, guesses, deploys, waits, and says what it did. Raises Problem."""
    began = time.monotonic()
    with progress(f"Deploying {options.path}"):
        contents = read_contents(options.path)
        if guess.is_program(contents):
            contents = guess.as_bootstrap(contents)
        name = options.name or guess.guess_name(contents)
        with target.errors():
            before = deployment.current(client, name)
        wanted, guesses = _wanted(target, client, options, contents, name, before)
        if options.name is None:
            guesses = {"name": name, **guesses}
        if options.layers:
            family = guess.family_of_runtime(wanted.runtime or (before or {}).get("Runtime", ""))
            wanted = attrs.evolve(wanted, layers=_layers(target, client, options.layers, name, family))
        deployed = deployment.deploy(target, client, wanted, before)
    _tell(options, deployed, guesses, len(wanted.archive), time.monotonic() - began)


def _wanted(
    target: Server, client: Any, options: Options, contents: Contents, name: str, before: dict[str, Any] | None
) -> tuple[deployment.Wanted, dict[str, str]]:
    """What to ask for, and which of it was guessed. A function that exists is only asked for what was said."""
    runtime, handler, guesses = options.runtime, options.handler, {}
    if before is None and (runtime is None or handler is None):
        family = guess.family_of_runtime(runtime) if runtime else guess.guess_family(contents)
        if handler is None:
            guesses["handler"] = handler = guess.guess_handler(contents, family)
        if runtime is None:
            guesses["runtime"] = runtime = _newest_here(target, client, family)
    wanted = deployment.Wanted(
        name=name, archive=contents.packed(), runtime=runtime, handler=handler, role=options.role,
        memory_mib=options.memory, timeout_s=options.timeout, environment=options.environment,
    )  # fmt: skip
    return wanted, guesses


def _newest_here(target: Server, client: Any, family: str) -> str:
    """The newest runtime of a language that the server has, of those that AWS knows."""
    known = list(client.meta.service_model.shape_for("Runtime").enum)
    there = target.health().get("runtimes")
    if not isinstance(there, list) and urlsplit(target.url).hostname in ("127.0.0.1", "localhost", "::1"):
        there = _found_on_this_machine()
    runtime = guess.newest(family, [r for r in known if r in there] if there else known)
    if runtime is None:
        raise Problem(
            f"no interpreter for {family} was found; `lambent runtimes` lists what is there and `lambent doctor` says "
            f"how to add more"
        )
    return runtime


def _found_on_this_machine() -> list[str]:
    from lambent.config import load
    from lambent.runtimes.find import discover
    from lambent.runtimes.search import standard_paths

    return sorted(discover(standard_paths(load().data_dir)))


def _layers(target: Server, client: Any, given: tuple[str, ...], name: str, family: str) -> tuple[str, ...]:
    return tuple(
        item if item.startswith("arn:") else _published(target, client, Path(item), name, family) for item in given
    )


def _published(target: Server, client: Any, path: Path, name: str, family: str) -> str:
    """Publishes a folder or zip as a layer, at the place where the language looks if it does not say one itself."""
    if not path.exists():
        raise Problem(f"--layer {path}: there is no such folder or zip; an ARN begins with arn:")
    contents = read_contents(path)
    roots = {entry.split("/", 1)[0] for entry in contents.names()}
    if contents.archive is None and not roots & LAYER_ROOTS and family in LAYER_PREFIX:
        contents = contents.under(LAYER_PREFIX[family])
    return deployment.layer_arn(target, client, f"{name}-{path.stem}"[:64], contents.packed())


def _variables(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [item.partition("=") for item in given]
    for key, equals, _ in pairs:
        if not equals or not key:
            raise click.BadParameter(f"{key!r} is not of the form K=V", param_hint="--env")
    return {key: value for key, _, value in pairs}


def _tell(options: Options, deployed: deployment.Deployed, guesses: dict[str, str], size: int, took_s: float) -> None:
    configuration = deployed.configuration
    if options.as_json:
        keys = ("FunctionName", "FunctionArn", "Runtime", "Handler", "CodeSha256", "CodeSize", "State", "RevisionId")
        result = {key: configuration.get(key) for key in keys}
        click.echo(json.dumps({"Action": deployed.action, **result, "Guessed": guesses}))
        return
    name = configuration["FunctionName"]
    if guesses:
        click.echo("Guessed " + ", ".join(f"{what} {value}" for what, value in guesses.items()) + ".", err=True)
    click.echo(
        f"{deployed.action.capitalize()} {name}: {configuration.get('Runtime')}, {configuration.get('Handler')}, "
        f"{size / 1024:,.1f} KiB, in {took_s:.1f} s."
    )
    if deployed.action == "created":
        click.echo(f"Call it with: lambent invoke {name}", err=True)
