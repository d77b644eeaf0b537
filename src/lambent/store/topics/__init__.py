"""Topics, their subscriptions, and messages on their way: `TopicStore` is the way in."""

from lambent.store.topics.store import TopicStore
from lambent.store.topics.values import (
    Delivery,
    NewDelivery,
    Publication,
    Published,
    Settled,
    State,
    Subscription,
    Topic,
    TopicMissing,
)

__all__ = [
    "Delivery",
    "NewDelivery",
    "Publication",
    "Published",
    "Settled",
    "State",
    "Subscription",
    "Topic",
    "TopicMissing",
    "TopicStore",
]
