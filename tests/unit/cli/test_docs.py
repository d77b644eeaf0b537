"""What the documents say must exist: files, commands, options, settings, targets of make."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from lambent.cli import COMMANDS, main

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])


def command_paths() -> dict[str, click.Command]:
    """`deploy`, `runtimes add` …: every command that can be typed after `lambent`."""
    assert isinstance(main, click.Group)
    found: dict[str, click.Command] = {}
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {inner}": each for inner, each in command.commands.items()}
    return found


def options(command: click.Command) -> set[str]:
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return own | {"--help", "-h", "--version"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_something(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)]
    inside = [target for target in targets if target and not target.startswith(("http://", "https://"))]
    missing = [target for target in inside if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_that_is_shown_exists(page: Path) -> None:
    commands = command_paths()
    text = page.read_text(encoding="utf-8")
    for line in re.findall(r"(?:^|[`/ ])lambent ((?:[a-z]+)[^`\n]*)", text):
        words = line.split("#")[0].split()
        path = " ".join(words[:2]) if " ".join(words[:2]) in commands else words[0]
        if words[0] not in commands:
            assert f"`lambent {words[0]}" not in text, f"{page.name}: there is no `lambent {words[0]}`"
            continue
        used = {word.split("=")[0].rstrip(",.;:|") for word in words if re.match(r"--?[a-z]", word)}
        unknown = used - options(commands[path])
        assert not unknown, f"{page.name}: lambent {path} has no {', '.join(unknown)}"


def test_the_table_of_commands_names_options_that_exist() -> None:
    commands = command_paths()
    rows = re.findall(
        r"^\| `lambent ([a-z ]+?)(?: [A-Z]+)?` \| (.+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert {name.split()[0] for name, _ in rows} == set(COMMANDS)
    for name, text in rows:
        for option in re.findall(r"`(--[a-z-]+)", text):
            assert option in options(commands[name]), f"lambent {name} has no {option}"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_target_of_make_that_is_shown_exists(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^ {4}|`)make ([a-z-]+)", (ROOT / page).read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page}: make {target}"


def test_every_example_has_a_line_in_the_list_of_examples() -> None:
    text = (ROOT / "examples" / "README.md").read_text()
    folders = {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()} - {"shared"}
    assert folders == set(re.findall(r"^\| \[([a-z-]+)\]", text, re.MULTILINE))
