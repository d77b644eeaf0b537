"""Who has which access key, and what is attached to whom: read from the neighbours' IAM, kept until that changes.

Keys are all in memory, because every request asks for one; policies are asked for when they are first needed. A server whose
neighbours were never used answers that there is nobody, without starting them.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import attrs
import msgspec

from lambent.model.errors import service_fault
from lambent.neighbours import frames
from lambent.neighbours.process import DATABASE, NeighboursProcess

T = TypeVar("T")

REMEMBERED: Final = 10_000  # principals and roles each; then all are forgotten. One may ask for some that do not exist

Document = dict[str, Any]
"""A policy as IAM has it, decoded."""


@attrs.frozen(kw_only=True)
class KnownKey:
    """An access key that IAM gave out; the members of sessions are STS's, which Lambent does not keep here."""

    access_key_id: str
    account_id: str
    secret: str
    principal_arn: str  # the user, or the assumed-role session
    role_arn: str | None = None  # of a session
    token: str | None = None  # of a session
    session_policies: tuple[Document, ...] = ()
    expiry_s: float | None = None  # seconds since the epoch


@attrs.frozen(kw_only=True)
class Attached:
    """What limits a principal and what lets it."""

    identity: tuple[Document, ...]
    boundary: Document | None


@attrs.frozen(kw_only=True)
class Role:
    arn: str
    role_id: str
    trust_policy: Document
    max_session_s: int


class Directory:
    """Identities of all accounts. `access_key` never waits; the others may ask the process."""

    def __init__(self, process: NeighboursProcess, now_s: Callable[[], float] = time.time) -> None:
        self._process = process
        self._now_s = now_s
        self._keys = _read_kept(process)
        self._attached: dict[str, Attached | None] = {}
        self._roles: dict[str, Role | None] = {}

    def access_key(self, access_key_id: str) -> KnownKey | None:
        """None for a key that IAM does not know, has inactive, or that has expired."""
        key = self._keys.get(access_key_id)
        if key is None or (key.expiry_s is not None and key.expiry_s <= self._now_s()):
            return None
        return key

    def secret_for(self, access_key_id: str) -> str | None:
        key = self.access_key(access_key_id)
        return key.secret if key is not None else None

    def account_of(self, access_key_id: str) -> str | None:
        """An expired key still says whose it was."""
        key = self._keys.get(access_key_id)
        return key.account_id if key is not None else None

    async def policies(self, principal_arn: str) -> Attached | None:
        """Of a user, a role, or a session of a role. None when there is no such principal. Raises AwsError."""
        if principal_arn not in self._attached:
            account_id, principal = _principal(principal_arn)
            found = _attached(await self._ask("policies", account_id, principal))
            _remember(self._attached, principal_arn, found)
        return self._attached[principal_arn]

    async def role(self, arn: str) -> Role | None:
        """None when there is no such role. Raises AwsError."""
        if arn not in self._roles:
            account_id, principal = _principal(arn)
            told = await self._ask("role", account_id, principal.partition("/")[2])
            found = None
            if told is not None and told["arn"] == arn:
                found = Role(
                    arn=told["arn"],
                    role_id=told["id"],
                    trust_policy=told["trust_policy"],
                    max_session_s=told["max_session_s"],
                )
            _remember(self._roles, arn, found)
        return self._roles[arn]

    async def changed(self) -> None:
        """IAM was written to: returns when nobody is told what was before. Raises AwsError."""
        self._forget()
        told = {key_id: _known(key_id, key) for key_id, key in (await self._ask("keys")).items()}
        # Whoever compares with `is` sees what has changed.
        self._keys = {key_id: old if (old := self._keys.get(key_id)) == key else key for key_id, key in told.items()}
        self._forget()  # what was asked for meanwhile may be older

    def _forget(self) -> None:
        self._attached.clear()
        self._roles.clear()

    async def _ask(self, about: str, account_id: str = "", name: str = "") -> Any:
        if not self._process.is_running and not self._process.has_state:
            return None
        answer, _ = await self._process.ask(frames.Ask(about, account_id, name))
        if not isinstance(answer, frames.Result):
            raise service_fault("The neighbours' process answered another question.")
        return answer.value


def _read_kept(process: NeighboursProcess) -> dict[str, KnownKey]:
    """The keys of the last run, without starting anything. Raises sqlite3.Error for a damaged file."""
    if not process.has_state:
        return {}
    database = sqlite3.connect(f"file:{process.folder / DATABASE}?mode=ro", uri=True)
    try:
        there = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'keys'").fetchone()
        rows = database.execute("SELECT access_key_id, document FROM keys").fetchall() if there else []
        return {key_id: _known(key_id, msgspec.json.decode(document)) for key_id, document in rows}
    finally:
        database.close()


def _known(access_key_id: str, told: dict[str, Any]) -> KnownKey:
    policies = told.get("session_policies", ())
    return KnownKey(
        access_key_id=access_key_id,
        account_id=told["account_id"],
        secret=told["secret"],
        principal_arn=told["principal_arn"],
        role_arn=told.get("role_arn"),
        token=told.get("token"),
        session_policies=tuple(msgspec.json.decode(p) if isinstance(p, str) else p for p in policies),
        expiry_s=told.get("expiry_s"),
    )


def _remember(known: dict[str, T], name: str, value: T) -> None:
    if len(known) >= REMEMBERED:
        known.clear()
    known[name] = value


def _attached(told: Any) -> Attached | None:
    return None if told is None else Attached(identity=tuple(told["identity"]), boundary=told["boundary"])


def _principal(arn: str) -> tuple[str, str]:
    """Account, and `user/NAME` or `role/NAME` without paths; a session is its role."""
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return "", ""
    kind, _, rest = parts[5].partition("/")
    if kind == "assumed-role":
        return parts[4], f"role/{rest.partition('/')[0]}"
    return parts[4], f"{kind}/{rest.rpartition('/')[2]}"
