"""EventBridge Scheduler: groups and schedules, which call their targets at their times."""

from lambent.services.scheduler.service import SchedulerService

__all__ = ["SchedulerService"]
