"""EventBridge: buses, rules, targets; events that are on disk before they are accepted."""

from lambent.services.events.buses import policy_of_bus
from lambent.services.events.service import EventsService

__all__ = ["EventsService", "policy_of_bus"]
