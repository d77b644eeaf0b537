"""PublishVersion and ListVersionsByFunction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lambent.control.checks import check_can_change, check_code_storage, check_revision, refuse_what_is_not_offered
from lambent.control.paging import page
from lambent.control.tools import BEING_CREATED, Tools, located, located_unqualified, need_latest, new_revision
from lambent.model.errors import invalid_parameter
from lambent.model.function import FunctionVersion, State, UpdateStatus
from lambent.model.names import FunctionAddress, is_version
from lambent.model.request import RequestContext
from lambent.ports import CatalogTransaction, Operation


class VersionOperations:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.operations: Mapping[str, Operation] = {
            "PublishVersion": self.publish_version,
            "ListVersionsByFunction": self.list_versions_by_function,
        }

    async def publish_version(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "PublishVersion")
        refuse_what_is_not_offered(request)

        def work(tx: CatalogTransaction) -> FunctionVersion:
            latest = need_latest(tx, address)
            check_revision(request.get("RevisionId"), latest.revision_id)
            code_sha256 = request.get("CodeSha256")
            if code_sha256 and code_sha256 != latest.code_sha256:
                raise invalid_parameter(
                    f"CodeSHA256 ({code_sha256}) is different from current CodeSHA256 in $LATEST "
                    f"({latest.code_sha256}). Please try again with the CodeSHA256 in $LATEST."
                )
            check_can_change(latest)
            return publish(tx, latest, request.get("Description"), self._tools.code_storage_max_bytes)

        return await self._tools.configuration(context, await self._tools.catalog.transact(work))

    async def list_versions_by_function(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "ListVersionsByFunction")
        latest = need_latest(self._tools.catalog, attrs.evolve(address, qualifier=None))
        everything = [latest, *self._tools.catalog.versions(address)]
        shown, more = page(everything, _number, request)
        return {"Versions": [await self._tools.listed(context, v, v.qualified_arn) for v in shown], **more}


def _number(version: FunctionVersion) -> int:
    return int(version.version) if is_version(version.version) else 0


def publish(
    tx: CatalogTransaction, latest: FunctionVersion, description: str | None, code_storage_max_bytes: int
) -> FunctionVersion:
    """The new version of `latest`, or the last one where nothing has changed since.

    A version of what is not ready yet is made ready along with it. Raises AwsError CodeStorageExceededException.
    """
    address = FunctionAddress(latest.account_id, latest.region, latest.name)
    before = tx.versions(address)
    if before and before[-1].config_sha256 == latest.config_sha256:
        return before[-1]
    check_code_storage(tx, address.account_id, address.region, latest.code_size_bytes, code_storage_max_bytes)
    changes: dict[str, Any] = {"version": str(tx.next_version(address)), "revision_id": new_revision()}
    if description is not None:
        changes["description"] = description
    if latest.last_update_status is UpdateStatus.IN_PROGRESS:
        changes |= {
            "state": State.PENDING,
            "state_reason": latest.last_update_status_reason,
            "state_reason_code": latest.last_update_status_reason_code,
            "last_update_status": UpdateStatus.SUCCESSFUL,
            "last_update_status_reason": None,
            "last_update_status_reason_code": None,
        }
    published = attrs.evolve(latest, **changes)
    if published.snap_starts and published.state is State.ACTIVE:
        published = attrs.evolve(
            published, state=State.PENDING, state_reason=BEING_CREATED, state_reason_code="Creating"
        )
    tx.put_version(published)
    # Publishing changes $LATEST's revision, too.
    tx.put_latest(attrs.evolve(latest, revision_id=new_revision()), serving=tx.serving(address))
    return published
