"""Operations on rules and their targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lambent.model.event_pattern import NUMBER_MAX, PatternError, compile_pattern
from lambent.model.json_path import PathError, parse_path
from lambent.model.request import RequestContext
from lambent.model.schedule_expression import ScheduleError, parse_rule_schedule
from lambent.ports import Catalog, CatalogTransaction, CatalogView, Clock, Operation
from lambent.services.events.buses import need_bus
from lambent.services.events.errors import bad_pattern, invalid, no_rule, too_many, validation
from lambent.services.events.names import DEFAULT_BUS, Bus, own_bus, page, present
from lambent.services.events.router import RULES
from lambent.services.events.transforming import is_json, problem_of

Members = dict[str, Any]

# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
RULES_MAX: Final = 300  # of a bus
TARGETS_MAX: Final = 5  # of a rule
_SHOWN: Final = ("Name", "EventPattern", "ScheduleExpression", "State", "Description", "RoleArn", "EventBusName")
_NEEDS_ROLE: Final = frozenset({"kinesis", "firehose", "states"})
_NEEDS_ROLE_ABROAD: Final = frozenset({"events", "sns"})  # for targets of other accounts


class Rules:
    def __init__(self, catalog: Catalog, clock: Clock, services: frozenset[str]) -> None:
        """`services` are the third parts of the ARNs that targets may have."""
        self._catalog = catalog
        self._clock = clock
        self._services = services
        self.operations: Mapping[str, Operation] = {
            "PutRule": self.put_rule,
            "DeleteRule": self.delete_rule,
            "DescribeRule": self.describe_rule,
            "EnableRule": self.enable_rule,
            "DisableRule": self.disable_rule,
            "ListRules": self.list_rules,
            "ListRuleNamesByTarget": self.list_rule_names_by_target,
            "PutTargets": self.put_targets,
            "RemoveTargets": self.remove_targets,
            "ListTargetsByRule": self.list_targets_by_rule,
        }

    async def put_rule(self, context: RequestContext, members: Members) -> Members:
        bus, name = own_bus(context, members.get("EventBusName")), members["Name"]
        check_rule(bus, members)
        now_s = self._clock.now()
        wanted = {
            "Name": name,
            "EventBusName": bus.name,
            "State": members.get("State") or "ENABLED",
            **{each: members[each] for each in ("EventPattern", "ScheduleExpression", "Description", "RoleArn")
               if members.get(each)},
        }  # fmt: skip

        def work(tx: CatalogTransaction) -> None:
            need_bus(tx, bus)
            before = tx.document(RULES, bus.account_id, bus.region, bus.key(name))
            if before is None:
                rules = tx.documents(RULES, bus.account_id, bus.region).values()
                if sum(rule["EventBusName"] == bus.name for rule in rules) >= RULES_MAX:
                    raise too_many()
                tags = {tag["Key"]: tag["Value"] for tag in members.get("Tags") or ()}
                document = wanted | {"Targets": {}, "Tags": tags, "CreatedBy": bus.account_id, "Since": now_s}
            else:  # tags are those of the creation
                same = before.get("ScheduleExpression") == wanted.get("ScheduleExpression")
                since = before["Since"] if same and before["State"] == wanted["State"] else now_s
                kept = {each: before[each] for each in ("Targets", "Tags", "CreatedBy")}
                document = wanted | kept | {"Since": since}
            tx.put_document(RULES, bus.account_id, bus.region, bus.key(name), document)

        await self._catalog.transact(work)
        return {"RuleArn": bus.rule_arn(name)}

    async def delete_rule(self, context: RequestContext, members: Members) -> Members:
        bus, name = own_bus(context, members.get("EventBusName")), members["Name"]

        def work(tx: CatalogTransaction) -> None:
            need_bus(tx, bus)
            document = tx.document(RULES, bus.account_id, bus.region, bus.key(name))
            if document is None:  # AWS says nothing either
                return
            if document["Targets"]:
                raise validation("Rule can't be deleted since it has targets.")
            tx.delete_document(RULES, bus.account_id, bus.region, bus.key(name))

        await self._catalog.transact(work)
        return {}

    async def describe_rule(self, context: RequestContext, members: Members) -> Members:
        bus = own_bus(context, members.get("EventBusName"))
        document = need_rule(self._catalog, bus, members["Name"])
        return _described(bus, document) | {"CreatedBy": document["CreatedBy"]}

    async def enable_rule(self, context: RequestContext, members: Members) -> Members:
        return await self._set_state(context, members, "ENABLED")

    async def disable_rule(self, context: RequestContext, members: Members) -> Members:
        return await self._set_state(context, members, "DISABLED")

    async def _set_state(self, context: RequestContext, members: Members, state: str) -> Members:
        bus = own_bus(context, members.get("EventBusName"))
        now_s = self._clock.now()

        def work(tx: CatalogTransaction) -> None:
            document = need_rule(tx, bus, members["Name"])
            if document["State"] != state:
                changed = document | {"State": state, "Since": now_s}
                tx.put_document(RULES, bus.account_id, bus.region, bus.key(members["Name"]), changed)

        await self._catalog.transact(work)
        return {}

    async def list_rules(self, context: RequestContext, members: Members) -> Members:
        bus = own_bus(context, members.get("EventBusName"))
        need_bus(self._catalog, bus)
        prefix = members.get("NamePrefix") or ""
        rules = [rule for rule in self._rules_of(bus) if rule["Name"].startswith(prefix)]
        chosen, more = page(rules, lambda rule: str(rule["Name"]), members)
        return {"Rules": [_described(bus, rule) for rule in chosen], **more}

    async def list_rule_names_by_target(self, context: RequestContext, members: Members) -> Members:
        bus = own_bus(context, members.get("EventBusName"))
        need_bus(self._catalog, bus)
        arn = members["TargetArn"]
        names = [
            str(rule["Name"])
            for rule in self._rules_of(bus)
            if any(target["Arn"] == arn for target in rule["Targets"].values())
        ]
        chosen, more = page(names, lambda name: name, members)
        return {"RuleNames": chosen, **more}

    def _rules_of(self, bus: Bus) -> list[Members]:
        rules = self._catalog.documents(RULES, bus.account_id, bus.region).values()
        return sorted((rule for rule in rules if rule["EventBusName"] == bus.name), key=lambda rule: str(rule["Name"]))

    # --- targets

    async def put_targets(self, context: RequestContext, members: Members) -> Members:
        bus, name = own_bus(context, members.get("EventBusName")), members["Rule"]
        for target in members["Targets"]:
            check_target(target, self._services, context.account_id)

        def work(tx: CatalogTransaction) -> None:
            document = need_rule(tx, bus, name)
            targets = document["Targets"] | {target["Id"]: present(target) for target in members["Targets"]}
            if len(targets) > TARGETS_MAX:
                raise too_many()
            tx.put_document(RULES, bus.account_id, bus.region, bus.key(name), document | {"Targets": targets})

        await self._catalog.transact(work)
        return {"FailedEntryCount": 0, "FailedEntries": []}

    async def remove_targets(self, context: RequestContext, members: Members) -> Members:
        bus, name = own_bus(context, members.get("EventBusName")), members["Rule"]

        def work(tx: CatalogTransaction) -> None:
            document = need_rule(tx, bus, name)
            kept = {key: target for key, target in document["Targets"].items() if key not in members["Ids"]}
            tx.put_document(RULES, bus.account_id, bus.region, bus.key(name), document | {"Targets": kept})

        await self._catalog.transact(work)
        return {"FailedEntryCount": 0, "FailedEntries": []}

    async def list_targets_by_rule(self, context: RequestContext, members: Members) -> Members:
        bus = own_bus(context, members.get("EventBusName"))
        targets = need_rule(self._catalog, bus, members["Rule"])["Targets"]
        chosen, more = page(sorted(targets), lambda key: key, members)
        return {"Targets": [targets[key] for key in chosen], **more}


def need_rule(view: CatalogView, bus: Bus, name: str) -> Members:
    """Raises AwsError ResourceNotFoundException, for the bus or the rule."""
    need_bus(view, bus)
    found = view.document(RULES, bus.account_id, bus.region, bus.key(name))
    if found is None:
        raise no_rule(name, bus.name)
    return found


def check_pattern(source: str) -> None:
    """Raises AwsError InvalidEventPatternException."""
    try:
        compile_pattern(source, NUMBER_MAX)
    except PatternError as error:
        raise bad_pattern(str(error)) from error


def check_rule(bus: Bus, members: Members) -> None:
    """Raises AwsError InvalidEventPatternException, ValidationException."""
    pattern, schedule = members.get("EventPattern"), members.get("ScheduleExpression")
    if not pattern and not schedule:
        raise validation("Parameter(s) EventPattern or ScheduleExpression must be specified.")
    if pattern:
        check_pattern(pattern)
    if schedule:
        if bus.name != DEFAULT_BUS:
            raise validation("ScheduleExpression is supported only on the default event bus.")
        try:
            parse_rule_schedule(schedule)
        except ScheduleError as error:
            raise validation("Parameter ScheduleExpression is not valid.") from error


def check_target(target: Members, services: frozenset[str], account_id: str) -> None:
    """Raises AwsError ValidationException for a target that nothing could be sent to."""
    arn, key = target["Arn"], target["Id"]
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn":
        raise invalid(arn, "Provided Arn is not in correct format.")
    service = parts[2]
    if service not in services:
        raise validation(f"{service} is not a supported service for a target.")
    if service == "events" and not parts[5].startswith(("event-bus/", "api-destination/")):
        raise invalid(arn, "Provided Arn is not in correct format.")
    is_foreign = service in _NEEDS_ROLE_ABROAD and parts[4] != account_id
    if (service in _NEEDS_ROLE or is_foreign) and not target.get("RoleArn"):
        raise validation(f"RoleArn is required for target {arn}.")
    if service == "sqs" and arn.endswith(".fifo") and not (target.get("SqsParameters") or {}).get("MessageGroupId"):
        raise validation(f"Parameter(s) SqsParameters must be specified for target: {key}.")
    if str((target.get("DeadLetterConfig") or {}).get("Arn")).endswith(".fifo"):
        raise validation("SQS FIFO is not supported by Dead Letter Queues.")
    if sum(bool(target.get(each)) for each in ("Input", "InputPath", "InputTransformer")) > 1:
        raise validation(f"Only one of Input, InputPath, or InputTransformer must be provided for target {key}.")
    _check_input(target)


def _check_input(target: Members) -> None:
    key = target["Id"]
    if (constant := target.get("Input")) and not is_json(constant):
        raise validation(f"Input for target {key} is not a valid JSON text.")
    if path := target.get("InputPath"):
        try:
            parse_path(path)
        except PathError as error:
            raise validation(f"Invalid InputPath for target {key} : [{error}].") from error
    if transformer := target.get("InputTransformer"):
        problem = problem_of(transformer)
        if problem is not None:
            raise validation(f"Invalid InputTransformer for target {key} : [{problem}].")


def _described(bus: Bus, document: Mapping[str, Any]) -> Members:
    return {"Arn": bus.rule_arn(document["Name"]), **present({each: document.get(each) for each in _SHOWN})}
