"""Starting the clients of Node.js, Java and Ruby outside of a cage, on the interpreters of this machine."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from fake_runtime_api import FakeRuntimeApi, Runtime, function_variables
from lambent.model.cage import EnvironmentSpec, RuntimeInstallation
from lambent.runtimes.search import SearchPaths, standard_paths

MEMORY_MIB = 256
# A data directory without runtimes of its own. What interpreters say of themselves is remembered in it.
NO_DATA = Path(tempfile.mkdtemp(prefix="lambent-test-"))
atexit.register(shutil.rmtree, NO_DATA, ignore_errors=True)


def installed(find: Callable[[SearchPaths], list[RuntimeInstallation]]) -> list[RuntimeInstallation]:
    """One installation for each runtime id."""
    return list({found.runtime: found for found in find(standard_paths(NO_DATA))}.values())


def write(root: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(content))
    return root


@attrs.frozen
class Function:
    """A function's process and the Runtime API that it talks to."""

    api: FakeRuntimeApi
    runtime: Runtime


@contextmanager
def running(
    installation: RuntimeInstallation,
    runtime_dir: Path,
    code: Path,
    handler: str,
    variables: Mapping[str, str] | None = None,
    *,
    layers: Path | None = None,
    framed: bool = False,
) -> Iterator[Function]:
    """What the sandbox does at level `process`: paths of the cage are rewritten to the host's."""
    targets = {m.target: str(m.source) for m in installation.host_mounts}
    targets |= {"/var/runtime": str(runtime_dir), "/opt": str(layers or code / "no-layers")}

    def on_host(path: str) -> str:
        for target, source in targets.items():
            if path == target or path.startswith(target + "/"):
                return source + path[len(target) :]
        return path

    spec = EnvironmentSpec(
        environment_id="0" * 32,
        installation=installation,
        code_dir=code,
        layers_dir=None,
        variables={},
        memory_mib=MEMORY_MIB,
        ephemeral_mib=512,
    )
    with ExitStack() as stack:
        api = stack.enter_context(FakeRuntimeApi())
        environment = {
            **function_variables(api, code, handler, installation.runtime),
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            **{
                name: ":".join(on_host(part) for part in value.split(":"))
                for name, value in installation.environment.items()
                if name in ("NODE_PATH", "GEM_PATH", "RUBYLIB")
            },
            **(variables or {}),
        }
        argv = [on_host(part) for part in spec.argv]
        yield Function(api, stack.enter_context(Runtime(argv, environment, framed=framed)))
