"""Compiles the modules of a package or a layer: the handler of an environment that serves no function (invoke/bytecode.py).

None of them is run. What Python would not take when it imports a module is not worth writing: the same interpreter
compiles here, and leaves alone what is compiled already.
"""

import base64
import importlib.util
import os
import stat
import time
import warnings
from importlib import _bootstrap_external

PAGE_BYTES = 2 * 1024 * 1024  # of bytecode, in an answer of at most 6 MB in Base64
PAGE_S = 5.0  # an answer now and then shows that it is getting on
SKIPPED = ("__pycache__", "tests")  # a package's own tests are large and hardly ever imported
_HEADER_BYTES = 16  # https://peps.python.org/pep-0552/: magic, flags, then time and size of the source, or its hash
_HAS_HASH = 1


def handler(_event, _context):
    """The next of them: {"modules": {path: bytecode in Base64}, "more": whether there may be others}."""
    page = {}
    page_bytes = 0
    until = time.monotonic() + PAGE_S
    for path, bytecode in _compiling:
        page[path] = base64.b64encode(bytecode).decode()
        page_bytes += len(bytecode)
        if page_bytes >= PAGE_BYTES or time.monotonic() > until:
            return {"modules": page, "more": True}
    return {"modules": page, "more": False}


def compile_below(root):
    """(path of the source relative to `root`, bytecode) of all that is not compiled yet; links are not followed."""
    warnings.simplefilter("ignore")
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        for name in sorted(names):
            if name.endswith(".py"):
                source = os.path.join(folder, name)
                bytecode = _compiled(source)
                path = os.path.relpath(source, root)
                if bytecode is not None and len(bytecode) <= PAGE_BYTES and _is_text(path):
                    yield path, bytecode


def _is_text(path):
    """Whether JSON can say it."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _compiled(source):
    """None for what is compiled, or cannot be."""
    try:
        found = os.lstat(source)
        if not stat.S_ISREG(found.st_mode) or _is_compiled(source, found):
            return None
        with open(source, "rb") as file:
            text = file.read()
        code = compile(text, source, "exec", dont_inherit=True)
        return bytes(_bootstrap_external._code_to_timestamp_pyc(code, int(found.st_mtime), found.st_size))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None


def _is_compiled(source, found):
    """Whether an import would take what lies beside it."""
    try:
        with open(importlib.util.cache_from_source(source), "rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError:
        return False
    if len(header) < _HEADER_BYTES or header[:4] != importlib.util.MAGIC_NUMBER:
        return False
    flags, mtime, size = (int.from_bytes(header[at : at + 4], "little") for at in (4, 8, 12))
    if flags & _HAS_HASH:
        return True
    return mtime == int(found.st_mtime) & 0xFFFFFFFF and size == found.st_size & 0xFFFFFFFF


_compiling = compile_below(os.environ.get("LAMBDA_TASK_ROOT", "/var/task"))
