"""What can be done before the function is known, in the process that later forks: imports, and touching what will run.

A function may bring modules of its own with the names of those that were imported ahead (`queue.py`, `typing.py`). On AWS
they win, because /var/task comes first; so `forget_shadowed` takes our copies away again.
"""

import importlib
import os
import pkgutil
import sys
import types

from lambent_faults import HERE

# What handlers commonly import. A name that some interpreter does not have is left out.
COMMON = (
    "argparse array ast asyncio atexit base64 binascii bisect calendar cgi collections.abc concurrent.futures configparser "
    "contextlib contextvars copy csv ctypes dataclasses datetime decimal difflib email.message email.mime.multipart "
    "email.mime.text email.parser enum errno fnmatch fractions functools getpass gettext glob gzip hashlib heapq hmac html "
    "http.client http.cookies importlib.metadata importlib.resources importlib.util inspect io ipaddress itertools json "
    "json.decoder json.encoder locale logging logging.config logging.handlers math mimetypes multiprocessing ntpath "
    "numbers operator optparse os pathlib pickle pkgutil platform pprint queue quopri random re secrets select selectors "
    "shlex shutil signal site socket ssl stat statistics string struct subprocess sysconfig tarfile tempfile textwrap "
    "threading time timeit tokenize traceback types typing unicodedata urllib.error urllib.parse "
    "urllib.request uuid warnings weakref xml.dom.minidom xml.etree.ElementTree zipfile zipimport zlib zoneinfo"
).split()

# AWS's own runtime has these loaded before it looks at the function's code, so a function cannot replace them there.
LOADED_ON_AWS = frozenset(
    "_abc _ast _codecs _collections _collections_abc _decimal _frozen_importlib _frozen_importlib_external _functools _imp "
    "_io _json _locale _operator _signal _sitebuiltins _sre _stat _string _struct _thread _tokenize _warnings _weakref "
    "_weakrefset abc ast atexit binascii builtins codecs collections contextlib copyreg decimal encodings enum errno "
    "functools genericpath importlib io itertools json keyword linecache logging marshal math numbers opcode operator os "
    "posix posixpath re reprlib site sre_compile sre_constants sre_parse stat string struct sys textwrap threading time "
    "token tokenize traceback types warnings weakref zipimport zlib".split()
)

_DUMMY = "import json\n\ndef handler(event, context):\n    return {'statusCode': 200, 'body': json.dumps(event)}\n"


def import_common():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # modules that are on their way out say so
        for name in COMMON:
            try:
                importlib.import_module(name)
            except ImportError:
                pass


def complete_builtins():
    """`exit`, `quit`, `help` and the like, where the interpreter was started without `site`."""
    if sys.flags.no_site:
        import site

        site.setquit()
        site.setcopyright()
        site.sethelper()


def touch(marshaller, context_class, read_head):
    """Runs once what every invocation runs, so that its memory pages are there and its caches are filled."""
    module = types.ModuleType("dummy")
    exec(compile(_DUMMY, os.path.join(HERE, "dummy.py"), "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    context = context_class("8476a536-e9f4-11e8-9739-2dfe598c3fcd", None, None, 0, "arn", None)
    marshaller.encode_response(module.handler(marshaller.decode_event(b'{"key": [1, 2.5, null, "text"]}'), context))
    repr(context)
    read_head(b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 8476a536\r\nContent-Length: 2\r\n\r\n")
    try:
        importlib.import_module("lambent_no_such_module")
    except ImportError:
        pass


def interpreter_path(environ):
    """The standard library's entries of `sys.path`.

    Left out are the script's directory, PYTHONPATH, and packages that happen to be installed for this interpreter on the
    host: what works here must work on AWS.
    """
    roots = (sys.base_prefix + "/", sys.base_exec_prefix + "/")
    given = set(filter(None, environ.get("PYTHONPATH", "").split(os.pathsep)))
    return [
        entry
        for entry in sys.path
        if entry.startswith(roots)
        and not entry.rstrip("/").endswith(("site-packages", "dist-packages"))
        and entry not in given
        and entry != HERE
    ]


def finder_of(directory):
    """What will look for modules there. It has not looked yet, so whatever is there by then will be found."""
    return pkgutil.get_importer(directory)


def names_in(directory):
    """Of the files in it; none where it is not there."""
    try:
        return os.listdir(directory)
    except OSError:
        return ()


def forget_shadowed(listings):
    """Takes modules that were imported ahead out of the way of the function's own of the same name."""
    names = {entry.partition(".")[0] for listing in listings for entry in listing}
    shadowed = {name for name in names if name in sys.modules} - LOADED_ON_AWS
    if shadowed:
        for name in [name for name in sys.modules if name.partition(".")[0] in shadowed]:
            del sys.modules[name]


def forget_strangers(standard_path):
    """Takes away modules that belong neither to the interpreter nor to this client: the forking process's own."""
    roots = tuple(entry.rstrip("/") + "/" for entry in standard_path)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and not name.startswith("lambent_") and name != "__main__" and not file.startswith(roots):
            del sys.modules[name]
