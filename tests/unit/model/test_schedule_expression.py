"""rate(), cron() and at(): when the next time is, also where clocks are changed."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.cron import Cron, parse_cron
from lambent.model.schedule_expression import (
    Rate,
    ScheduleError,
    next_after,
    parse_rule_schedule,
    parse_schedule,
    zone_named,
)


def seconds(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone_named(zone)).timestamp()


def times(expression: str, after: str, count: int = 3) -> list[str]:
    found = islice(parse_cron(expression).after(datetime.fromisoformat(after)), count)
    return [each.strftime("%Y-%m-%d %H:%M") for each in found]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 10 * * ? *", ["2026-11-21 10:00", "2026-11-22 10:00"]),
        ("15 12 * * ? *", ["2026-11-21 12:15", "2026-11-22 12:15"]),
        ("0 18 ? * MON-FRI *", ["2026-11-23 18:00", "2026-11-24 18:00"]),
        ("0 8 1 * ? *", ["2026-12-01 08:00", "2027-01-01 08:00"]),
        ("0/15 * * * ? *", ["2026-11-21 08:15", "2026-11-21 08:30"]),
        ("0/10 * ? * MON-FRI *", ["2026-11-23 00:00", "2026-11-23 00:10"]),
        ("0/5 8-17 ? * MON-FRI *", ["2026-11-23 08:00", "2026-11-23 08:05"]),
        ("0 9 ? * 2#1 *", ["2026-12-07 09:00", "2027-01-04 09:00"]),
        ("0 9 ? * 6L *", ["2026-11-27 09:00", "2026-12-25 09:00"]),
        ("0 9 ? * L *", ["2026-11-21 09:00", "2026-11-28 09:00"]),
        ("0 9 L * ? *", ["2026-11-30 09:00", "2026-12-31 09:00"]),
        ("0 9 LW * ? *", ["2026-11-30 09:00", "2026-12-31 09:00"]),
        ("0 9 15W * ? *", ["2026-12-15 09:00", "2027-01-15 09:00"]),
        ("0 9 1W AUG ? *", ["2027-08-02 09:00", "2028-08-01 09:00"]),
        ("0 9 31W JAN ? *", ["2027-01-29 09:00", "2028-01-31 09:00"]),
        ("0 0 29 2 ? *", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("30,45 22-1 1,15 JAN,JUL ? 2027-2028", ["2027-01-01 00:30", "2027-01-01 00:45"]),
        ("0 0 ? * FRI-SUN *", ["2026-11-22 00:00", "2026-11-27 00:00"]),
        ("0 0 1 1 ? 2199", ["2199-01-01 00:00"]),
        ("0 0 30 2 ? *", []),
        ("0 0 1 1 ? 2020", []),
    ],
)
def test_a_cron_expression_comes_at_its_times(expression: str, expected: list[str]) -> None:
    assert times(expression, "2026-11-21 08:00:30", 2) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "cron()", "cron(INVALID)", "cron(0 1 * * * *)", "cron(7 20 * * NOT *)", "cron(0 dummy ? * MON-FRI *)",
        "cron(71 8 1 * ? *)", "cron(0 0 ? * ? *)", "cron(0 0 * * ?)", "cron(0 0 1 13 ? *)", "cron(0 0 1#2 * ? *)",
        "cron(0 0 ? * 2#6 *)", "cron(0/61 * * * ? *)", "cron(0/0 * * * ? *)", "cron(*-5 * * * ? *)", "cron(0  0 1 * ? *)",
        "cron(0 0 1 * ? 2500)", "cron(0 0 32W * ? *)", "rate()", "rate(10)", "rate(10 seconds)", "rate(10 years)",
        "rate(0 minutes)", "rate(foo minutes)", "rate(-10 minutes)", "rate( 10 minutes )", " rate(10 minutes)",
        "rate(10 minutess)", "at(2021-12-31T23:59:59Z)", "at(2021-12-31)", "at(2021-02-30T00:00:00)",
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError):
        parse_schedule(text)


@pytest.mark.parametrize("text", ["rate(1 minutes)", "rate(2 minute)", "rate(1 days)", "at(2026-11-21T08:00:00)"])
def test_rules_are_stricter(text: str) -> None:
    parse_schedule(text)
    with pytest.raises(ScheduleError):
        parse_rule_schedule(text)


def test_rates_are_counted_from_their_beginning() -> None:
    rate = parse_schedule("rate(5 minutes)")
    assert rate == Rate(300)
    assert next_after(rate, 50.0, begin_s=100.0) == 100.0
    assert next_after(rate, 100.0, begin_s=100.0) == 400.0
    assert next_after(rate, 399.0, begin_s=100.0) == 400.0
    assert next_after(rate, 1000.5, begin_s=100.0) == 1300.0


def test_a_time_that_clocks_skip_is_skipped_and_one_they_repeat_comes_once() -> None:
    berlin = zone_named("Europe/Berlin")
    daily = parse_schedule("cron(30 2 * * ? *)")
    spring = next_after(daily, seconds("2027-03-27T12:00", "Europe/Berlin"), zone=berlin)
    assert spring == seconds("2027-03-29T02:30", "Europe/Berlin")  # on the 28th there was no half past two
    first = next_after(daily, seconds("2026-10-24T12:00", "Europe/Berlin"), zone=berlin)
    assert first == seconds("2026-10-25T00:30")  # the first of two
    assert first is not None
    assert next_after(daily, first, zone=berlin) == seconds("2026-10-26T02:30", "Europe/Berlin")


def test_one_time_schedules_come_once_in_their_zone() -> None:
    at = parse_schedule("at(2026-11-21T08:00:00)")
    moment = seconds("2026-11-21T13:00")
    new_york = zone_named("America/New_York")
    assert next_after(at, 0.0, zone=new_york) == moment
    assert next_after(at, moment, zone=new_york) is None


def test_unknown_zones_are_refused() -> None:
    for name in ("Mars/Olympus", "", "../etc/passwd"):
        with pytest.raises(ScheduleError):
            zone_named(name)


# --- against going through every minute


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    return st.one_of(
        st.just("*"),
        number.map(str),
        st.builds(lambda a, b: f"{min(a, b)}-{max(a, b)}", number, number),
        st.builds(lambda a, step: f"{a}/{step}", number, st.integers(1, high - low + 1)),
        st.builds(lambda a, b: f"{a},{b}", number, number),
    )


DAYS = st.one_of(
    st.builds(lambda day: (day, "?"), field(1, 31) | st.sampled_from(["L", "LW", "15W", "31"])),
    st.builds(lambda day: ("?", day), field(1, 7) | st.sampled_from(["L", "3L", "2#1", "SUN", "MON-WED"])),
)


@given(field(0, 59), field(0, 23), DAYS, field(1, 12), st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)))
def test_the_next_time_is_the_first_minute_that_matches(
    minute: str, hour: str, days: tuple[str, str], month: str, after: datetime
) -> None:
    cron = parse_cron(f"{minute} {hour} {days[0]} {month} {days[1]} *")
    expected = by_looking_at_each_minute(cron, after, timedelta(days=40))
    found = next(cron.after(after), None)
    if expected is None:
        assert found is None or found > after + timedelta(days=39)
    else:
        assert found == expected


def by_looking_at_each_minute(cron: Cron, after: datetime, span: timedelta) -> datetime | None:
    moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    end = moment + span
    while moment < end:
        if moment.month not in cron.months or moment.day not in cron.days.of(moment.year, moment.month):
            moment = (moment + timedelta(days=1)).replace(hour=0, minute=0)
        elif moment.hour not in cron.hours:
            moment = (moment + timedelta(hours=1)).replace(minute=0)
        elif moment.minute not in cron.minutes:
            moment += timedelta(minutes=1)
        else:
            return moment
    return None


@given(
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)),
    st.sampled_from(["cron(30 2 * * ? *)", "cron(0/20 * * * ? *)", "cron(15 1,2,3 ? * SUN *)"]),
)
def test_times_in_a_zone_rise_exist_and_match(zone_name: str, after: datetime, text: str) -> None:
    zone, cron = zoneinfo.ZoneInfo(zone_name), parse_schedule(text)
    assert isinstance(cron, Cron)
    at_s: float | None = after.replace(tzinfo=UTC).timestamp()
    for _ in range(5):
        assert at_s is not None
        following = next_after(cron, at_s, zone=zone)
        assert following is not None
        assert following > at_s
        wall = datetime.fromtimestamp(following, zone)
        assert wall.minute in cron.minutes
        assert wall.hour in cron.hours
        at_s = following
