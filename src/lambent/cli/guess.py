"""Guesses a function's name, language and handler from its files. Pure: files in, a guess with its reasons out."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Final

import attrs

from lambent.cli.contents import Contents
from lambent.cli.problems import Problem

MODULE_NAMES: Final = ("lambda_function", "handler", "index", "app", "main", "function")
FUNCTION_NAMES: Final = ("lambda_handler", "handler", "main")
FUNCTION_NAME_MAX: Final = 64  # CreateFunction, FunctionName
PROVIDED: Final = "provided.al2023"
JAVA_INTERFACES: Final = (
    b"com/amazonaws/services/lambda/runtime/RequestHandler",
    b"com/amazonaws/services/lambda/runtime/RequestStreamHandler",
)


@attrs.frozen
class Language:
    """How a language's functions are recognised."""

    family: str  # runtime ids begin with it
    suffixes: tuple[str, ...]
    exported: Callable[[str], list[str]]  # source text → names that could be handlers, likeliest first


def guess_name(contents: Contents) -> str:
    """From the folder's or the file's name; a file with a name that all functions have takes its folder's."""
    path = contents.origin.absolute()
    name = path.name if path.is_dir() else path.stem
    if not path.is_dir() and name in (*MODULE_NAMES, "bootstrap"):
        name = path.parent.name
    cleaned = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:FUNCTION_NAME_MAX]
    if not cleaned:
        raise Problem(f"no function name can be made of {path.name!r}; give one by --name")
    return cleaned


def guess_family(contents: Contents) -> str:
    """ "python", "nodejs", "ruby", "java" or "provided". Raises Problem when the files do not say."""
    names = contents.names()
    if "bootstrap" in names or is_program(contents):
        return "provided"
    if any(name.endswith((".jar", ".class")) for name in names) or contents.origin.suffix == ".jar":
        return "java"
    top = [name for name in names if "/" not in name]
    for candidates in (top, names):
        found = [lang.family for lang in LANGUAGES if any(name.endswith(lang.suffixes) for name in candidates)]
        if len(found) == 1:
            return found[0]
        if found:
            raise Problem(f"{contents.origin} holds files of several languages; name one by --runtime")
    raise Problem(f"{contents.origin}: no language that Lambent knows; name it by --runtime, and --handler")


def is_program(contents: Contents) -> bool:
    """One file that is a program of its own: it becomes the package's `bootstrap`."""
    if len(contents.entries) != 1 or contents.archive is not None:
        return False
    entry = contents.entries[0]
    known = any(entry.name.endswith(lang.suffixes) for lang in LANGUAGES)
    return not known and (entry.data.startswith((b"\x7fELF", b"#!")) or entry.name == "bootstrap")


def as_bootstrap(contents: Contents) -> Contents:
    """A package whose one program is named `bootstrap` and may be executed."""
    entry = contents.entries[0]
    return Contents(contents.origin, (attrs.evolve(entry, name="bootstrap", mode=entry.mode | 0o755),))


def guess_handler(contents: Contents, family: str) -> str:
    """AWS's notation for the family: `module.function`, `package.Class::method`. Raises Problem."""
    if family == "provided":
        return "bootstrap"  # unused by most; CreateFunction wants one
    if family == "java":
        return _java_handler(contents)
    language = next((lang for lang in LANGUAGES if lang.family == family), None)
    if language is None:
        raise Problem(f"the handler of a {family} function cannot be guessed; give it by --handler")
    for name in _modules(contents, language.suffixes):
        text = (contents.read(name) or b"").decode(errors="replace")
        if exported := language.exported(text):
            return f"{PurePosixPath(name).with_suffix('')}.{exported[0]}"
    raise Problem(f"{contents.origin}: no handler was found; give it by --handler, as in app.handler")


def family_of_runtime(runtime: str) -> str:
    """`python` for `python3.13`, `provided` for `provided.al2023`, `java` for `java8.al2`."""
    matched = re.match(r"[a-z]+", runtime)
    return matched[0] if matched else runtime


def newest(family: str, runtimes: Iterable[str]) -> str | None:
    """The newest runtime id of a family: `python3.13` before `python3.9`; None when there is none."""
    mine = [runtime for runtime in runtimes if runtime.startswith(family)]
    if family == "provided":
        return PROVIDED if PROVIDED in mine or not mine else max(mine)
    return max(mine, key=lambda runtime: [int(n) for n in re.findall(r"\d+", runtime)], default=None)


def _modules(contents: Contents, suffixes: tuple[str, ...]) -> list[str]:
    """Files at the top that could hold the handler: the usual names first, then the others."""
    top = sorted(name for name in contents.names() if "/" not in name and name.endswith(suffixes))

    def rank(name: str) -> tuple[int, str]:
        stem = PurePosixPath(name).stem
        return (MODULE_NAMES.index(stem) if stem in MODULE_NAMES else len(MODULE_NAMES), name)

    return sorted(top, key=rank)


def _python_functions(text: str) -> list[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # perhaps for another Python than ours
        defined = re.findall(r"^def +(\w+)", text, re.MULTILINE)
        return _likely(defined, [])
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assigned = [
        t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
    ]
    takes_two = [f.name for f in functions if len(f.args.args) == 2 and not f.name.startswith("_")]
    return _likely([*(f.name for f in functions), *assigned], takes_two)


def _node_exports(text: str) -> list[str]:
    patterns = (
        r"\bexports\.(\w+)\s*=",
        r"^\s*export\s+(?:const|let|var|async\s+function\*?|function\*?)\s+(\w+)",
        r"^\s*export\s*\{[^}]*\b(handler)\b",
        r"\bmodule\.exports\s*=\s*\{[^}]*\b(handler)\b",
    )
    names = [name for pattern in patterns for name in re.findall(pattern, text, re.MULTILINE)]
    return _likely(names, names[:1])


def _ruby_methods(text: str) -> list[str]:
    return _likely(re.findall(r"^\s*def +(?:self\.)?(\w+)", text, re.MULTILINE), [])


def _likely(names: list[str], others: list[str]) -> list[str]:
    """Usual names first; else the only other one that would do."""
    usual: list[str] = [name for name in FUNCTION_NAMES if name in names]
    return usual or (others if len(others) == 1 else [])


def _java_handler(contents: Contents) -> str:
    found = [
        entry.name.removesuffix(".class").replace("/", ".")
        for entry in contents.entries
        if entry.name.endswith(".class") and any(interface in entry.data for interface in JAVA_INTERFACES)
        and not entry.name.startswith("com/amazonaws/")
    ]  # fmt: skip
    if len(found) != 1:
        several = (
            f"several classes could be the handler ({', '.join(sorted(found)[:4])})" if found else "no handler class"
        )
        raise Problem(f"{contents.origin}: {several}; give one by --handler, as in com.example.Handler::handleRequest")
    return f"{found[0]}::handleRequest"


LANGUAGES: Final = (
    Language("python", (".py",), _python_functions),
    Language("nodejs", (".js", ".mjs", ".cjs"), _node_exports),
    Language("ruby", (".rb",), _ruby_methods),
)
