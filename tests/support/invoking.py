"""What stands at the end of the road in tests that are about something else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lambent.model.errors import AwsError
from lambent.model.invocation import Invocation, Outcome


class Invoking:
    """A `ports.Invoke` from its one coroutine, which a test writes."""

    async def invoke(self, invocation: Invocation) -> Outcome:
        raise NotImplementedError

    def start(self, invocation: Invocation, done: Callable[[Outcome | AwsError], None]) -> None:
        task = asyncio.get_running_loop().create_task(self.invoke(invocation))

        def ended(task: asyncio.Task[Outcome]) -> None:
            error = task.exception()
            done(error if isinstance(error, AwsError) else task.result())

        task.add_done_callback(ended)


class NoRoad(Invoking):
    """For servers on which nothing is invoked."""

    async def invoke(self, invocation: Invocation) -> Outcome:
        raise AssertionError("nothing is invoked here")
