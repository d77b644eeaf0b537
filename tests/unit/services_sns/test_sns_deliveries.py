"""What becomes of a message whose endpoint does not take it: tries on AWS's calendar, then dead letters."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Mapping

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from full_disk import FullDisk
from lambent.model.errors import AwsError
from lambent.model.names import FunctionAddress
from lambent.services.sns import MaySend, http_endpoint
from lambent.services.sns.delivery_policy import MAIL, MANAGED, Phases
from lambent.store.topics import TopicStore
from sns_harness import ACCOUNT, SOON_S, Endpoint, World, function_arn, queue_arn

DOWN = AwsError("ServiceUnavailable", "Down.", 503)


def dead_letters(queue: str = "dead") -> str:
    return json.dumps({"deadLetterTargetArn": queue_arn(queue)})


async def waiting(world: World, topic: str, tries: int = 4) -> None:
    """Returns when all that the topic's subscription is owed was tried so often, and waits for its next time."""
    subscription = world.topics.subscriptions_to(topic)[0]

    def tried(connection: sqlite3.Connection) -> bool:
        rows = connection.execute("SELECT tries FROM deliveries WHERE lane = ?", (subscription.id,)).fetchall()
        return len(rows) > 0 and all(row[0] >= tries for row in rows)

    async with asyncio.timeout(SOON_S):
        while not await world.topics._database.read(tried):
            await asyncio.sleep(0.002)


# --- queues


async def test_a_queue_that_is_down_gets_its_messages_later(world: World) -> None:
    topic = await world.topic()
    await world.subscribe(topic, "sqs", await world.queue(), RawMessageDelivery="true")
    world.failures = [DOWN] * 4  # the first try and three at once
    entries = [{"Id": str(n), "Message": str(n)} for n in range(3)]
    await world.sns("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=entries)
    await waiting(world, topic)
    assert (await world.queues.counts(world.queues.queues_of(ACCOUNT, "eu-west-1")[0])).visible == 0
    world.clock.advance(1.1)
    assert sorted(m["Body"] for m in await world.received(count=3)) == ["0", "1", "2"]
    await world.idle()


async def test_a_queue_that_is_gone_leaves_dead_letters(world: World) -> None:
    topic = await world.topic()
    await world.queue("dead")
    attribute = {"DataType": "Number", "StringValue": "1"}
    for raw in ("true", "false"):
        await world.subscribe(
            topic, "sqs", queue_arn(f"gone-{raw}"), RedrivePolicy=dead_letters(), RawMessageDelivery=raw
        )
    published = await world.sns("Publish", TopicArn=topic, Message="m", MessageAttributes={"a": attribute})
    first, second = sorted(await world.received("dead", 2), key=lambda message: len(message["Body"]))
    assert (first["Body"], first["MessageAttributes"]) == ("m", {"a": attribute})
    body = json.loads(second["Body"])
    assert (body["Type"], body["MessageId"], body["Message"]) == ("Notification", published["MessageId"], "m")
    await world.idle()


async def test_without_dead_letters_it_is_gone(world: World) -> None:
    topic = await world.topic()
    await world.subscribe(topic, "sqs", queue_arn("gone"))
    await world.sns("Publish", TopicArn=topic, Message="m")
    await world.idle()


async def test_dead_letters_wait_for_their_queue(world: World) -> None:
    topic = await world.topic()
    await world.subscribe(topic, "sqs", queue_arn("gone"), RedrivePolicy=dead_letters())
    await world.sns("Publish", TopicArn=topic, Message="m")
    await world.until(lambda: any(lane.startswith("dead ") for lane in world.deliverer._alarms))
    await world.end()
    await world.begin()
    await world.queue("dead")
    world.clock.advance(30)
    assert (await world.bodies("dead"))[0]["Message"] == "m"
    await world.idle()


async def test_one_queue_that_is_down_delays_no_other(world: World) -> None:
    topic = await world.topic()
    await world.subscribe(topic, "sqs", await world.queue("a"))
    await world.sns("Publish", TopicArn=topic, Message="first")
    await world.bodies("a")
    await world.idle()
    world.failures = [DOWN] * 4
    await world.sns("Publish", TopicArn=topic, Message="m")
    await waiting(world, topic)
    await world.subscribe(topic, "sqs", await world.queue("b"))
    await world.sns("Publish", TopicArn=topic, Message="n")
    assert (await world.bodies("b"))[0]["Message"] == "n"


async def test_order_is_kept_while_a_queue_is_down(world: World) -> None:
    topic = await world.topic("t.fifo", ContentBasedDeduplication="true")
    await world.subscribe(topic, "sqs", await world.queue("q.fifo"), RawMessageDelivery="true")
    world.failures = [DOWN] * 4
    entries = [{"Id": str(n), "Message": str(n), "MessageGroupId": "g"} for n in range(5)]
    await world.sns("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=entries)
    await waiting(world, topic)
    await world.sns("Publish", TopicArn=topic, Message="5", MessageGroupId="g")
    world.clock.advance(1.1)
    assert [m["Body"] for m in await world.received("q.fifo", 6)] == [str(n) for n in range(6)]


async def test_what_is_owed_ends_with_the_subscription(world: World) -> None:
    topic = await world.topic()
    arn = await world.subscribe(topic, "sqs", await world.queue())
    world.failures = [DOWN] * 4
    await world.sns("Publish", TopicArn=topic, Message="m")
    await waiting(world, topic)
    await world.sns("Unsubscribe", SubscriptionArn=arn)
    world.clock.advance(1.1)
    await world.idle()
    assert (await world.queues.counts(world.queues.queues_of(ACCOUNT, "eu-west-1")[0])).visible == 0


async def test_a_restart_goes_on_with_what_was_accepted(world: World) -> None:
    topic = await world.topic()
    await world.subscribe(topic, "sqs", await world.queue(), RawMessageDelivery="true")
    world.failures = [DOWN] * 4
    await world.sns("Publish", TopicArn=topic, Message="m")
    await waiting(world, topic)
    await world.end()
    world.clock.advance(1.1)
    await world.begin()
    assert [m["Body"] for m in await world.received()] == ["m"]
    await world.idle()


@pytest.mark.parametrize("suffix", ["", ".fifo"])
async def test_a_message_that_a_queue_may_not_have_harms_no_other(world: World, suffix: str) -> None:
    topic = await world.topic(f"t{suffix}")
    await world.queue(f"dead{suffix}")
    arn = await world.queue(f"q{suffix}", MaximumMessageSize="1024")
    await world.subscribe(
        topic, "sqs", arn, RawMessageDelivery="true", RedrivePolicy=dead_letters(f"dead{suffix}")
    )  # fmt: skip
    messages = ["b", "a" * 2000, "c"]
    ordered = {"MessageGroupId": "g"} if suffix else {}
    entries = [
        {"Id": str(n), "Message": text, **ordered, **({"MessageDeduplicationId": str(n)} if suffix else {})}
        for n, text in enumerate(messages)
    ]
    await world.sns("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=entries)
    assert [m["Body"] for m in await world.received(f"q{suffix}", 2)] == ["b", "c"]
    assert [m["Body"] for m in await world.received(f"dead{suffix}")] == ["a" * 2000]


async def test_a_full_disk_refuses_new_messages_and_loses_no_old_one(world: World) -> None:
    topic = await world.topic()
    await world.subscribe(topic, "sqs", await world.queue(), RawMessageDelivery="true")
    world.failures = [DOWN] * 4
    await world.sns("Publish", TopicArn=topic, Message="old")
    await waiting(world, topic)
    pages = await world.topics._database.write(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await world.topics._database.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    code, _ = await world.refused("Publish", TopicArn=topic, Message="x" * 200_000)
    assert code == "InternalErrorException"
    await world.topics._database.write(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone())
    await world.sns("Publish", TopicArn=topic, Message="new")
    world.clock.advance(1.1)
    assert {m["Body"] for m in await world.received(count=2)} == {"old", "new"}


async def test_what_was_taken_is_not_sent_again_while_the_disk_is_full(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch, TopicStore, "settle")
    topic = await world.topic()
    await world.subscribe(topic, "sqs", await world.queue(), RawMessageDelivery="true")
    for text in ("a", "b"):
        await world.sns("Publish", TopicArn=topic, Message=text)
        assert [m["Body"] for m in await world.received()] == [text]
    assert disk.refused == 3


async def test_a_clock_that_is_set_back_delays_no_retry(world: World) -> None:
    topic = await world.topic()
    await world.subscribe(topic, "sqs", await world.queue(), RawMessageDelivery="true")
    world.failures = [DOWN] * 4
    await world.sns("Publish", TopicArn=topic, Message="m")
    await waiting(world, topic)
    world.clock.behind_s = 86_400
    world.clock.advance(1.1)
    assert [m["Body"] for m in await world.received()] == ["m"]


async def test_a_clock_that_was_set_back_before_the_server_started_delays_no_retry(world: World) -> None:
    topic = await world.topic()
    await world.subscribe(topic, "sqs", await world.queue(), RawMessageDelivery="true")
    world.failures = [DOWN] * 4
    await world.sns("Publish", TopicArn=topic, Message="m")
    await waiting(world, topic)
    await world.end()
    world.clock.behind_s = 86_400
    await world.begin()
    world.clock.advance(1.1)
    assert [m["Body"] for m in await world.received()] == ["m"]


async def test_a_clock_that_was_set_back_before_the_server_started_remembers_no_message_longer(world: World) -> None:
    topic = await world.topic("t.fifo")
    await world.subscribe(topic, "sqs", await world.queue("q.fifo"), RawMessageDelivery="true")
    members = {"TopicArn": topic, "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    await world.sns("Publish", Message="first", **members)
    assert [m["Body"] for m in await world.received("q.fifo")] == ["first"]
    await world.end()
    world.clock.behind_s = 86_400
    await world.begin()
    world.clock.advance(300)
    await world.sns("Publish", Message="second", **members)
    assert [m["Body"] for m in await world.received("q.fifo")] == ["second"]


# --- functions


async def test_a_function_that_is_gone_leaves_dead_letters(world: World) -> None:
    topic = await world.topic()
    await world.queue("dead")
    await world.subscribe(topic, "lambda", function_arn("f"), RedrivePolicy=dead_letters())
    attribute = {"DataType": "Number", "StringValue": "1"}
    await world.sns("Publish", TopicArn=topic, Message="m", MessageAttributes={"attr1": attribute})
    (body,) = await world.bodies("dead")
    assert (body["Message"], body["MessageAttributes"]) == ("m", {"attr1": {"Type": "Number", "Value": "1"}})
    assert "UnsubscribeURL" in body
    assert world.invocations == []


# --- web servers


async def test_a_web_server_is_asked_as_its_delivery_policy_says(world: World) -> None:
    web = Endpoint(statuses=[200, 500, 503, 429])
    await web.begin()
    topic = await world.topic()
    retry = {"numRetries": 3, "numNoDelayRetries": 1, "minDelayTarget": 5, "maxDelayTarget": 5}
    policy = {"healthyRetryPolicy": retry, "requestPolicy": {"headerContentType": "text/csv"}}
    await subscribe_web(world, web, topic, DeliveryPolicy=json.dumps(policy), RawMessageDelivery="true")
    await world.sns("Publish", TopicArn=topic, Message="a,b")
    await waiting(world, topic, 2)
    world.clock.advance(4.9)
    assert len(web.requests) == 2
    world.clock.advance(0.2)
    await waiting(world, topic, 3)
    world.clock.advance(5.1)
    await world.idle()
    assert len(web.requests) == 4
    headers, body = web.requests[-1]
    assert (headers["content-type"], headers["x-amz-sns-rawdelivery"], body) == ("text/csv", "true", b"a,b")
    assert headers["x-amz-sns-subscription-arn"].startswith(topic)
    await web.end()


async def subscribe_web(world: World, web: Endpoint, topic: str, **attributes: str) -> None:
    arn = await world.subscribe(topic, "http", web.url, **attributes)
    await world.idle()
    web.requests.clear()
    token = next(s.token for s in world.topics.subscriptions_to(topic) if s.arn == arn)
    await world.sns("ConfirmSubscription", TopicArn=topic, Token=token)


@pytest.mark.parametrize("statuses", [[500] * 4, [404], [301]])
async def test_a_web_server_that_does_not_take_it_leaves_dead_letters(world: World, statuses: list[int]) -> None:
    web = Endpoint()
    await web.begin()
    await world.queue("dead")
    topic = await world.topic()
    await subscribe_web(world, web, topic, RedrivePolicy=dead_letters())
    web.statuses = list(statuses)
    await world.sns("Publish", TopicArn=topic, Message="m")
    for tries in range(1, len(statuses)):
        await waiting(world, topic, tries)
        world.clock.advance(20.1)
    assert (await world.bodies("dead"))[0]["Message"] == "m"
    assert len(web.requests) == len(statuses)
    await web.end()


async def test_a_web_server_that_is_not_there_is_tried_again(world: World) -> None:
    web = Endpoint()
    await web.begin()
    topic = await world.topic()
    await subscribe_web(world, web, topic)
    await web.end()
    await world.sns("Publish", TopicArn=topic, Message="m")
    await waiting(world, topic, 1)


async def test_a_clouds_metadata_is_no_web_server(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    web = Endpoint()
    await web.begin()
    await world.queue("dead")
    topic = await world.topic()
    await subscribe_web(world, web, topic, RedrivePolicy=dead_letters())
    monkeypatch.setattr(http_endpoint, "is_metadata", lambda text: text == "127.0.0.1")
    await world.sns("Publish", TopicArn=topic, Message="m")
    assert (await world.bodies("dead"))[0]["Message"] == "m"
    assert web.requests == []
    await web.end()


# --- who may be sent to


@attrs.frozen
class Grants:
    queue: str | None = None
    function: bool = False

    def may_send(self, foreign_only: bool = False) -> MaySend:
        def allow(service: str, action: str, function: FunctionAddress, values: Mapping[str, str]) -> None:
            assert (service, action) == ("sns.amazonaws.com", "lambda:InvokeFunction")
            assert values["aws:SourceAccount"] == ACCOUNT
            if not self.function:
                raise AwsError("AccessDeniedException", "no", 403)

        return MaySend(lambda arn: self.queue, allow, foreign_only)


def let_in(topic: str) -> str:
    statement = {
        "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": "*",
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }  # fmt: skip
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.mark.parametrize(("allowed", "foreign_only"), [(True, False), (False, False), (False, True)])
async def test_where_policies_decide_endpoints_must_let_the_topic_in(
    world: World, allowed: bool, foreign_only: bool
) -> None:
    topic = await world.topic()
    await world.end()
    grants = Grants(let_in(topic if allowed else f"{topic}x"), allowed)
    await world.begin(grants.may_send(foreign_only))
    world.functions.add("f")
    await world.queue()
    await world.subscribe(topic, "sqs", queue_arn("q"))
    await world.subscribe(topic, "lambda", function_arn("f"))
    await world.sns("Publish", TopicArn=topic, Message="m")
    await world.idle()
    is_taken = allowed or foreign_only
    assert len(world.invocations) == is_taken
    assert (await world.queues.counts(world.queues.queues_of(ACCOUNT, "eu-west-1")[0])).visible == is_taken


# --- the calendar


def test_the_calendars_are_awss() -> None:
    managed = [MANAGED.delay_s(retry) for retry in range(1, 16)]
    assert managed[:6] == [0, 0, 0, 1, 1, 1]
    assert (managed[14], MANAGED.delay_s(100_015), MANAGED.delay_s(100_016)) == (20, 20, None)
    mail = [MAIL.delay_s(retry) for retry in range(1, 52)]
    assert (mail[:3], mail[11], mail[49], mail[50]) == ([10, 10, 10], 600, 600, None)


@given(
    st.builds(
        Phases,
        at_once=st.integers(0, 5), with_least=st.integers(0, 5), growing=st.integers(0, 20), with_longest=st.integers(0, 5),
        least_s=st.integers(1, 50), longest_s=st.integers(50, 600),
        function=st.sampled_from(["linear", "arithmetic", "geometric", "exponential"]),
    )
)  # fmt: skip
def test_delays_never_shrink_and_end_when_they_should(phases: Phases) -> None:
    total = phases.at_once + phases.with_least + phases.growing + phases.with_longest
    delays = [phases.delay_s(retry) for retry in range(1, total + 1)]
    assert phases.delay_s(total + 1) is None
    known = [delay for delay in delays if delay is not None]
    assert len(known) == total
    assert known == sorted(known)
    assert all(delay == 0 or phases.least_s <= delay <= phases.longest_s * 1.000001 for delay in known)


async def test_many_messages_while_everything_fails_now_and_then(world: World) -> None:
    """Nothing that was accepted is lost, and restarts lose nothing either."""
    topic = await world.topic()
    await world.subscribe(topic, "sqs", await world.queue("a"), RawMessageDelivery="true")
    await world.subscribe(topic, "sqs", await world.queue("b"), RawMessageDelivery="true")
    for n in range(60):
        if n % 7 == 0:
            world.failures.append(DOWN)
        if n % 20 == 19:
            await world.end()
            await world.begin()
        await world.sns("Publish", TopicArn=topic, Message=str(n))
    world.failures.clear()
    world.clock.advance(60)
    for name in "ab":
        found: set[str] = set()
        while len(found) < 60:
            found |= {m["Body"] for m in await world.received(name)}
        assert found == {str(n) for n in range(60)}
