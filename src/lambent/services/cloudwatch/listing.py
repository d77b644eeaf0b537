"""ListMetrics. https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_ListMetrics.html"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from lambent.model.request import RequestContext
from lambent.services.cloudwatch.errors import in_the_words_of_aws, invalid_token, invalid_value
from lambent.store.metrics import Listed, MetricStore

Members = dict[str, Any]

PAGE_MAX: Final = 500
FILTERS_MAX: Final = 10
LISTED_FOR_S: Final = 14 * 86_400  # metrics without newer points are not listed
RECENTLY_S: Final = {"PT3H": 3 * 3_600}


async def list_metrics(store: MetricStore, context: RequestContext, members: Members, now_s: float) -> Members:
    """Raises AwsError."""
    filters = members.get("Dimensions") or ()
    if len(filters) > FILTERS_MAX:
        raise invalid_value(f"The collection Dimensions must not have a size greater than {FILTERS_MAX}.")
    recently = members.get("RecentlyActive")
    if recently is not None and recently not in RECENTLY_S:
        raise invalid_value("The parameter RecentlyActive must be a value in the set [ PT3H ].")
    after = _read(members["NextToken"]) if members.get("NextToken") else None
    if members.get("OwningAccount") not in (None, context.account_id):
        return {"Metrics": []}  # accounts are not linked to each other here
    with in_the_words_of_aws():
        found = await store.metrics(
            context.account_id, context.region, namespace=members.get("Namespace"), name=members.get("MetricName"),
            since_s=int(now_s) - RECENTLY_S.get(recently or "", LISTED_FOR_S), after=after,
            wanted=_matches(filters), limit=PAGE_MAX + 1,
        )  # fmt: skip
    answer: Members = {"Metrics": [_described(metric) for metric in found[:PAGE_MAX]]}
    if members.get("IncludeLinkedAccounts"):
        answer["OwningAccounts"] = [context.account_id] * len(answer["Metrics"])
    if len(found) > PAGE_MAX:
        answer["NextToken"] = base64.b64encode(msgspec.json.encode(found[PAGE_MAX - 1])).decode()
    return answer


def _matches(filters: Sequence[Members]) -> Callable[[Listed], bool]:
    """Each filter's dimension must be there, with its value where the filter names one."""

    def wanted(metric: Listed) -> bool:
        dimensions = dict(metric.dimensions)
        return all(
            each["Name"] in dimensions and each.get("Value") in (None, dimensions[each["Name"]]) for each in filters
        )

    return wanted


def _described(metric: Listed) -> Members:
    dimensions = [{"Name": name, "Value": value} for name, value in metric.dimensions]
    return {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions}


def _read(token: str) -> Listed:
    try:
        return msgspec.json.decode(base64.b64decode(token, validate=True), type=Listed)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise invalid_token() from error
