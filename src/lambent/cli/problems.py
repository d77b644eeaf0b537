"""What goes wrong while a command runs, in one line that says what to do next."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import IO, Any

import click


class Problem(click.ClickException):
    """Ends the command with exit status 1. The message says what is wrong and what to do about it."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"lambent: {self.format_message()}", err=True, file=file)


@contextlib.contextmanager
def told_plainly(endpoint: str) -> Iterator[None]:
    """Turns what botocore raises into a Problem. `endpoint` is where the command was talking to."""
    import botocore.exceptions as aws

    try:
        yield
    except aws.ClientError as error:
        answer = error.response.get("Error", {})
        raise Problem(
            f"{answer.get('Code', 'error')}: {answer.get('Message') or 'no message'}{_advice(error)}"
        ) from error
    except aws.EndpointConnectionError as error:
        raise Problem(
            f"nothing answers at {endpoint}; start a server with `lambent up`, or name another one by --endpoint-url"
        ) from error
    except aws.ReadTimeoutError as error:
        raise Problem(f"{endpoint} took too long to answer; look at the server's own log") from error
    except aws.HTTPClientError as error:
        raise Problem(f"the connection to {endpoint} broke; is the server still running? ({error})") from error
    except aws.ParamValidationError as error:
        raise Problem(" ".join(str(error).split())) from error
    except aws.BotoCoreError as error:
        raise Problem(f"{error}; check AWS_* variables and --endpoint-url") from error


def _advice(error: Any) -> str:
    """What to do about an error, where a hint helps more than AWS's words alone."""
    operation = error.operation_name
    code = error.response.get("Error", {}).get("Code")
    if code == "ResourceNotFoundException" and operation in ("Invoke", "InvokeWithResponseStream"):
        return "; deploy it with `lambent deploy PATH`"
    if code in ("UnrecognizedClientException", "InvalidSignatureException", "AccessDeniedException"):
        return "; this server checks signatures: take a key from `lambent credentials`"
    return ""
