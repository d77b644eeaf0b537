"""What must be different in moto before its services are imported. Written for moto 5.2."""

from __future__ import annotations

import os
from typing import Any, Final

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
    _track_no_instances()
    from lambent.neighbours.moto_process import backends, front_door

    front_door.redirect(f"http://127.0.0.1:{endpoint_port}")
    backends.watch_access()
    _visit_quietly()


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
