"""The `lambent` command: one file for each of its commands, imported only when that command runs."""

from __future__ import annotations

import importlib
from typing import Any, Final

import click

from lambent import __version__

COMMANDS: Final = {
    "up": "Start the server.",
    "deploy": "Create or update a function from a file, a folder or a zip.",
    "invoke": "Call a function and print what it answers.",
    "logs": "Print what a function logged; -f follows.",
    "events": "Say what happened to a function's asynchronous events; -f follows.",
    "runtimes": "List the interpreters found here, add one, build their SDKs.",
    "doctor": "Say what this machine offers, what is missing and how to get it.",
    "credentials": "Print an account's access key, for servers that check signatures.",
    "sandbox": "Look into the cage.",
    "bench": "Measure Lambent beside its peers, and write the table.",
}
"""Every command and its line in `lambent --help`, so that help need not import them."""


class Commands(click.Group):
    """Imports `lambent.cli.NAME` when NAME is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"lambent.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """What Lambent raises on purpose is told in one line, whichever command it came from."""
        from lambent.cli.problems import Problem
        from lambent.model.errors import LambentError

        try:
            return super().invoke(ctx)
        except LambentError as error:
            raise Problem(str(error)) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="lambent", message="%(prog)s %(version)s")
def main() -> None:
    """AWS Lambda on machines of your own.

    Start with `lambent doctor`, then `lambent up`, then `lambent deploy PATH`.
    """
