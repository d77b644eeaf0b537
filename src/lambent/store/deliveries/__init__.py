"""What EventBridge and Scheduler owe to targets: durable when it is accepted, there until the target has it."""

from lambent.store.deliveries.rows import Archived, Delivery, NewArchived, NewDelivery
from lambent.store.deliveries.store import DeliveryStore

__all__ = ["Archived", "Delivery", "DeliveryStore", "NewArchived", "NewDelivery"]
