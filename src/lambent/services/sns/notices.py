"""What a subscription is told about itself: that it wants to be confirmed, that it has ended."""

from __future__ import annotations

import uuid
from typing import Literal

import msgspec

from lambent.store.topics import Subscription

NoticeType = Literal["SubscriptionConfirmation", "UnsubscribeConfirmation"]
_PREFIX = "notice "


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """As it waits on disk."""

    id: str  # UUID
    type: NoticeType
    at_ms: int
    subscription_id: str
    token: str

    @classmethod
    def about(cls, kind: NoticeType, subscription: Subscription, at_ms: int) -> Notice:
        return cls(
            id=str(uuid.uuid4()), type=kind, at_ms=at_ms, subscription_id=subscription.id, token=subscription.token
        )

    def encoded(self) -> bytes:
        return msgspec.msgpack.encode(self)


def lane_of_notice(subscription: Subscription) -> str:
    """Apart from its messages, which are given up when it ends."""
    return f"{_PREFIX}{subscription.id}"


def subscription_of_notices(lane: str) -> str | None:
    """Whose notices the lane has, by id; None for a lane of something else."""
    return lane.removeprefix(_PREFIX) if lane.startswith(_PREFIX) else None
