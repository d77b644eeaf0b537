"""Access keys that this server issues: the account's root keys, and temporary ones for each function's environments.

An access key id names its account, as AWS's do; its secret is derived from the server's own master secret, so nothing
needs to be stored, and every key stays valid across restarts.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from typing import Final

import attrs

from lambent.model.function import FunctionVersion

ROOT_PREFIX: Final = "AKIA"
TEMPORARY_PREFIX: Final = "ASIA"
_ACCOUNT_BYTES: Final = 5  # twelve digits fit into forty bits
_TAG_BYTES: Final = 5
ACCESS_KEY_ID_LENGTH: Final = 20


@attrs.frozen
class AccessKey:
    access_key_id: str
    secret_access_key: str


class IssuedCredentials:
    """`master` is a secret of the data directory, at least 32 bytes."""

    def __init__(self, master: bytes) -> None:
        self._master = master

    def root(self, account_id: str) -> AccessKey:
        """The account's own key: the same on every start."""
        return self._key(ROOT_PREFIX, account_id, self._mac(f"root:{account_id}"))

    def for_function(self, version: FunctionVersion) -> dict[str, str]:
        """The variables of one environment's credentials; every environment has its own."""
        key = self._key(TEMPORARY_PREFIX, version.account_id, os.urandom(_TAG_BYTES))
        return {
            "AWS_ACCESS_KEY_ID": key.access_key_id,
            "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
            "AWS_SESSION_TOKEN": base64.b64encode(self._mac(f"token:{key.access_key_id}") * 4).decode(),
        }

    def secret_for(self, access_key_id: str) -> str | None:
        """The secret of a key that could have been issued here; None for any other."""
        account_id = account_of(access_key_id)
        if account_id is None or access_key_id == account_id:
            return None
        if access_key_id.startswith(ROOT_PREFIX) and access_key_id != self.root(account_id).access_key_id:
            return None
        return self._secret(access_key_id)

    def _key(self, prefix: str, account_id: str, tag: bytes) -> AccessKey:
        packed = int(account_id).to_bytes(_ACCOUNT_BYTES, "big") + tag[:_TAG_BYTES]
        access_key_id = prefix + base64.b32encode(packed).decode()
        return AccessKey(access_key_id, self._secret(access_key_id))

    def _secret(self, access_key_id: str) -> str:
        return base64.b64encode(self._mac(f"secret:{access_key_id}")).decode()[:40]

    def _mac(self, text: str) -> bytes:
        return hmac.digest(self._master, text.encode(), hashlib.sha256)


def account_of(access_key_id: str) -> str | None:
    """The account that an access key id issued here names; twelve digits name themselves; None for any other."""
    if len(access_key_id) == 12 and access_key_id.isdecimal():
        return access_key_id
    if len(access_key_id) != ACCESS_KEY_ID_LENGTH or access_key_id[:4] not in (ROOT_PREFIX, TEMPORARY_PREFIX):
        return None
    try:
        packed = base64.b32decode(access_key_id[4:])
    except ValueError:
        return None
    number = int.from_bytes(packed[:_ACCOUNT_BYTES], "big")
    return f"{number:012d}" if number < 10**12 else None
