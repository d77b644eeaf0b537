"""SNS's operations over the topic store: members in, members out, by botocore's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lambent.model.request import RequestContext
from lambent.ports import NO_TELEMETRY, Operation, Telemetry
from lambent.services.sns.errors import not_offered
from lambent.services.sns.figures import TopicFigures
from lambent.services.sns.publishing import Publishing
from lambent.services.sns.subscriptions import Subscriptions
from lambent.services.sns.topics import Topics, Wake
from lambent.store.topics import TopicStore

_PUSH: Final = (
    "CreatePlatformApplication", "CreatePlatformEndpoint", "DeleteEndpoint", "DeletePlatformApplication",
    "GetEndpointAttributes", "GetPlatformApplicationAttributes", "ListEndpointsByPlatformApplication",
    "ListPlatformApplications", "SetEndpointAttributes", "SetPlatformApplicationAttributes",
)  # fmt: skip
_SMS: Final = (
    "CheckIfPhoneNumberIsOptedOut", "CreateSMSSandboxPhoneNumber", "DeleteSMSSandboxPhoneNumber", "GetSMSAttributes",
    "GetSMSSandboxAccountStatus", "ListOriginationNumbers", "ListPhoneNumbersOptedOut", "ListSMSSandboxPhoneNumbers",
    "OptInPhoneNumber", "SetSMSAttributes", "VerifySMSSandboxPhoneNumber",
)  # fmt: skip
_PROTECTION: Final = ("GetDataProtectionPolicy", "PutDataProtectionPolicy")


class SnsService:
    """`ports.Service` for `sns`."""

    name = "sns"

    def __init__(self, store: TopicStore, wake: Wake, telemetry: Telemetry = NO_TELEMETRY) -> None:
        """`wake` is told which lane of `Deliverer` has something to do."""
        topics = Topics(store, wake)
        self.operations: Mapping[str, Operation] = {
            **dict.fromkeys(_PUSH, _refusal("Mobile push")),
            **dict.fromkeys(_SMS, _refusal("SMS")),
            **dict.fromkeys(_PROTECTION, _refusal("Message data protection")),
            **topics.operations,
            **Subscriptions(store, topics, wake).operations,
            **Publishing(store, topics, wake, TopicFigures(telemetry)).operations,
        }


def _refusal(what: str) -> Operation:
    async def refuse(context: RequestContext, members: dict[str, Any]) -> dict[str, Any]:
        raise not_offered(what)

    return refuse
