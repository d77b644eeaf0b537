"""SNS: `SnsService` over `store.topics`, and `Deliverer`, which sees to it that subscriptions get what was published."""

from lambent.services.sns.deliverer import Deliverer
from lambent.services.sns.operations import SnsService
from lambent.services.sns.permissions import MaySend
from lambent.services.sns.senders import Senders
from lambent.services.sns.signing import CERTIFICATE_DOOR, Signer

__all__ = ["CERTIFICATE_DOOR", "Deliverer", "MaySend", "Senders", "Signer", "SnsService"]
