"""Asynchronous invocations leaving the durable queue; destinations and dead letters. `Dispatcher` is the way in."""
