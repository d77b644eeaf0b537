"""`lambent credentials`"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lambent.cli.problems import Problem
from lambent.cli.settings import config_options, read_config

if TYPE_CHECKING:
    from lambent.control.credentials import AccessKey


@click.command(short_help="Print an account's access key.")
@click.option("--account", metavar="DIGITS", help="Twelve digits; default the setting account_id.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@config_options
def command(config_file: Path | None, data_dir: Path | None, account: str | None, as_json: bool) -> None:
    """Print the account's own access key as `export` lines for a shell, for servers with auth = "enforce".

    Only who may read the data directory can: whoever has this key may do everything in the account.
    """
    config = read_config(config_file, {"data_dir": data_dir, "account_id": account})
    key = _root_key(config.data_dir, config.account_id)
    variables = {"AWS_ACCESS_KEY_ID": key.access_key_id, "AWS_SECRET_ACCESS_KEY": key.secret_access_key}
    if as_json:
        click.echo(json.dumps(variables))
        return
    for name, value in variables.items():
        click.echo(f"export {name}={value}")


def _root_key(data_dir: Path, account_id: str) -> AccessKey:
    """Derived from the data directory's secret, which may be read while a server runs. Raises Problem."""
    from lambent.app import MASTER_SECRET
    from lambent.control.credentials import IssuedCredentials
    from lambent.store.database import StoreError, connect

    file = data_dir / "catalog.db"
    try:
        if not file.is_file():
            raise Problem(f"{data_dir} is no server's data directory; give one by --data, or start `lambent up` first")
        with contextlib.closing(connect(file, read_only=True)) as connection:
            found = connection.execute("SELECT value FROM secrets WHERE name = ?", (MASTER_SECRET,)).fetchone()
    except (OSError, sqlite3.Error, StoreError) as error:
        raise Problem(f"{file} cannot be read: {error}; ask as the user who started the server") from error
    if found is None:
        raise Problem(f"{data_dir} has no keys yet; start `lambent up` once")
    return IssuedCredentials(found[0]).root(account_id)
