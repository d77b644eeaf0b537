"""What topics tell of themselves, by CloudWatch's names. https://docs.aws.amazon.com/sns/latest/dg/sns-monitoring-using-cloudwatch.html"""

from __future__ import annotations

from lambent.model.metrics import Series
from lambent.ports import Telemetry


class TopicFigures:
    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def published(self, topic_arn: str, size_bytes: int, filtered_out: int) -> None:
        self.count(topic_arn, "NumberOfMessagesPublished", 1)
        self._telemetry.observe(_series(topic_arn, "PublishSize", "Bytes"), size_bytes)
        self.count(topic_arn, "NumberOfNotificationsFilteredOut", filtered_out)

    def count(self, topic_arn: str, name: str, times: int) -> None:
        if times:
            self._telemetry.observe(_series(topic_arn, name), 1.0, times)


def _series(topic_arn: str, name: str, unit: str = "Count") -> Series:
    _, _, _, region, account_id, topic = topic_arn.split(":", 5)
    return Series(account_id, region, "AWS/SNS", name, (("TopicName", topic),), unit)
