"""Lambent's client of the Runtime API for Python 3.8 and later.

`main()` runs a function: init, then one invocation after another. `preload()` does ahead, in a process that forks, all
that does not depend on the function. Users see what AWS's own Python runtime shows them.
"""

import importlib
import json
import os
import sys
import time
import types

import lambent_preload
import lambent_rehearsal
import lambent_snapstart
from lambent_client import ACCEPTED, RuntimeApiError, RuntimeClient
from lambent_context import LambdaContext
from lambent_faults import (
    HERE,
    PREVIEW_WARNING,
    UNHANDLED_WARNING,
    Fault,
    exception_result,
    fault_result,
    log_lines,
    print_uncaught,
    user_frames,
    xray_cause,
)
from lambent_json import Marshaller
from lambent_output import Current, Output, make_ahead

BOOTSTRAP = os.path.join(HERE, "bootstrap.py")
TASK_ROOT = "/var/task"
PREVIEW_RUNTIMES = ("AWS_Lambda_python3.15",)

# Read by the interpreter or the dynamic linker when a process starts: a fork comes too late for them.
STARTUP_VARIABLES = frozenset((b"LD_PRELOAD", b"LD_AUDIT", b"GLIBC_TUNABLES", b"MALLOC_ARENA_MAX", b"MALLOC_CHECK_"))
NOT_STARTUP_VARIABLES = frozenset(
    (b"PYTHONPATH", b"PYTHONUNBUFFERED", b"PYTHONIOENCODING", b"PYTHONUSERBASE", b"PYTHONNOUSERSITE")
)

_entry = None  # the module that stands for bootstrap.py in a forked process
_standard_path = None
_forgotten = False  # modules of the forking process are no longer to be seen
_has_signals = False  # this process, and not only the forking one, has them as the interpreter sets them
_connection_fd = None  # to the Runtime API, made ahead
_wait_for_files = None  # to be called before the function's code is looked at, where it is still being attached
_code_finder = None  # of modules in TASK_ROOT, made before there are any
_library_path = None  # the dynamic linker read it when this process was started


def preload():
    """Called once in the process that forks. Starts no thread and leaves nothing open."""
    global _code_finder, _entry, _has_signals, _library_path, _standard_path
    _library_path = os.environ.get("LD_LIBRARY_PATH")
    _standard_path = lambent_preload.interpreter_path(os.environ)
    lambent_preload.complete_builtins()
    lambent_preload.import_common()
    make_ahead()
    _code_finder = lambent_preload.finder_of(TASK_ROOT)
    _entry = types.ModuleType("__main__")
    _entry.__file__ = BOOTSTRAP
    with open(BOOTSTRAP, "rb") as file:
        code = compile(file.read(), BOOTSTRAP, "exec", dont_inherit=True)
    _entry.__name__ = "bootstrap"
    exec(code, _entry.__dict__)  # noqa: S102
    _entry.__name__ = "__main__"
    touch()
    _has_signals = False  # of what is forked
    lambent_snapstart.reserve()


def forget():
    """For a process that waits for its function: whatever belongs to the forking process."""
    global _forgotten, _has_signals
    if not _forgotten and _standard_path is not None:
        lambent_preload.forget_strangers([*_standard_path, HERE])
        _forgotten = True
    _restore_signals()
    _has_signals = True


def touch():
    """For the same: runs once what every invocation runs."""
    forget()
    Output({}).rehearse()
    time.tzset()
    client = RuntimeClient("127.0.0.1:0")
    lambent_preload.touch(Marshaller(), LambdaContext, client.parse_head)


def rehearsal():
    """For the process that forks: a whole life to try, and what one asks for elsewhere (its variables, an event, its receipt)."""

    def live():
        lambent_rehearsal.rehearse(_rehearse, RuntimeClient, ACCEPTED)

    elsewhere = {**lambent_rehearsal.VARIABLES, "_LAMBDA_TELEMETRY_LOG_FD": "3"}
    if _library_path is not None:
        elsewhere["LD_LIBRARY_PATH"] = _library_path
    return live, elsewhere, lambent_rehearsal.EVENT, ACCEPTED


def connected(descriptor):
    """There is a connection to the Runtime API already."""
    global _connection_fd
    _connection_fd = descriptor


def attaching(wait):
    """Code and layers are not there yet: `wait()` returns when they are."""
    global _wait_for_files
    _wait_for_files = wait


def restore(variables=None, channel_fd=-1):
    """Becomes a process whose init is done, from its image; see `lambent_snapstart`. Never returns."""
    lambent_snapstart.restore(variables, channel_fd)


def main():
    """Runs the function until the process ends. Never returns, and raises nothing."""
    lambent_snapstart.begin(os.environ)
    _start_anew_if_needed(os.environ)
    output = Output(os.environ)
    try:
        client = RuntimeClient(os.environ["AWS_LAMBDA_RUNTIME_API"], _connection_fd)
        _live(output, client)
    except SystemExit as stop:
        status = _exit_status(stop.code)
    except RuntimeApiError as error:
        output.complain(str(error))
        status = 1
    except BaseException as error:
        print_uncaught(error)
        status = 1
    else:
        status = 0
    _end(status)


def _live(output, client):
    """Init and invocations, until something ends them by an exception."""
    _look_like_aws(os.environ)
    output.install()
    _run(output, client)


def _rehearse(client):
    """What `main` does, in a process that goes on."""
    lambent_snapstart.begin(os.environ)
    _needs_own_interpreter(os.environ)
    try:
        _live(Output(os.environ), client)
    except RuntimeApiError:
        client.hang_up()


def _start_anew_if_needed(environ):
    """In a forked process: some variables are read when a program starts, so the interpreter has to be started again."""
    if _entry is None or not _needs_own_interpreter(environ):
        return
    lambent_snapstart.decline_if_asked("the function's environment variables ask for an interpreter of its own")
    _have_files()
    descriptor = environ.get("_LAMBDA_TELEMETRY_LOG_FD", "")
    if descriptor.isdigit():
        os.set_inheritable(int(descriptor), True)
    try:
        os.execve(sys.executable, [sys.executable, BOOTSTRAP], dict(environ))
    except OSError as error:
        os.write(2, f"{sys.executable}: {error.strerror}\n".encode())
        os._exit(126)


def _needs_own_interpreter(environ):
    names = environ._data  # as bytes: the mapping decodes each
    if not STARTUP_VARIABLES.isdisjoint(names):
        return True
    for name in names:
        if name.startswith(b"PYTHON") and name not in NOT_STARTUP_VARIABLES:
            return True
    return _library_path is not None and environ.get("LD_LIBRARY_PATH") != _library_path


def _look_like_aws(environ):
    """Working directory, `sys.argv`, `__main__` and `sys.path`: what code finds on AWS before its first line runs."""
    standard_path = lambent_preload.interpreter_path(environ) if _standard_path is None else _standard_path
    if _entry is not None:
        if not _forgotten:
            lambent_preload.forget_strangers([*standard_path, HERE])
        if not _has_signals:
            _restore_signals()
        sys.modules["__main__"] = _entry
    sys.argv[:] = [BOOTSTRAP]
    time.tzset()
    task_root = environ.get("LAMBDA_TASK_ROOT", TASK_ROOT)
    _have_files()
    try:
        os.chdir(task_root)
    except OSError:
        pass  # a missing code directory is reported as a module that cannot be imported
    layers_root = environ.pop("_LAMBENT_LAYERS_ROOT", "/opt")
    own_path = environ.get("PYTHONPATH", HERE)
    mine = [task_root]
    if own_path in (HERE, environ.get("LAMBDA_RUNTIME_DIR")):
        layer_packages = "python/lib/python{}.{}/site-packages".format(*sys.version_info[:2])
        mine += [os.path.join(layers_root, layer_packages), os.path.join(layers_root, "python")]
        environ["PYTHONPATH"] = own_path
        given = []
    else:
        given = [entry for entry in own_path.split(os.pathsep) if entry and entry != HERE]
    sys.path[:] = [*mine, HERE, *given, *standard_path]
    names = [lambent_preload.names_in(directory) for directory in mine]
    for directory, found in zip(mine, names):
        if _code_finder is None or sys.path_importer_cache.get(directory) is not _code_finder:
            sys.path_importer_cache.pop(directory, None)
        if any(name.endswith(".pth") for name in found):
            _add_path_files(directory)
    if _entry is not None:
        lambent_preload.forget_shadowed([*names, *map(lambent_preload.names_in, given)])


def _have_files():
    """From here on there are /var/task and /opt."""
    global _wait_for_files
    if _wait_for_files is not None:
        wait, _wait_for_files = _wait_for_files, None
        wait()


def _restore_signals():
    """What the interpreter sets when it starts: a fork may have been given other dispositions."""
    import signal

    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)


def _add_path_files(directory):
    """`.pth` files work in the code's and the layers' directories."""
    import site

    site.addsitedir(directory)


def _run(output, client):
    marshaller = Marshaller()
    if os.environ.get("AWS_EXECUTION_ENV") in PREVIEW_RUNTIMES and not os.environ.get("LAMBDA_DISABLE_PREVIEW_WARN"):
        _log_warning(PREVIEW_WARNING)
    handler = _initialise(client, marshaller, output)
    if lambent_snapstart.is_asked():
        _continue_elsewhere(client, marshaller, output)
    call = sys.modules["__main__"].__dict__.get("handle_event_request", _call)
    while True:
        _invoke(call, handler, client, marshaller, output)


def _continue_elsewhere(client, marshaller, output):
    """Takes the image and ends the process; what is restored from it returns, after the hooks of both sides.

    The error types and exit statuses are those of AWS's client.
    """
    step, error_type, post = lambent_snapstart.take, "Runtime.BeforeSnapshotError", client.fail_init
    try:
        step(client, output, touch)
        step, error_type, post = lambent_snapstart.run_after_restore, "Runtime.AfterRestoreError", client.fail_restore
        step()
    except Exception as error:
        result = exception_result(error)
        output.log_error(result, log_lines(result), marshaller.encoder.encode)
        output.flush()
        post(marshaller.encode_error(result), error_type)
        raise SystemExit(64 if step is lambent_snapstart.take else 65) from None


def _initialise(client, marshaller, output):
    """The handler; or the error is posted, and the process exits with status 1 as AWS's does."""
    try:
        return _find_handler(os.environ.get("_HANDLER", ""))
    except Fault as fault:
        result = fault_result(fault)
    except Exception as error:
        result = exception_result(error)
    _log_warning(UNHANDLED_WARNING)
    output.log_error(result, log_lines(result), marshaller.encoder.encode)
    client.fail_init(marshaller.encode_error(result), result["errorType"])
    raise SystemExit(1)


def _find_handler(name):
    """The function that `module.function` names; the module may be in directories (`dir/module.function`)."""
    module_name, dot, function_name = name.rpartition(".")
    if not dot:
        message = f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)"
        raise Fault("Runtime.MalformedHandlerName", message)
    if module_name.split(".")[0] in sys.builtin_module_names:
        message = f"Cannot use built-in module {module_name} as a handler module"
        raise Fault("Runtime.BuiltInModuleConflict", message)
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        raise Fault("Runtime.ImportModuleError", message) from None
    except SyntaxError as error:
        message = f"Syntax error in module '{module_name}': {error}"
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        raise Fault("Runtime.UserCodeSyntaxError", message, trace) from None
    try:
        return getattr(module, function_name)
    except AttributeError:
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        raise Fault("Runtime.HandlerNotFound", message) from None


def _invoke(call, handler, client, marshaller, output):
    """The next event: the handler's answer or its error is posted."""
    headers, body = client.next_event()
    request_id = headers.get("lambda-runtime-aws-request-id", "")
    Current.request_id = request_id
    Current.tenant_id = headers.get("lambda-runtime-aws-tenant-id")
    _set_trace_id(headers.get("lambda-runtime-trace-id"))
    frames = ()
    try:
        context = LambdaContext(
            request_id,
            _json_header(headers.get("lambda-runtime-client-context"), "Client Context"),
            _json_header(headers.get("lambda-runtime-cognito-identity"), "Cognito Identity"),
            int(headers.get("lambda-runtime-deadline-ms", 0)),
            headers.get("lambda-runtime-invoked-function-arn"),
            Current.tenant_id,
        )
        event = marshaller.decode_event(body)
        del body
        answer, content_type = marshaller.encode_response(call(handler, event, context))
    except Fault as fault:
        result = fault_result(fault, request_id)
    except Exception as error:
        result = exception_result(error, request_id)
        frames = user_frames(error.__traceback__)
    else:
        output.flush()
        status, said = client.respond(request_id.encode(), answer, content_type)
        _complain_unless_accepted(output, status, said, "success")
        return
    output.log_error(result, log_lines(result), marshaller.encoder.encode)
    output.flush()
    encoded = marshaller.encode_error(result)
    status, said = client.fail(request_id.encode(), encoded, result["errorType"], xray_cause(result, frames))
    _complain_unless_accepted(output, status, said, "failure")


def _call(handler, event, context):
    return handler(event, context)


def _complain_unless_accepted(output, status, said, outcome):
    if not 200 <= status < 300:
        text = f"Failed to post handler {outcome} response. Http response code: {status}."
        output.complain((text + " " + str(said[:1024], "utf-8", "replace")).rstrip())


def _json_header(value, name):
    if not value:
        return None
    try:
        return json.loads(value)
    except Exception as error:
        message = f"Unable to parse {name} JSON: {error}"
        raise Fault("Runtime.LambdaContextUnmarshalError", message) from None


def _set_trace_id(trace_id):
    """In os.environ and in the C library's; the mapping itself would encode the same name three times."""
    if trace_id is None:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
    else:
        value = os.fsencode(trace_id)
        os.environ._data[b"_X_AMZN_TRACE_ID"] = value
        os.putenv(b"_X_AMZN_TRACE_ID", value)


def _log_warning(text):
    import logging

    logging.warning(text)


def _exit_status(code):
    """What `sys.exit(code)` means to the interpreter."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _end(status):
    """Ends the process as the interpreter would, which in a fork would run the forking process's code instead."""
    import atexit

    threading = sys.modules.get("threading")
    if threading is not None:
        try:
            threading._shutdown()  # waits for threads that are not daemons
        except BaseException as error:
            print_uncaught(error)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    os._exit(status)
