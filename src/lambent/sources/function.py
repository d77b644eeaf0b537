"""A mapping's function, as its poller meets it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

import attrs

from lambent.model import lineage
from lambent.model.errors import AwsError, payload_too_large
from lambent.model.invocation import Invocation, Outcome
from lambent.model.limits import SYNC_PAYLOAD_MAX_BYTES
from lambent.model.names import FunctionAddress, parse_function_ref
from lambent.ports import Catalog, Invoke


@attrs.frozen(eq=False)
class MappedFunction:
    address: FunctionAddress
    invoke: Invoke
    resolver: Catalog

    @classmethod
    def of(
        cls, account_id: str, region: str, mapping: Mapping[str, Any], invoke: Invoke, resolver: Catalog
    ) -> MappedFunction:
        """`account_id` and `region` are the mapping's."""
        ref = parse_function_ref(mapping["FunctionArn"])
        address = FunctionAddress(ref.account_id or account_id, ref.region or region, ref.name, ref.qualifier)
        return cls(address, invoke, resolver)

    def exists(self) -> bool:
        """Whether there is anything to send records to. Reads memory."""
        address = self.address
        try:
            self.resolver.resolve(address.account_id, address.region, address.name, address.qualifier, 0.0)
        except AwsError:
            return False
        return True

    def role_arn(self) -> str:
        """Of the version that answers; empty while there is none."""
        address = self.address
        try:
            found = self.resolver.resolve(address.account_id, address.region, address.name, address.qualifier, 0.0)
        except AwsError:
            return ""
        return found.role

    def is_stopped(self, trace_header: str | None) -> bool:
        """Whether it has run so often in this chain that it does not run again. Reads memory."""
        return lineage.is_stopped(trace_header, self.address.arn, self.resolver.settings(self.address))

    async def call(self, payload: bytes, trace_header: str | None = None, request_id: str | None = None) -> Outcome:
        """Runs it once, as one more invocation of the chain.

        Raises AwsError as `ports.Invoke` does, and for a payload that no invocation may have.
        """
        if len(payload) > SYNC_PAYLOAD_MAX_BYTES:
            raise payload_too_large()
        counted = lineage.advanced(trace_header or lineage.new_trace(time.time()), self.address.arn)
        return await self.invoke.invoke(self.invocation(payload, counted, request_id))

    def invocation(self, payload: bytes, trace_header: str | None, request_id: str | None = None) -> Invocation:
        address = self.address
        return Invocation(
            request_id=request_id or str(uuid.uuid4()),
            account_id=address.account_id,
            region=address.region,
            function_name=address.name,
            qualifier=address.qualifier,
            payload=payload,
            trace_header=trace_header,
        )


def may_pass(error: AwsError) -> bool:
    """Whether an invocation that did not run may run later: throttles, functions that are not ready, faults of ours."""
    return error.status in (409, 429) or error.is_server_fault
