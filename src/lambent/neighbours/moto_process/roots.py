"""Keys with which neighbours may call the server's front door in the name of an account: the server sends them along."""

from __future__ import annotations

_keys: dict[str, tuple[str, str]] = {}


def remember(account_id: str, key: tuple[str, str]) -> None:
    _keys[account_id] = key


def key_of(account_id: str) -> tuple[str, str]:
    """(access key id, secret). An account that never called is its own key id, which counts where nothing is checked."""
    return _keys.get(account_id, (account_id, "unknown"))
