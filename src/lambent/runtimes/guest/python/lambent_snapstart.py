"""SnapStart on the function's side: the image is taken once init is done, and environments go on from there.

Only a process that a zygote forked can be continued, so everything that is needed for it is loaded in the zygote: it costs a
start nothing.
"""

import errno
import gc
import os
import sys

_area = None  # the zygote's, where this processor's machine code is known
_kept = {}
_given = {}  # the variables that this process was started with
_beginning = None  # how it began, once it is to have its image taken
_fitness = _image = _restore = None  # the modules

_STANDARD_FDS = (0, 1, 2, 3)


def reserve():
    """Called once in the process that forks, when everything that it loads is loaded."""
    global _area, _fitness, _image, _restore
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return
    import lambent_fitness
    import lambent_image
    import lambent_restore

    try:
        _area = lambent_restore.Area()
    except OSError:
        return
    _fitness, _image, _restore = lambent_fitness, lambent_image, lambent_restore


def begin(environ):
    """Called before anything of the function's runs."""
    global _beginning, _given, _kept
    if environ.pop("_LAMBENT_TAKES_IMAGE", None) and _image is not None:
        _given = dict(environ)
        try:
            _kept = _image.unchanging()
            _beginning = _fitness.Beginning((*_STANDARD_FDS, _restore.IMAGE_FD))
        except OSError:
            pass  # the variable is the function's own, or the process may not look at itself: it just runs


def is_asked():
    """Whether this process is there to have its image taken."""
    return _beginning is not None


def decline_if_asked(reason):
    """Ends the process if so."""
    if is_asked():
        _image.decline(reason)
        os._exit(0)


def take(client, output, touch):
    """Runs the hooks, takes the image and ends the process; returns in a process that is restored from the image.

    `touch()` does what every invocation does. Raises what a hook raises.
    """
    hooks = _hooks("get_before_snapshot")
    while hooks:
        function, positional, named = hooks.pop()
        function(*positional, **named)
    client.hang_up()
    output.flush()
    gc.collect()
    gc.freeze()  # the collector would otherwise touch, and so copy, every page in each environment
    try:
        is_original = _image.take(_area, _kept, _beginning, lambda: _rehearse(client, touch))
    except _fitness.Unfit as unfit:
        decline_if_asked(str(unfit))
    except OSError as error:
        if error.errno == errno.EPERM:  # what the file's seal against growing answers
            decline_if_asked("the image would be larger than it may be (snapstart_memory_mib)")
        decline_if_asked(f"the image could not be taken: {error}")
    if is_original:
        os._exit(0)
    _restore.be_unlike_others(_given, _restore.settle(_area))


def _rehearse(client, touch):
    """In the original, which is about to end: what a restored process does before its first event, and with it."""
    variables = {**_given, "AWS_CONTAINER_AUTHORIZATION_TOKEN": os.urandom(32).hex()}
    _restore.be_unlike_others(_given, _restore.rehearse(_area, variables))
    client.rehearse()
    touch()


def run_after_restore():
    for function, positional, named in _hooks("get_after_restore"):
        function(*positional, **named)


def restore(variables=None, channel_fd=-1):
    """With these variables, or with those that come through the channel, and the image too. Never returns."""
    if _area is not None and variables is not None:
        _restore.restore(_area, variables)
    elif _area is not None:
        _restore.wait(_area, channel_fd)
    os._exit(71)


def _hooks(name):
    """Those that the function registered: with our module, or with the library where it brought that along."""
    module = sys.modules.get("snapshot_restore_py")
    return getattr(module, name, list)()
