"""CloudWatch Logs' operations over the log store: members in, members out, by botocore's names."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Clock, Operation
from lambent.services.logs import model
from lambent.services.logs.destinations import SubscriptionDestinations
from lambent.services.logs.filters import Filters
from lambent.services.logs.livetail import TailRequest, live_tail
from lambent.services.logs.pattern import compile_pattern
from lambent.services.logs.words import in_the_words_of_aws
from lambent.store.logs import (
    FOREVER_MS,
    Group,
    GroupKey,
    LogGroupMissing,
    LogStore,
    Query,
    StoredEvent,
    Stream,
    event_bytes,
)

Members = dict[str, Any]

GROUP_ATTRIBUTES: Final = ("kmsKeyId", "logGroupClass", "deletionProtectionEnabled")


class LogsService:
    """`ports.Service` for `logs`."""

    name = "logs"

    def __init__(self, store: LogStore, clock: Clock, destinations: SubscriptionDestinations | None = None) -> None:
        self._store = store
        self._clock = clock
        self.operations: Mapping[str, Operation] = {
            "CreateLogGroup": self.create_log_group,
            "CreateLogStream": self.create_log_stream,
            "DeleteLogGroup": self.delete_log_group,
            "DeleteLogStream": self.delete_log_stream,
            "DeleteRetentionPolicy": self.delete_retention_policy,
            "DescribeLogGroups": self.describe_log_groups,
            "DescribeLogStreams": self.describe_log_streams,
            "FilterLogEvents": self.filter_log_events,
            "GetLogEvents": self.get_log_events,
            "ListLogGroups": self.list_log_groups,
            "ListTagsForResource": self.list_tags_for_resource,
            "ListTagsLogGroup": self.list_tags_log_group,
            "PutLogEvents": self.put_log_events,
            "PutLogGroupDeletionProtection": self.put_log_group_deletion_protection,
            "PutRetentionPolicy": self.put_retention_policy,
            "StartLiveTail": self.start_live_tail,
            "TagLogGroup": self.tag_log_group,
            "TagResource": self.tag_resource,
            "UntagLogGroup": self.untag_log_group,
            "UntagResource": self.untag_resource,
            **Filters(store, clock, destinations).operations,
        }

    # ── groups ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def create_log_group(self, context: RequestContext, members: Members) -> Members:
        tags = members.get("tags") or {}
        model.check_tags(tags)
        attributes = {name: members[name] for name in GROUP_ATTRIBUTES if members.get(name) is not None}
        with in_the_words_of_aws():
            await self._store.create_group(_named(context, members), attributes, tags)
        return {}

    async def delete_log_group(self, context: RequestContext, members: Members) -> Members:
        with in_the_words_of_aws():
            group = await self._store.group(_named(context, members))
            if group.attributes.get("deletionProtectionEnabled"):
                raise AwsError("ValidationException", "The log group has deletion protection enabled.")
            await self._store.delete_group(_named(context, members))
        return {}

    async def describe_log_groups(self, context: RequestContext, members: Members) -> Members:
        prefix, part = members.get("logGroupNamePrefix", ""), members.get("logGroupNamePattern", "")
        if prefix and part:
            raise model.invalid_parameter(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."
            )
        identifiers = members.get("logGroupIdentifiers")
        if identifiers is not None:
            return {"logGroups": [_group_members(g) for g in await self._identified(context, identifiers)]}
        groups, token = await self._page_of_groups(context, members, prefix, part, model.DESCRIBE_LIMIT)
        described = [_group_members(group) for group in groups]
        if part:
            described = [{n: g[n] for n in ("logGroupName", "creationTime", "arn")} for g in described]
        return _with_token({"logGroups": described}, token)

    async def list_log_groups(self, context: RequestContext, members: Members) -> Members:
        groups, token = await self._page_of_groups(context, members, "", "", 1000)
        names = members.get("logGroupNamePattern", "").split("|")
        wanted = members.get("logGroupClass")
        listed = [
            {name: described[name] for name in ("logGroupName", "logGroupArn", "logGroupClass")}
            for described in map(_group_members, groups)
            if any(_matches_name(name, described["logGroupName"]) for name in names)
            and wanted in (None, described["logGroupClass"])
        ]
        return _with_token({"logGroups": listed}, token)

    async def _page_of_groups(
        self, context: RequestContext, members: Members, prefix: str, part: str, most: int
    ) -> tuple[list[Group], str | None]:
        limit = members.get("limit") or min(most, model.DESCRIBE_LIMIT)
        token = members.get("nextToken")
        (after,) = model.read_page_token(token, str) if token else ("",)
        groups = await self._store.groups(
            context.account_id, context.region, prefix=prefix, containing=part, after=after, limit=limit + 1
        )
        return groups[:limit], model.page_token(groups[limit - 1].name) if len(groups) > limit else None

    async def _identified(self, context: RequestContext, identifiers: list[str]) -> list[Group]:
        found = []
        for identifier in identifiers:
            with contextlib.suppress(LogGroupMissing):
                key = model.group_key(context.account_id, context.region, identifier)
                found.append(await self._store.group(key))
        return found

    async def put_log_group_deletion_protection(self, context: RequestContext, members: Members) -> Members:
        key = model.group_of(context.account_id, context.region, members)
        with in_the_words_of_aws():
            await self._store.set_attributes(key, {"deletionProtectionEnabled": members["deletionProtectionEnabled"]})
        return {}

    async def put_retention_policy(self, context: RequestContext, members: Members) -> Members:
        model.check_retention(members["retentionInDays"])
        with in_the_words_of_aws():
            await self._store.set_retention(_named(context, members), members["retentionInDays"])
        return {}

    async def delete_retention_policy(self, context: RequestContext, members: Members) -> Members:
        with in_the_words_of_aws():
            await self._store.set_retention(_named(context, members), None)
        return {}

    # ── tags ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def tag_resource(self, context: RequestContext, members: Members) -> Members:
        return await self._tag(_resource(context, members), members["tags"])

    async def untag_resource(self, context: RequestContext, members: Members) -> Members:
        return await self._untag(_resource(context, members), members["tagKeys"])

    async def list_tags_for_resource(self, context: RequestContext, members: Members) -> Members:
        return await self._tags(_resource(context, members))

    async def tag_log_group(self, context: RequestContext, members: Members) -> Members:
        return await self._tag(_named(context, members), members["tags"])

    async def untag_log_group(self, context: RequestContext, members: Members) -> Members:
        return await self._untag(_named(context, members), members["tags"])

    async def list_tags_log_group(self, context: RequestContext, members: Members) -> Members:
        return await self._tags(_named(context, members))

    async def _tag(self, key: GroupKey, tags: Mapping[str, str]) -> Members:
        with in_the_words_of_aws():
            present = (await self._store.group(key)).tags
            model.check_tags({**present, **tags})
            await self._store.change_tags(key, tags)
        return {}

    async def _untag(self, key: GroupKey, names: list[str]) -> Members:
        with in_the_words_of_aws():
            await self._store.change_tags(key, {}, names)
        return {}

    async def _tags(self, key: GroupKey) -> Members:
        with in_the_words_of_aws():
            return {"tags": dict((await self._store.group(key)).tags)}

    # ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def create_log_stream(self, context: RequestContext, members: Members) -> Members:
        with in_the_words_of_aws():
            await self._store.create_stream((*_named(context, members), members["logStreamName"]))
        return {}

    async def delete_log_stream(self, context: RequestContext, members: Members) -> Members:
        with in_the_words_of_aws():
            await self._store.delete_stream((*_named(context, members), members["logStreamName"]))
        return {}

    async def describe_log_streams(self, context: RequestContext, members: Members) -> Members:
        by_time = members.get("orderBy") == "LastEventTime"
        prefix = members.get("logStreamNamePrefix", "")
        if by_time and prefix:
            raise model.invalid_parameter("Cannot order by LastEventTime with a logStreamNamePrefix.")
        with in_the_words_of_aws():
            group = await self._store.group(model.group_of(context.account_id, context.region, members))
        descending, limit = bool(members.get("descending")), members.get("limit") or model.DESCRIBE_LIMIT
        token = members.get("nextToken")
        if by_time:
            time_ms, name = model.read_page_token(token, int, str) if token else (None, None)
            streams = await self._store.streams_by_last_event(
                group.id, after=None if name is None else (time_ms, name), descending=descending, limit=limit + 1
            )
        else:
            (name,) = model.read_page_token(token, str) if token else (None,)
            streams = await self._store.streams(
                group.id, prefix=prefix, after=name, descending=descending, limit=limit + 1
            )
        answer: Members = {"logStreams": [_stream_members(group, stream) for stream in streams[:limit]]}
        if len(streams) > limit:
            last = streams[limit - 1]
            answer["nextToken"] = (
                model.page_token(last.last_event_ms, last.name) if by_time else model.page_token(last.name)
            )
        return answer

    # ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def put_log_events(self, context: RequestContext, members: Members) -> Members:
        key = (*_named(context, members), members["logStreamName"])
        with in_the_words_of_aws():
            group = await self._store.group(key[:3])
            await self._store.stream(key)
        sizes = [event_bytes(event["message"]) for event in members["logEvents"]]
        admission = model.admit(members["logEvents"], sizes, self._now_ms(), group.retention_days)
        if admission.events:
            with in_the_words_of_aws():
                await self._store.put(key, admission.events)
        answer: Members = {"nextSequenceToken": model.event_id((self._now_ms(), 0))}
        if admission.rejected:
            answer["rejectedLogEventsInfo"] = dict(admission.rejected)
        return answer

    async def get_log_events(self, context: RequestContext, members: Members) -> Members:
        key = model.group_of(context.account_id, context.region, members)
        token = members.get("nextToken")
        backward, position = model.read_event_token(token) if token else (not members.get("startFromHead", False), None)
        with in_the_words_of_aws():
            group = await self._store.group(key)
            await self._store.stream((*key, members["logStreamName"]))
        start_ms, end_ms = self._range(group, members)
        page = await self._store.page(
            Query(
                group_id=group.id,
                stream_names=(members["logStreamName"],),
                start_ms=start_ms,
                end_ms=end_ms,
                position=position,
                backward=backward,
                limit=members.get("limit") or model.EVENTS_LIMIT,
            )
        )
        events = page.events[::-1] if backward else page.events
        first, last = _ends(events, position, backward, start_ms)
        return {
            "events": [_event_members(event) for event in events],
            "nextForwardToken": model.event_token("f", last),
            "nextBackwardToken": model.event_token("b", first),
        }

    async def filter_log_events(self, context: RequestContext, members: Members) -> Members:
        query = await self._filter_query(context, members)
        page = await self._store.page(query)
        token = None
        if page.position is not None:
            token = model.page_token("b" if query.backward else "f", *page.position)
        events = [
            {"logStreamName": event.stream, **_event_members(event), "eventId": model.event_id(event.position)}
            for event in page.events
        ]
        return _with_token({"events": events, "searchedLogStreams": []}, token)

    async def start_live_tail(self, context: RequestContext, members: Members) -> Members:
        identifiers = members["logGroupIdentifiers"]
        names, prefixes = members.get("logStreamNames") or (), members.get("logStreamNamePrefixes") or ()
        if (names or prefixes) and len(identifiers) > 1:
            raise model.invalid_parameter("Log streams can be named only when there is one log group.")
        if names and prefixes:
            raise model.invalid_parameter("logStreamNames and logStreamNamePrefixes are mutually exclusive parameters.")
        keys = [model.group_key(context.account_id, context.region, identifier) for identifier in identifiers]
        with in_the_words_of_aws():
            for key in keys:
                await self._store.group(key)
        pattern = members.get("logEventFilterPattern", "")
        request = TailRequest(
            request_id=context.request_id,
            groups=keys,
            identifiers=identifiers,
            stream_names=names,
            stream_prefixes=prefixes,
            pattern=pattern,
            match=compile_pattern(pattern) if pattern.strip() else None,
        )
        return {"responseStream": live_tail(self._store, self._clock, request)}

    async def _filter_query(self, context: RequestContext, members: Members) -> Query:
        key = model.group_of(context.account_id, context.region, members)
        names, prefix = members.get("logStreamNames"), members.get("logStreamNamePrefix", "")
        if names and prefix:
            raise model.invalid_parameter("logStreamNames and logStreamNamePrefix are mutually exclusive parameters.")
        match = compile_pattern(members["filterPattern"]) if members.get("filterPattern", "").strip() else None
        backward, position = _filter_start(members)
        with in_the_words_of_aws():
            group = await self._store.group(key)
            for name in names or ():
                await self._store.stream((*key, name))
        start_ms, end_ms = self._range(group, members)
        return Query(
            group_id=group.id,
            stream_names=tuple(names) if names else None,
            stream_prefix=prefix,
            start_ms=start_ms,
            end_ms=end_ms,
            position=position,
            backward=backward,
            limit=members.get("limit") or model.EVENTS_LIMIT,
            match=match,
        )

    def _range(self, group: Group, members: Members) -> tuple[int, int]:
        """What the caller asks for and the group still keeps."""
        start_ms = members.get("startTime") or 0
        if group.retention_days is not None:
            start_ms = max(start_ms, self._now_ms() - group.retention_days * model.DAY_MS)
        end_ms = members.get("endTime")
        return start_ms, FOREVER_MS if end_ms is None else end_ms

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)


def _named(context: RequestContext, members: Members) -> GroupKey:
    return context.account_id, context.region, members["logGroupName"]


def _resource(context: RequestContext, members: Members) -> GroupKey:
    return model.group_key(context.account_id, context.region, members["resourceArn"])


def _with_token(answer: Members, token: str | None) -> Members:
    return answer if token is None else {**answer, "nextToken": token}


def _matches_name(pattern: str, name: str) -> bool:
    """ListLogGroups: `^` at the beginning ties it to the name's beginning."""
    return name.startswith(pattern[1:]) if pattern.startswith("^") else pattern in name


def _filter_start(members: Members) -> tuple[bool, model.Position | None]:
    """(backward, position): the token knows both."""
    token = members.get("nextToken")
    if token:
        direction, time_ms, event_id = model.read_page_token(token, str, int, int)
        return direction == "b", (time_ms, event_id)
    backward = members.get("startFromHead") is False
    if backward and (members.get("startTime") or 0) < model.DESCENDING_SINCE_MS:
        raise model.invalid_parameter(
            "startFromHead can be false only when startTime is on or after Jan 1, 2024 00:00:00 UTC."
        )
    return backward, None


def _ends(
    events: Sequence[StoredEvent], position: model.Position | None, backward: bool, start_ms: int
) -> tuple[model.Position, model.Position]:
    """Where the backward and the forward token of a page begin. An empty page gives back what was passed in."""
    if events:
        return events[0].position, events[-1].position
    if position is None:
        return (start_ms, 0), (start_ms, 0)
    time_ms, event_id = position
    # A token's own event was on the page before; turning round must show it again.
    return (position, (time_ms, max(0, event_id - 1))) if backward else ((time_ms, event_id + 1), position)


def _group_members(group: Group) -> Members:
    arn = model.group_arn(group.account_id, group.region, group.name)
    described: Members = {
        "logGroupName": group.name,
        "creationTime": group.created_ms,
        "metricFilterCount": group.metric_filters,
        "arn": f"{arn}:*",
        "storedBytes": group.stored_bytes,
        "logGroupClass": "STANDARD",
        "logGroupArn": arn,
        "deletionProtectionEnabled": False,
        **group.attributes,
    }
    if group.retention_days is not None:
        described["retentionInDays"] = group.retention_days
    return described


def _stream_members(group: Group, stream: Stream) -> Members:
    described: Members = {
        "logStreamName": stream.name,
        "creationTime": stream.created_ms,
        "arn": model.stream_arn(group.account_id, group.region, group.name, stream.name),
        "storedBytes": 0,  # deprecated in June 2019, and zero ever since
    }
    if stream.first_event_ms is not None:
        described["firstEventTimestamp"] = stream.first_event_ms
        described["lastEventTimestamp"] = stream.last_event_ms
        described["lastIngestionTime"] = stream.last_ingestion_ms
        described["uploadSequenceToken"] = model.event_id((stream.last_ingestion_ms, stream.id))
    return described


def _event_members(event: StoredEvent) -> Members:
    return {"timestamp": event.timestamp_ms, "message": event.message, "ingestionTime": event.ingestion_ms}
