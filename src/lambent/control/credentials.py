"""Access keys that this server issues: the account's root keys, and temporary ones for each function's environments.

An access key id names its account, as AWS's do; its secret is derived from the server's own master secret, so nothing
needs to be stored, and every key stays valid across restarts. What a temporary key stands for, a session of its
function's execution role until a certain moment, is written in its session token, which only this server can make.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import os
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Final

import attrs
import msgspec

from lambent.model import policy
from lambent.model.function import FunctionVersion
from lambent.model.identity import KnownKey

ROOT_PREFIX: Final = "AKIA"
TEMPORARY_PREFIX: Final = "ASIA"
# AWS does not say how long a function's credentials are good; twelve hours is IAM's longest session of a role.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use.html, maximum session duration
SESSION_LIFETIME_S: Final = 43_200
SESSIONS_REMEMBERED: Final = 1024  # 1.3 KB each; to read a token again takes 11 µs
_ACCOUNT_BYTES: Final = 5  # twelve digits fit into forty bits
_TAG_BYTES: Final = 5
_NONCE_BYTES: Final = 3  # of a temporary key's tag; the rest of it is a check that another issuer's keys fail
_MAC_BYTES: Final = 32
_PLAIN_MAX_BYTES: Final = 512  # of what a token says: longer ones have policies, and are compressed
ACCESS_KEY_ID_LENGTH: Final = 20


@attrs.frozen
class AccessKey:
    access_key_id: str
    secret_access_key: str


@attrs.frozen
class SessionKey:
    """Temporary credentials."""

    access_key_id: str
    secret_access_key: str
    session_token: str


class _Session(msgspec.Struct, array_like=True, omit_defaults=True):
    """What a session token says."""

    principal_arn: str
    role_arn: str | None
    expires_s: int
    function_arn: str | None = None  # of credentials that a function's environment has
    policies: tuple[str, ...] = ()  # documents that narrow it
    tags: dict[str, str] = {}


class IssuedCredentials:
    """`master` is a secret of the data directory, at least 32 bytes; `now_s` gives seconds since the epoch."""

    def __init__(self, master: bytes, now_s: Callable[[], float] = time.time) -> None:
        self._master = master
        self._now_s = now_s
        # The same session is the same object: whoever remembers decisions compares with `is`.
        self._remembered = functools.lru_cache(SESSIONS_REMEMBERED)(self._known_session)

    def root(self, account_id: str) -> AccessKey:
        """The account's own key: the same on every start."""
        return self._key(ROOT_PREFIX, account_id, self._mac(f"root:{account_id}"))

    def for_function(self, version: FunctionVersion) -> dict[str, str]:
        """The variables of one environment's credentials; every environment has its own."""
        owner = (version.role.split(":") + [""] * 5)[4]  # of what is no ARN, nobody
        principal_arn = f"arn:aws:sts::{owner}:assumed-role/{version.role.rpartition('/')[2]}/{version.name}"
        expires_s = int(self._now_s()) + SESSION_LIFETIME_S
        session = self._given(
            version.account_id, _Session(principal_arn, version.role, expires_s, function_arn=version.arn)
        )
        return {
            "AWS_ACCESS_KEY_ID": session.access_key_id,
            "AWS_SECRET_ACCESS_KEY": session.secret_access_key,
            "AWS_SESSION_TOKEN": session.session_token,
        }

    def session(
        self,
        *,
        account_id: str,
        principal_arn: str,
        role_arn: str | None,
        expires_s: int,
        policies: tuple[str, ...],
        tags: Mapping[str, str],
    ) -> SessionKey:
        """Credentials of a role's or a user's session; `policies` are documents that narrow it."""
        told = _Session(principal_arn, role_arn, expires_s, policies=policies, tags=dict(tags))
        return self._given(account_id, told)

    def secret_for(self, access_key_id: str) -> str | None:
        """The secret of a key that was issued here; None for any other."""
        return self._secret(access_key_id) if self.account_of(access_key_id) is not None else None

    def root_secret_for(self, access_key_id: str) -> str | None:
        """The same, of accounts' own keys alone."""
        return self.secret_for(access_key_id) if access_key_id.startswith(ROOT_PREFIX) else None

    def known(self, access_key_id: str, session_token: str | None) -> KnownKey | None:
        """Whose a key is that was issued here; None for any other, and for a token that does not belong to the key.

        An expired session is given as it is.
        """
        account_id = self.account_of(access_key_id)
        if account_id is None:
            return None
        secret = self._secret(access_key_id)
        if access_key_id.startswith(ROOT_PREFIX):
            arn = policy.root(account_id).arn
            return KnownKey(
                access_key_id=access_key_id, secret_access_key=secret, account_id=account_id, principal_arn=arn
            )
        return self._remembered(access_key_id, account_id, session_token or "")

    def _known_session(self, access_key_id: str, account_id: str, token: str) -> KnownKey | None:
        session = self._session(access_key_id, token)
        if session is None or session.principal_arn.split(":")[4] != account_id:
            return None  # a role of another account is no key to that account
        return KnownKey(
            access_key_id=access_key_id,
            secret_access_key=self._secret(access_key_id),
            account_id=account_id,
            principal_arn=session.principal_arn,
            role_arn=session.role_arn,
            session_token=token,
            session_policies=tuple(map(policy.parse_policy, session.policies)) or None,
            expires_s=session.expires_s,
            source_function_arn=session.function_arn,
            tags=session.tags,
        )

    def account_of(self, access_key_id: str) -> str | None:
        """The account of a key that was issued here; None for any other, AWS's own keys among them."""
        packed = _unpacked(access_key_id)
        if packed is None:
            return None
        account_id, tag = f"{int.from_bytes(packed[:_ACCOUNT_BYTES], 'big'):012d}", packed[_ACCOUNT_BYTES:]
        if len(account_id) > 12:
            return None
        if access_key_id.startswith(ROOT_PREFIX):
            issued = self.root(account_id)
        else:
            issued = self._temporary(account_id, tag[:_NONCE_BYTES])
        return account_id if hmac.compare_digest(issued.access_key_id, access_key_id) else None

    def _temporary(self, account_id: str, nonce: bytes) -> AccessKey:
        check = self._mac(f"temporary:{account_id}:{nonce.hex()}")
        return self._key(TEMPORARY_PREFIX, account_id, nonce + check)

    def _key(self, prefix: str, account_id: str, tag: bytes) -> AccessKey:
        packed = int(account_id).to_bytes(_ACCOUNT_BYTES, "big") + tag[:_TAG_BYTES]
        access_key_id = prefix + base64.b32encode(packed).decode()
        return AccessKey(access_key_id, self._secret(access_key_id))

    def _secret(self, access_key_id: str) -> str:
        return base64.b64encode(self._mac(f"secret:{access_key_id}")).decode()[:40]

    def _given(self, account_id: str, session: _Session) -> SessionKey:
        key = self._temporary(account_id, os.urandom(_NONCE_BYTES))
        told = msgspec.json.encode(session)
        token = self._token(key.access_key_id, told if len(told) <= _PLAIN_MAX_BYTES else zlib.compress(told))
        return SessionKey(key.access_key_id, key.secret_access_key, token)

    def _token(self, access_key_id: str, session: bytes) -> str:
        check = hmac.digest(self._master, b"token:" + access_key_id.encode() + b":" + session, hashlib.sha256)
        return base64.b64encode(check + session).decode()

    def _session(self, access_key_id: str, token: str) -> _Session | None:
        try:
            session = base64.b64decode(token, validate=True)[_MAC_BYTES:]
            if not hmac.compare_digest(self._token(access_key_id, session).encode(), token.encode()):
                return None
            told = session if session.startswith(b"[") else zlib.decompress(session)
            return msgspec.json.decode(told, type=_Session)
        except (ValueError, zlib.error, msgspec.DecodeError):
            return None

    def _mac(self, text: str) -> bytes:
        return hmac.digest(self._master, text.encode(), hashlib.sha256)


def _unpacked(access_key_id: str) -> bytes | None:
    """Account and tag of what could be one of our keys."""
    if len(access_key_id) != ACCESS_KEY_ID_LENGTH or access_key_id[:4] not in (ROOT_PREFIX, TEMPORARY_PREFIX):
        return None
    try:
        return base64.b32decode(access_key_id[4:])
    except ValueError:
        return None
