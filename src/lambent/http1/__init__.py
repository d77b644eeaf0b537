"""HTTP/1.1 on a raw asyncio protocol: the one server under the front door and under each environment's Runtime API."""
