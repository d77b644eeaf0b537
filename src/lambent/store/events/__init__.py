"""Asynchronous events, kept durably with what happened to each: `EventStore` is the way in."""

from lambent.store.events.reading import EventView, Step, StepView
from lambent.store.events.rows import Claimed, Delivery, FunctionKey, NewDelivery, NewStep
from lambent.store.events.store import EventStore

__all__ = [
    "Claimed",
    "Delivery",
    "EventStore",
    "EventView",
    "FunctionKey",
    "NewDelivery",
    "NewStep",
    "Step",
    "StepView",
]
