"""Options that a server and the machine's own commands share, and reading the configuration with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from lambent.cli.problems import Problem
from lambent.config import Config, ConfigError, load

P = ParamSpec("P")
R = TypeVar("R")


def config_options(function: Callable[P, R]) -> Callable[P, R]:
    """`--config` and `--data`, handed to the command as `config_file` and `data_dir`."""
    file = click.option("--config", "config_file", type=click.Path(path_type=Path), metavar="FILE",
                        help="Settings in TOML; default lambent.toml here, if there is one.")  # fmt: skip
    data = click.option("--data", "data_dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
                        help="Directory of all state; default .lambent.")  # fmt: skip
    return file(data(function))


def read_config(config_file: Path | None, flags: dict[str, Any]) -> Config:
    """Raises Problem."""
    try:
        return load(config_file, flags=flags)
    except ConfigError as error:
        raise Problem(str(error)) from error
