from __future__ import annotations

import stat
from pathlib import Path

import pytest

from lambent.cli import guess
from lambent.cli.contents import Contents, Entry
from lambent.cli.problems import Problem


def of(files: dict[str, str], origin: Path = Path("/x/my-fn")) -> Contents:
    return Contents(origin, tuple(Entry(name, text.encode(), stat.S_IFREG | 0o644) for name, text in files.items()))


PYTHON = "def handler(event, context):\n    return 1\n"


@pytest.mark.parametrize(
    ("files", "family", "handler"),
    [
        ({"app.py": PYTHON}, "python", "app.handler"),
        ({"a.py": "X = 1", "lambda_function.py": "def lambda_handler(e, c): ..."}, "python", "lambda_function.lambda_handler"),
        ({"thing.py": "def go(event, context): ...\ndef other(a): ..."}, "python", "thing.go"),
        ({"app.py": "handler = make()"}, "python", "app.handler"),
        ({"app.py": "async def handler(e, c): ..."}, "python", "app.handler"),
        ({"app.py": "def handler(e, c):\n  print 'old'\n"}, "python", "app.handler"),
        ({"index.js": "exports.handler = async () => 1"}, "nodejs", "index.handler"),
        ({"index.mjs": "export const handler = async () => 1"}, "nodejs", "index.handler"),
        ({"app.mjs": "const handler = () => 1;\nexport { handler };"}, "nodejs", "app.handler"),
        ({"main.cjs": "module.exports = { a, handler }"}, "nodejs", "main.handler"),
        ({"x.mjs": "export async function hello(event) {}"}, "nodejs", "x.hello"),
        ({"index.mjs": "export const handler = 1", "node_modules/a/setup.py": ""}, "nodejs", "index.handler"),
        ({"function.rb": "def handler(event:, context:)\nend"}, "ruby", "function.handler"),
        ({"bootstrap": "#!/bin/sh", "lib.py": ""}, "provided", "bootstrap"),
        (
            {"p/Hi.class": "..com/amazonaws/services/lambda/runtime/RequestHandler..", "p/Other.class": ""},
            "java",
            "p.Hi::handleRequest",
        ),
    ],
)  # fmt: skip
def test_language_and_handler_follow_from_the_files(files: dict[str, str], family: str, handler: str) -> None:
    contents = of(files)
    assert guess.guess_family(contents) == family
    assert guess.guess_handler(contents, family) == handler


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"readme.txt": ""}, "--runtime"),
        ({"a.py": "", "b.js": ""}, "several languages"),
    ],
)
def test_files_that_do_not_say_their_language_are_refused(files: dict[str, str], words: str) -> None:
    with pytest.raises(Problem, match=words):
        guess.guess_family(of(files))


@pytest.mark.parametrize(
    ("files", "family"),
    [
        ({"app.py": "def one(a, b): ...\ndef two(a, b): ..."}, "python"),
        ({"index.js": "1"}, "nodejs"),
        ({"a.class": ""}, "java"),
        ({"x": ""}, "dotnet"),
    ],
)
def test_a_handler_that_is_not_clear_is_asked_for(files: dict[str, str], family: str) -> None:
    with pytest.raises(Problem, match="--handler"):
        guess.guess_handler(of(files), family)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("resize.py", "resize"),
        ("shop/lambda_function.py", "shop"),
        ("shop/bootstrap", "shop"),
        ("My Function!.zip", "My-Function"),
        ("a" * 80 + ".py", "a" * 64),
    ],
)
def test_the_name_comes_from_the_path(tmp_path: Path, path: str, name: str) -> None:
    assert guess.guess_name(of({}, tmp_path / path)) == name


def test_a_folder_gives_its_name(tmp_path: Path) -> None:
    (tmp_path / "hello.world").mkdir()
    assert guess.guess_name(of({}, tmp_path / "hello.world")) == "hello-world"


def test_a_path_without_a_usable_character_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="--name"):
        guess.guess_name(of({}, tmp_path / "éé.py"))


def test_a_program_becomes_an_executable_bootstrap() -> None:
    contents = of({"hello": "#!/bin/sh\n"})
    assert guess.is_program(contents)
    entry = guess.as_bootstrap(contents).entries[0]
    assert (entry.name, entry.executable) == ("bootstrap", True)
    assert not guess.is_program(of({"a.py": "#!/usr/bin/env python3"}))
    assert not guess.is_program(of({"a": "#!", "b": ""}))


def test_the_newest_runtime_is_by_number_not_by_letter() -> None:
    runtimes = [
        "python3.9",
        "python3.13",
        "python3.8",
        "nodejs22.x",
        "nodejs8.10",
        "java25",
        "java8.al2",
        "provided.al2",
    ]
    assert guess.newest("python", runtimes) == "python3.13"
    assert guess.newest("nodejs", runtimes) == "nodejs22.x"
    assert guess.newest("java", runtimes) == "java25"
    assert guess.newest("provided", runtimes) == "provided.al2"
    assert guess.newest("provided", [*runtimes, "provided.al2023"]) == "provided.al2023"
    assert guess.newest("ruby", runtimes) is None
