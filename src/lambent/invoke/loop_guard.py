"""Functions that call each other, or themselves, and wait: the chain is counted, and stopped when it is a loop.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
"""

from __future__ import annotations

import msgspec

from lambent.invoke.run import Done
from lambent.model import lineage
from lambent.model.errors import AwsError, recursive_invocation
from lambent.model.invocation import Invocation, Outcome
from lambent.model.names import FunctionAddress
from lambent.ports import CatalogView, Invoke, Telemetry


class LoopGuard:
    """Implements `ports.Invoke` before another one, for callers who wait. Requests without a trace pass as they are."""

    def __init__(self, invoke: Invoke, catalog: CatalogView, telemetry: Telemetry) -> None:
        self._invoke = invoke
        self._start = invoke.start
        self._catalog = catalog
        self._telemetry = telemetry

    async def invoke(self, invocation: Invocation) -> Outcome:
        """See `ports.Invoke`. Raises AwsError RecursiveInvocationException too."""
        if invocation.trace_header is not None:
            invocation = self._counted(invocation)
        return await self._invoke.invoke(invocation)

    def start(self, invocation: Invocation, done: Done) -> None:
        """See `ports.Invoke`."""
        if invocation.trace_header is not None:
            try:
                invocation = self._counted(invocation)
            except AwsError as error:
                done(error)
                return
        self._start(invocation, done)

    def _counted(self, invocation: Invocation) -> Invocation:
        """Raises AwsError RecursiveInvocationException."""
        header = lineage.readable(invocation.trace_header)
        address = FunctionAddress(
            invocation.account_id, invocation.region, invocation.function_name, invocation.qualifier
        )
        if lineage.is_stopped(header, address.arn, self._catalog.settings(address)):
            self._telemetry.of_function(address, "RecursiveInvocationsDropped")
            raise recursive_invocation()
        return msgspec.structs.replace(invocation, trace_header=lineage.advanced(header, address.arn))
