"""docs/compatibility-lambda.md says what the server does, operation by operation and member by member."""

from __future__ import annotations

import difflib
from pathlib import Path

from bench.compatibility import CHECKED, MODEL, PAGE, page, survey
from bench.compatibility_requests import READ_BACK, RECIPES, RECIPES_OF_MEMBERS, RIGHTLY_REFUSED, VALUES, WITH
from live_server import LiveServer

ROOT = Path(__file__).parents[2]


def test_the_table_is_what_the_server_does_today(live: LiveServer) -> None:
    before = PAGE.read_text(encoding="utf-8").splitlines()
    now = page(survey(live.url)).splitlines()
    assert before == now, "\n".join(
        ["docs/compatibility-lambda.md is older than the server: run `make compatibility`",
         *difflib.unified_diff(before, now, "docs", "server", lineterm="", n=0)]
    )  # fmt: skip


def test_the_table_asks_about_every_operation_and_nothing_else() -> None:
    operations = set(MODEL.operation_names)
    assert set(RECIPES) == operations
    assert set(READ_BACK) <= operations
    for key in (*RECIPES_OF_MEMBERS, *WITH, *VALUES, *RIGHTLY_REFUSED):
        operation, dot, member = key.rpartition(".")
        known = MODEL.operation_model(operation).input_shape.members if dot else _all_members()
        assert member in known, key


def _all_members() -> set[str]:
    return {
        name for operation in MODEL.operation_names for name in MODEL.operation_model(operation).input_shape.members
    }


def test_what_is_said_to_be_held_by_a_test_has_one() -> None:
    for member, place in CHECKED.items():
        file, _, test = place.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), (member, place)
        assert member in _all_members(), member
