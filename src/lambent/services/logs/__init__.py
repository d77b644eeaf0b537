"""CloudWatch Logs: `LogsService` over `store.logs`."""

from lambent.services.logs.operations import LogsService

__all__ = ["LogsService"]
