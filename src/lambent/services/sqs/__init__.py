"""SQS: `SqsService` over `store.queues`."""

from lambent.services.sqs.operations import SqsService

__all__ = ["SqsService"]
