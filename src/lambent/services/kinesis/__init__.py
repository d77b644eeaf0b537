"""Kinesis Data Streams: `KinesisService` over `store.streams`."""

from lambent.services.kinesis.direct import DirectStream
from lambent.services.kinesis.operations import KinesisService

__all__ = ["DirectStream", "KinesisService"]
