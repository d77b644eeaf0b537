"""Operations on subscription filters and metric filters of log groups: members in, members out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Clock, Operation
from lambent.services.logs import model
from lambent.services.logs.destinations import SubscriptionDestinations, vendor_of
from lambent.services.logs.pattern import compile_pattern
from lambent.services.logs.pattern.extracting import extract
from lambent.services.logs.words import in_the_words_of_aws
from lambent.store.logs import FilterMissing, FiltersFull, GroupKey, LogStore
from lambent.store.logs.filters import Kind

Members = dict[str, Any]

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html
MOST: Final[Mapping[Kind, int]] = {"subscription": 2, "metric": 100}
DIMENSIONS_MAX: Final = (
    3  # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_MetricTransformation.html
)
_NOT_OFFERED: Final = (
    "applyOnTransformedLogs", "fieldSelectionCriteria", "emitSystemFields", "emitSystemFieldDimensions",
)  # fmt: skip


class Filters:
    """Without `destinations` nothing can be subscribed."""

    def __init__(self, store: LogStore, clock: Clock, destinations: SubscriptionDestinations | None) -> None:
        self._store = store
        self._clock = clock
        self._destinations = destinations
        self.operations: Mapping[str, Operation] = {
            "DeleteMetricFilter": self.delete_metric_filter,
            "DeleteSubscriptionFilter": self.delete_subscription_filter,
            "DescribeMetricFilters": self.describe_metric_filters,
            "DescribeSubscriptionFilters": self.describe_subscription_filters,
            "PutMetricFilter": self.put_metric_filter,
            "PutSubscriptionFilter": self.put_subscription_filter,
            "TestMetricFilter": self.test_metric_filter,
        }

    async def put_subscription_filter(self, context: RequestContext, members: Members) -> Members:
        key = _key(context, members)
        with in_the_words_of_aws():
            await self._store.group(key)
        _check(members)
        vendor = vendor_of(members["destinationArn"])
        if self._destinations is None:
            raise AwsError("NotImplemented", "Subscriptions are not offered by this server.", 501)
        document = {
            name: members[name]
            for name in ("filterPattern", "destinationArn", "roleArn")
            if members.get(name) is not None
        } | {"distribution": members.get("distribution") or "ByLogStream"}
        present = await self._present(key, "subscription")
        if members["filterName"] not in present and len(present) >= MOST["subscription"]:
            raise _limit_exceeded()  # before a stream gets its test message
        await self._destinations.check(key, document, self._now_ms())
        if vendor == "lambda":
            document.pop("roleArn", None)
        await self._put(key, "subscription", members["filterName"], document, present)
        return {}

    async def delete_subscription_filter(self, context: RequestContext, members: Members) -> Members:
        return await self._delete(_key(context, members), "subscription", members["filterName"])

    async def describe_subscription_filters(self, context: RequestContext, members: Members) -> Members:
        group = members["logGroupName"]
        present = await self._present(_key(context, members), "subscription")
        found = [{"filterName": name, "logGroupName": group, **document} for name, document in present.items()]
        return _page("subscriptionFilters", found, members)

    async def put_metric_filter(self, context: RequestContext, members: Members) -> Members:
        key = _key(context, members)
        present = await self._present(key, "metric")
        _check(members)
        for transformation in members["metricTransformations"]:
            _check_dimensions(members["filterPattern"], transformation)
        document = {name: members[name] for name in ("filterPattern", "metricTransformations")}
        await self._put(key, "metric", members["filterName"], document, present)
        return {}

    async def delete_metric_filter(self, context: RequestContext, members: Members) -> Members:
        return await self._delete(_key(context, members), "metric", members["filterName"])

    async def describe_metric_filters(self, context: RequestContext, members: Members) -> Members:
        metric = members.get("metricName"), members.get("metricNamespace")
        if (metric[0] is None) != (metric[1] is None):
            raise model.invalid_parameter("metricName and metricNamespace must be specified together.")
        group = members.get("logGroupName")
        if group is not None:
            present = await self._present(_key(context, members), "metric")
            listed = [(group, name, document) for name, document in present.items()]
        else:
            listed = await self._store.filters_in(context.account_id, context.region, "metric")
        found = [
            {"filterName": name, "logGroupName": of, **document}
            for of, name, document in listed
            if metric == (None, None) or any(_metric(each) == metric for each in document["metricTransformations"])
        ]
        return _page("metricFilters", found, members)

    async def test_metric_filter(self, context: RequestContext, members: Members) -> Members:
        pattern = members["filterPattern"]
        match = compile_pattern(pattern) if pattern.strip() else lambda message: True
        matches = [
            {"eventNumber": number, "eventMessage": message, "extractedValues": extract(pattern, message)}
            for number, message in enumerate(members["logEventMessages"], 1)
            if match(message)
        ]
        return {"matches": matches}

    async def _present(self, key: GroupKey, kind: Kind) -> dict[str, Members]:
        """Raises AwsError ResourceNotFoundException."""
        with in_the_words_of_aws():
            return await self._store.filters_of(key, kind)

    async def _put(
        self, key: GroupKey, kind: Kind, name: str, document: Members, present: Mapping[str, Members]
    ) -> None:
        created_ms = present[name]["creationTime"] if name in present else self._now_ms()
        with in_the_words_of_aws():
            try:
                await self._store.put_filter(key, kind, name, {**document, "creationTime": created_ms}, MOST[kind])
            except FiltersFull as error:
                raise _limit_exceeded() from error

    async def _delete(self, key: GroupKey, kind: Kind, name: str) -> Members:
        with in_the_words_of_aws():
            try:
                await self._store.delete_filter(key, kind, name)
            except FilterMissing as error:
                raise AwsError("ResourceNotFoundException", f"The specified {kind} filter does not exist.") from error
        return {}

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)


def _limit_exceeded() -> AwsError:
    return AwsError("LimitExceededException", "Resource limit exceeded.")


def _check(members: Members) -> None:
    """Raises AwsError InvalidParameterException."""
    if members["filterPattern"].strip():
        compile_pattern(members["filterPattern"])
    for name in _NOT_OFFERED:
        if members.get(name):
            raise model.invalid_parameter(f"{name} is not offered by Lambent.")


def _check_dimensions(pattern: str, transformation: Members) -> None:
    """Raises AwsError InvalidParameterException."""
    dimensions = transformation.get("dimensions")
    if not dimensions:
        return
    if transformation.get("defaultValue") is not None:
        raise model.invalid_parameter(
            "Invalid metric transformation: dimensions and default value are mutually exclusive properties"
        )
    if pattern.strip()[:1] not in ("{", "["):  # only these name what dimensions could be taken from
        raise model.invalid_parameter("The specified filter pattern does not support dimensions")
    if len(dimensions) > DIMENSIONS_MAX:
        raise model.invalid_parameter(f"A metric filter can have up to {DIMENSIONS_MAX} dimensions.")


def _key(context: RequestContext, members: Members) -> GroupKey:
    return context.account_id, context.region, members["logGroupName"]


def _metric(transformation: Members) -> tuple[str, str]:
    return transformation["metricName"], transformation["metricNamespace"]


def _page(name: str, found: Sequence[Members], members: Members) -> Members:
    """A page of what is sorted by group and name."""
    prefix, token = members.get("filterNamePrefix") or "", members.get("nextToken")
    after = model.read_page_token(token, str, str) if token else ("", "")
    limit = members.get("limit") or model.DESCRIBE_LIMIT
    wanted = [
        each
        for each in found
        if each["filterName"].startswith(prefix) and (each["logGroupName"], each["filterName"]) > after
    ]
    answer: Members = {name: wanted[:limit]}
    if len(wanted) > limit:
        last = wanted[limit - 1]
        answer["nextToken"] = model.page_token(last["logGroupName"], last["filterName"])
    return answer
