"""What must be different in moto before its services are imported. Written for moto 5.2."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final

from lambent.neighbours.moto_process import boundaries, happenings

SETTINGS: Final = {
    "MOTO_ALLOW_NONEXISTENT_REGION": "true",  # any well-formed region is one
    "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",  # AWSLambdaBasicExecutionRole and its like
    "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",  # no instances run here, and they cost 100 MB
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def prepare(endpoint_port: int) -> None:
    """To be called once, before anything else of moto is imported. `endpoint_port`: the server's own."""
    os.environ.update(SETTINGS)
    os.environ["MOTO_PORT"] = str(endpoint_port)  # Step Functions' tasks call services there
    sys.meta_path.insert(0, _Mending())  # first: what follows imports some services
    _track_no_instances()
    from moto.core import config

    from lambent.neighbours.moto_process import backends, front_door

    config.default_user_config["stepfunctions"] = {"execute_state_machine": True}
    front_door.redirect(f"http://127.0.0.1:{endpoint_port}")
    backends.watch_access()
    _visit_quietly()


class _Mending(MetaPathFinder):
    """Services are imported when they are first asked for; what is wrong in one is mended then."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        mend = _MENDS.get(name)
        spec = PathFinder.find_spec(name, path) if mend is not None else None
        if mend is None or spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_mend(module: ModuleType) -> None:
            execute(module)
            mend(module)

        spec.loader.exec_module = execute_and_mend  # type: ignore[method-assign] # this loader serves this module alone
        return spec


def _mend_efs(module: Any) -> None:
    """Lambda's model wants seventeen digits in an access point's id, as EFS gives them."""
    access_point = module.AccessPoint
    make = access_point.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        short = self.access_point_id
        self.access_point_id = short.ljust(len("fsap-") + 17, "0")
        self.access_point_arn = self.access_point_arn.replace(short, self.access_point_id)

    access_point.__init__ = init


def _mend_kms(module: Any) -> None:
    """A key's ARN names it wherever its id does."""
    backend = module.KmsBackend
    for name in ("disable_key", "enable_key", "cancel_key_deletion", "schedule_key_deletion"):
        setattr(backend, name, _by_id(getattr(backend, name)))


def _by_id(operation: Callable[..., Any]) -> Callable[..., Any]:
    def with_id(self: Any, key_id: str, *args: Any, **kwargs: Any) -> Any:
        return operation(self, self.get_key_id(key_id), *args, **kwargs)

    return with_id


def _mend_ec2(module: Any) -> None:
    """Groups that do not exist are named as EC2 names them, and not as Python prints a set."""
    error = module.InvalidSecurityGroupNotFoundError
    make = error.__init__

    def init(self: Any, name: Any) -> None:
        make(self, "', '".join(sorted(name)) if isinstance(name, set | list | tuple) else name)

    error.__init__ = init


def _by(module_name: str, function: str) -> Callable[[Any], None]:
    """What imports parts of moto itself is imported when it is needed."""

    def mend(module: Any) -> None:
        getattr(importlib.import_module(f"{__package__}.{module_name}"), function)(module)

    return mend


_MENDS: Final[Mapping[str, Callable[[Any], None]]] = {
    "moto.ec2.exceptions": _mend_ec2,
    "moto.dynamodb.models": _by("change_records", "mend_models"),
    "moto.dynamodb.models.table": _by("change_records", "mend_table"),
    "moto.dynamodbstreams.responses": _by("stream_reading", "mend_responses"),
    "moto.efs.models": _mend_efs,
    "moto.iam.responses": boundaries.mend,
    "moto.kms.models": _mend_kms,
    "moto.s3.models": happenings.mend_models,
    "moto.s3.notifications": happenings.mend_notifications,
}


def _track_no_instances() -> None:
    """moto keeps every object for ever, for a page that nobody asks for."""
    from moto.core.common_models import BaseModel

    def new(cls: type, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)

    BaseModel.__new__ = new


def _visit_quietly() -> None:
    """Which key was used when is told to IAM with every request: that must not count as using IAM."""
    from moto.iam import models

    from lambent.neighbours.moto_process.backends import unwatched

    visit = models.mark_account_as_visited

    def quiet(*args: Any, **kwargs: Any) -> None:
        with unwatched():
            visit(*args, **kwargs)

    models.mark_account_as_visited = quiet
