"""The command line is one more AWS client: botocore against Lambent's port.

botocore is imported late; it costs more than everything else here together.
"""

from __future__ import annotations

import contextlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, Final, ParamSpec, TypeVar

import attrs
import click

from lambent.cli.problems import told_plainly

DEFAULT_ENDPOINT: Final = "http://127.0.0.1:4566"
DEFAULT_REGION: Final = "us-east-1"
DEFAULT_ACCOUNT_ID: Final = "000000000000"
READ_TIMEOUT_S: Final = 920  # the longest function runs 900 s
CONNECT_TIMEOUT_S: Final = 5
HEALTH_TIMEOUT_S: Final = 5

P = ParamSpec("P")
R = TypeVar("R")


@attrs.frozen
class Server:
    """Where a command talks to, and as whom."""

    url: str
    region: str

    def client(self, service: str) -> Any:
        """A botocore client. Credentials are the user's own where AWS_* or a profile names some, else dummies."""
        import botocore.session
        from botocore.config import Config

        session = botocore.session.get_session()
        # The defaults mode costs a file of its own, and the metadata service would be waited for on a laptop.
        os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
        with self.errors():
            dummies = (
                {} if session.get_credentials() else {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
            )
            return session.create_client(
                service,
                region_name=self.region,
                endpoint_url=self.url,
                config=Config(
                    read_timeout=READ_TIMEOUT_S,
                    connect_timeout=CONNECT_TIMEOUT_S,
                    retries={"total_max_attempts": 1},
                    inject_host_prefix=False,
                ),
                **dummies,
            )

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Translates what botocore raises within."""
        with told_plainly(self.url):
            yield

    def account_id(self) -> str:
        """The account that this server sees us as: a twelve-digit access key id is one."""
        key = os.environ.get("AWS_ACCESS_KEY_ID", "")
        return key if len(key) == 12 and key.isdecimal() else DEFAULT_ACCOUNT_ID

    def health(self) -> dict[str, Any]:
        """What /_lambent/health answers; nothing when it cannot be asked."""
        try:
            with urllib.request.urlopen(f"{self.url}/_lambent/health", timeout=HEALTH_TIMEOUT_S) as answer:
                content = json.load(answer)
        except (OSError, ValueError, urllib.error.URLError):
            return {}
        return content if isinstance(content, dict) else {}


def server_options(function: Callable[P, R]) -> Callable[P, R]:
    """`--endpoint-url` and `--region`, handed to the command as `endpoint_url` and `region`."""
    region = click.option("--region", envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], default=DEFAULT_REGION, metavar="NAME",
                          help=f"AWS region; default {DEFAULT_REGION}.")  # fmt: skip
    endpoint = click.option("--endpoint-url", envvar=["LAMBENT_ENDPOINT", "AWS_ENDPOINT_URL"], default=DEFAULT_ENDPOINT,
                            metavar="URL", help=f"Where Lambent is; default {DEFAULT_ENDPOINT}.")  # fmt: skip
    return endpoint(region(function))


def server(endpoint_url: str, region: str) -> Server:
    """Raises click's usage error for an address that is none."""
    if not endpoint_url.startswith(("http://", "https://")):
        raise click.BadParameter("expected an address that begins with http://", param_hint="--endpoint-url")
    return Server(endpoint_url.rstrip("/"), region)
