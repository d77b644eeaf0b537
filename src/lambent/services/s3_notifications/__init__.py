"""S3's notifications: buckets are a neighbour's, what is told of their objects is Lambent's own and durable."""

from lambent.services.s3_notifications.notifications import S3Notifications

__all__ = ["S3Notifications"]
