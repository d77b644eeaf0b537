"""What the topic store takes and gives."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from lambent.model.errors import LambentError

# https://docs.aws.amazon.com/sns/latest/dg/fifo-message-dedup.html
DEDUPLICATION_MS: Final = 5 * 60 * 1000
_SEQUENCE_BASE: Final = 10**19  # AWS's sequence numbers have 20 digits


class TopicMissing(LambentError):
    """There is no such topic."""


@attrs.frozen(kw_only=True)
class Topic:
    id: int
    account_id: str
    region: str
    name: str
    attributes: Mapping[str, str]  # those that were set
    tags: Mapping[str, str]

    @property
    def arn(self) -> str:
        return f"arn:aws:sns:{self.region}:{self.account_id}:{self.name}"

    @property
    def is_fifo(self) -> bool:
        return self.name.endswith(".fifo")


class State(enum.Enum):
    PENDING = "pending"
    CONFIRMED = "confirmed"
    LEFT = "left"  # it gets nothing any more, and may come back by its token


@attrs.frozen(kw_only=True)
class Subscription:
    id: str  # UUID
    topic_arn: str
    protocol: str
    endpoint: str
    owner: str  # account
    principal: str  # ARN of who subscribed
    base_url: str  # how who subscribed reached this server, for the addresses in what is sent
    state: State
    attributes: Mapping[str, str]  # those that were set
    token: str
    token_ms: int  # when it was given
    was_authenticated: bool = True  # the confirmation was
    keeps_signed: bool = False  # unsubscribing needs a signature

    @property
    def arn(self) -> str:
        return f"{self.topic_arn}:{self.id}"


@attrs.define(kw_only=True)
class Publication:
    """One message on its way to disk; the writer says what came of it in `published`."""

    topic_id: int
    message_id: str  # UUID
    content: bytes
    lanes: Sequence[str]
    at_ms: int
    deduplication: tuple[str, str] | None = None  # scope and id, of FIFO topics
    published: Published | None = None


@attrs.frozen
class Published:
    message_id: str  # of the first one with the same deduplication id
    sequence: int | None
    is_new: bool


@attrs.frozen(kw_only=True)
class NewDelivery:
    """Something for one lane alone: a confirmation, a dead letter."""

    lane: str
    content: bytes


@attrs.frozen(kw_only=True)
class Delivery:
    """What a lane is owed."""

    id: int
    message: int  # row
    sequence: int | None
    content: bytes
    accepted_ms: int
    tries: int  # that failed


@attrs.frozen(kw_only=True)
class Settled:
    """What came of some deliveries of one lane."""

    ended: Sequence[Delivery] = ()
    postponed: Sequence[tuple[Delivery, int]] = ()  # and when they are due
    instead: Sequence[NewDelivery] = ()


def sequence_text(sequence: int) -> str:
    return str(_SEQUENCE_BASE + sequence)
