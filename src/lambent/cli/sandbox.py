"""`lambent sandbox plan FUNCTION`"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs
import click

from lambent.cli.client import server, server_options
from lambent.cli.problems import Problem
from lambent.cli.settings import config_options, read_config
from lambent.model.cage import EnvironmentSpec, IsolationLevel

if TYPE_CHECKING:
    from lambent.config import Config
    from lambent.model.cage import RuntimeInstallation


@click.group(short_help="Look into the cage.")
def command() -> None:
    """Look into the cage that functions run in."""


@command.command()
@click.argument("function")
@click.option("--qualifier", metavar="VERSION|ALIAS", help="Which version; default $LATEST.")
@click.option("--level", type=click.Choice([level.value for level in IsolationLevel]),
              help="Plan for this level; default the one that `lambent up` would take here.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@config_options
@server_options
def plan(
    function: str, qualifier: str | None, level: str | None, as_json: bool, config_file: Path | None,
    data_dir: Path | None, endpoint_url: str, region: str,
) -> None:  # fmt: skip
    """Print what would be done to cage one environment of FUNCTION: mounts, limits, ids. Nothing is started."""
    from lambent.sandbox.plan import plan_environment

    config = read_config(config_file, {"data_dir": data_dir})
    target = server(endpoint_url, region)
    client = target.client("lambda")
    members = {"FunctionName": function, **({"Qualifier": qualifier} if qualifier else {})}
    with target.errors():
        configuration = client.get_function_configuration(**members)
        layers = [client.get_layer_version_by_arn(Arn=layer["Arn"]) for layer in configuration.get("Layers", [])]
    chosen = IsolationLevel(level) if level else _level(config)
    port = urlsplit(target.url).port or config.port
    planned = plan_environment(_spec(config, configuration, layers), chosen, endpoint_port=port)
    click.echo(json.dumps(planned.as_json()) if as_json else planned.render())


def _level(config: Config) -> IsolationLevel:
    from lambent.cli.doctor import level_of
    from lambent.sandbox.machine import detect

    return level_of(config, detect())


def _spec(config: Config, configuration: dict[str, Any], layers: list[dict[str, Any]]) -> EnvironmentSpec:
    """The environment as the pool would ask for it, but for the variables, which no plan shows."""
    code = config.data_dir / "code"
    layer_dirs = [code / _hex(layer["Content"]["CodeSha256"]) for layer in layers]
    return EnvironmentSpec(
        environment_id="0" * 32,
        installation=_installation(config.data_dir, configuration),
        code_dir=code / _hex(configuration["CodeSha256"]),
        # Several layers are merged into a directory of their own when the first environment starts.
        layers_dir=layer_dirs[0] if len(layer_dirs) == 1 else config.data_dir / "layers" if layer_dirs else None,
        variables={},
        memory_mib=configuration["MemorySize"],
        ephemeral_mib=configuration["EphemeralStorage"]["Size"],
        internet=config.internet,
    )


def _installation(data_dir: Path, configuration: dict[str, Any]) -> RuntimeInstallation:
    """What runs the function, with its runtime directory if a server has built one; building is not this command's."""
    from lambent.runtimes.find import Installations, missing

    runtime = configuration.get("Runtime")
    if runtime is None:
        raise Problem(f"{configuration['FunctionName']} is a container image; only zip packages are planned yet")
    found = Installations.find(data_dir).by_runtime.get(runtime)
    if found is None:
        raise Problem(str(missing(runtime)))
    built = sorted((data_dir / "runtimes" / runtime).glob("[0-9a-f]*"), key=lambda path: path.stat().st_mtime)
    return attrs.evolve(found, runtime_dir=built[-1] if built else None)


def _hex(sha256_base64: str) -> str:
    return base64.b64decode(sha256_base64).hex()
