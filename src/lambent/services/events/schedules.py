"""Rules with a schedule: their plans, and the event that their targets get."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from lambent.model.schedule_expression import ScheduleError, next_after, parse_rule_schedule
from lambent.ports import Catalog
from lambent.services.delivery import Deliverer
from lambent.services.delivery.timekeeper import Plan, Timekeeper
from lambent.services.events.names import DEFAULT_BUS, Bus, in_zulu
from lambent.services.events.router import RULES, Came, to_targets
from lambent.services.events.transforming import Matched


class ScheduledRules:
    """Keeps the timekeeper's plans as the rules are."""

    def __init__(self, catalog: Catalog, deliverer: Deliverer, timekeeper: Timekeeper) -> None:
        self._catalog = catalog
        self._deliverer = deliverer
        self._timekeeper = timekeeper
        catalog.subscribe_documents(RULES, self._changed)

    def start(self) -> None:
        for account_id, region in self._catalog.document_places(RULES):
            for key in self._catalog.documents(RULES, account_id, region):
                self._changed(account_id, region, key)

    def _changed(self, account_id: str, region: str, key: str) -> None:
        bus = Bus(account_id, region, DEFAULT_BUS)
        if not key.startswith(f"{DEFAULT_BUS}/"):
            return
        rule = self._catalog.document(RULES, account_id, region, key)
        owner = bus.rule_arn(key.removeprefix(f"{DEFAULT_BUS}/"))
        if rule is None or not rule.get("ScheduleExpression") or rule["State"] == "DISABLED":
            self._timekeeper.remove(owner)
            return
        try:
            schedule = parse_rule_schedule(rule["ScheduleExpression"])
        except ScheduleError:
            self._timekeeper.remove(owner)
            return
        since_s: float = rule["Since"]

        async def fire(at_s: float, marks: Mapping[str, int], is_last: bool) -> None:
            current = self._catalog.document(RULES, account_id, region, key) or rule
            await self._fire(bus, current, at_s, marks)

        # The first time is a period after the rule was made or enabled.
        plan = Plan(
            next_after=lambda after_s: next_after(schedule, max(after_s, since_s), begin_s=since_s),
            since_s=since_s,
            fire=fire,
        )
        self._timekeeper.put(owner, plan)

    async def _fire(self, bus: Bus, rule: dict[str, Any], at_s: float, marks: Mapping[str, int]) -> None:
        arn = bus.rule_arn(rule["Name"])
        event: dict[str, Any] = {
            "version": "0", "id": str(uuid.uuid4()), "detail-type": "Scheduled Event", "source": "aws.events",
            "account": bus.account_id, "time": in_zulu(at_s), "region": bus.region, "resources": [arn], "detail": {},
        }  # fmt: skip
        matched = Matched(
            event=event,
            encoded=msgspec.json.encode(event),
            rule_arn=arn,
            rule_name=rule["Name"],
            ingested=in_zulu(at_s),
        )
        owed = to_targets(bus, rule, matched, Came(ingested_s=at_s))
        await self._deliverer.accept(owed, marks=marks)
