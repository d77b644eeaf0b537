"""Application Auto Scaling: provisioned concurrency that follows load and the clock."""

from lambent.services.autoscaling.service import AutoScalingService

__all__ = ["AutoScalingService"]
