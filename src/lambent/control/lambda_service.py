"""Lambda's control plane as one service. Operations that are absent here are answered as not built by the gateway."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lambent.control.account import AccountOperations
from lambent.control.aliases import AliasOperations
from lambent.control.capacity import CapacityOperations
from lambent.control.code_signing import CodeSigningOperations
from lambent.control.concurrency import ConcurrencyOperations
from lambent.control.durable import DurableOperations
from lambent.control.event_invoke_configs import EventInvokeConfigOperations
from lambent.control.event_source_mappings import EventSourceMappingOperations
from lambent.control.functions import FunctionOperations
from lambent.control.layer_permissions import LayerPermissionOperations
from lambent.control.layers import LayerOperations
from lambent.control.outside import Outside, TrustOf
from lambent.control.packages import Packages
from lambent.control.permissions import PermissionOperations
from lambent.control.provisioned import ProvisionedConcurrencyOperations
from lambent.control.recursion import RecursionOperations
from lambent.control.role_rights import RoleRights
from lambent.control.runtime_management import RuntimeManagementOperations
from lambent.control.tags import TagOperations
from lambent.control.tools import Tools
from lambent.control.urls import UrlOperations
from lambent.control.vault import Vault
from lambent.control.versions import VersionOperations
from lambent.model.function import FunctionVersion
from lambent.model.limits import ACCOUNT_CONCURRENCY, CODE_STORAGE_MAX_BYTES
from lambent.ports import Blobs, Catalog, Clients, Clock, Operation, Provisioning


class LambdaService:
    """Implements ports.Service.

    `clients` reaches the other services: code in S3, roles, keys, networks, images. Without it code comes inline only, and
    names of other services' resources are taken as they are. `role_check` is the setting of that name, with
    `roles_must_exist` for what `auto` means; `trust_of` looks into IAM without a request. `code_storage_max_bytes` and
    `account_concurrency` are quotas of an account in a region. `provisioning` keeps environments ready; without it provisioned concurrency fails.
    `has_image` says whether a version's SnapStart is on; without it it never is.
    `role_rights` is given where policies decide: then roles must be able to read the sources of mappings, and to reach
    dead-letter targets, destinations and networks.
    """

    name = "lambda"

    def __init__(
        self,
        catalog: Catalog,
        blobs: Blobs,
        clock: Clock,
        clients: Clients | None = None,
        *,
        role_check: str = "auto",
        roles_must_exist: bool = False,
        trust_of: TrustOf | None = None,
        code_storage_max_bytes: int = CODE_STORAGE_MAX_BYTES,
        account_concurrency: int = ACCOUNT_CONCURRENCY,
        provisioning: Provisioning | None = None,
        has_image: Callable[[FunctionVersion], bool] | None = None,
        role_rights: RoleRights | None = None,
    ) -> None:
        outside = Outside(clients, role_check, roles_must_exist, trust_of)
        self._packages = Packages(catalog, blobs, clock, None if clients is None else outside.object)
        self.vault = Vault(catalog, clock, clients)
        tools = Tools(
            catalog, self._packages, clock, self.vault, outside, code_storage_max_bytes, role_rights, has_image
        )
        families = (
            FunctionOperations(tools),
            VersionOperations(tools),
            AliasOperations(tools),
            LayerOperations(tools),
            TagOperations(tools),
            PermissionOperations(tools),
            LayerPermissionOperations(tools),
            UrlOperations(tools),
            CodeSigningOperations(tools),
            RecursionOperations(tools),
            RuntimeManagementOperations(tools),
            CapacityOperations(tools),
            AccountOperations(tools, account_concurrency),
            ConcurrencyOperations(catalog, account_concurrency),
            ProvisionedConcurrencyOperations(catalog, clock, account_concurrency, provisioning),
            DurableOperations(tools),
            EventSourceMappingOperations(catalog, clock, clients, role_rights),
            EventInvokeConfigOperations(catalog, clock, role_rights),
        )
        self.operations: Mapping[str, Operation] = {
            name: operation for family in families for name, operation in family.operations.items()
        }

    async def download(self, token: str) -> bytes:
        """The package behind `/_lambent/code/{token}`. Raises AwsError AccessDenied (403)."""
        return await self._packages.download(token)
