"""What EventBridge and Scheduler have in common: deliveries to targets, kept until they are taken."""

from lambent.services.delivery.deliverer import Deliverer, owed
from lambent.services.delivery.permission import Permission
from lambent.services.delivery.targets import Targets

__all__ = ["Deliverer", "Permission", "Targets", "owed"]
