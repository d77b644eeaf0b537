"""Credentials by HTTP, for environments that are restored from an image: what stood in variables would be in the image.

SDKs ask there as they ask a container's host. The path is the Runtime Interface Emulator's.
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-activate.html, and
https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

import attrs

from lambent.http1.request import Request
from lambent.runtimeapi.answers import JSON, not_found

CREDENTIALS_TARGET: Final = b"/2021-04-23/credentials"
CREDENTIALS_URL: Final = f"http://127.0.0.1:9001{CREDENTIALS_TARGET.decode()}"  # in every cage that can be restored


@attrs.frozen
class IssuedForOne:
    """What one environment is given: new credentials whenever it asks, if it shows its token."""

    token: str
    issue: Callable[[], Mapping[str, str]]  # AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
    expires_s: Callable[[], float]  # seconds since the epoch, of what is issued now

    def variables(self) -> dict[str, str]:
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": CREDENTIALS_URL,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self.token,
        }


def answer_credentials(request: Request, issued: IssuedForOne | None) -> None:
    """The connection is closed, so that no SDK keeps a socket that an image could not hold."""
    if issued is None:
        not_found(request)
        return
    request.keep_alive = False
    shown = request.header(b"authorization") or b""
    if not hmac.compare_digest(shown, issued.token.encode()):
        body = {"errorMessage": "The authorization token is missing or wrong", "errorType": "InvalidToken"}
        request.respond(403, JSON, json.dumps(body).encode())
        return
    keys = issued.issue()
    answer = {
        "AccessKeyId": keys["AWS_ACCESS_KEY_ID"],
        "SecretAccessKey": keys["AWS_SECRET_ACCESS_KEY"],
        "Token": keys["AWS_SESSION_TOKEN"],
        "Expiration": f"{datetime.fromtimestamp(issued.expires_s(), UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    request.respond(200, JSON, json.dumps(answer).encode())
