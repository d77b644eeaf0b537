"""Tumbling windows: batches of a shard that hand a state on from one to the next, for as long as the window lasts.

https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-windows.html: members of the event, 1 MB of state
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import attrs
import msgspec

from lambent.model.limits import MIB

STATE_MAX_BYTES: Final = 1 * MIB


@attrs.frozen(kw_only=True)
class Window:
    start_s: int  # seconds since the epoch
    length_s: int
    state: Any = attrs.field(factory=dict)
    ends_early: bool = False  # its state has grown too large

    @property
    def end_s(self) -> int:
        return self.start_s + self.length_s

    def holds(self, at_s: float) -> bool:
        return self.start_s <= at_s < self.end_s

    def event(self, *, shard: str, stream_arn: str, is_final: bool) -> dict[str, Any]:
        """What the event has beside its records."""
        return {
            "window": {"start": _text(self.start_s), "end": _text(self.end_s)},
            "state": self.state,
            "shardId": shard,
            "eventSourceARN": stream_arn,
            "isFinalInvokeForWindow": is_final,
            "isWindowTerminatedEarly": self.ends_early,
        }

    def after(self, response: bytes) -> Window:
        """With the state that the function gave back; null, and at a window's end nothing, is an empty one."""
        state = (_members(response) or {}).get("state") or {}
        return attrs.evolve(self, state=state, ends_early=len(msgspec.json.encode(state)) > STATE_MAX_BYTES)

    def stored(self) -> dict[str, Any]:
        return {"start": self.start_s, "state": self.state}


def has_state(response: bytes) -> bool:
    """A response that has none is that of an invocation that failed: what was counted before would be lost."""
    return "state" in (_members(response) or {})


def _members(response: bytes) -> dict[str, Any] | None:
    try:
        content = msgspec.json.decode(response) if response.strip() else None
    except (msgspec.DecodeError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def window_of(at_s: float, length_s: int) -> Window:
    return Window(start_s=int(at_s // length_s) * length_s, length_s=length_s)


def restored(stored: dict[str, Any], length_s: int) -> Window:
    return Window(start_s=stored["start"], length_s=length_s, state=stored["state"])


def _text(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
