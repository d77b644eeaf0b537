"""Environment variables at rest: sealed with the service's own key, or with a data key of the customer's KMS key.

A data key is asked of KMS for each sealing, kept encrypted beside what it sealed, and decrypted by KMS when somebody
looks. What KMS said is remembered for a few seconds, so that a rush of cold starts asks once.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from typing import Any, Final

import attrs

from lambent.model.errors import AwsError, invalid_parameter
from lambent.model.function import FunctionVersion
from lambent.model.request import RequestContext
from lambent.model.sealing import SERVICE_KEY, SealedEnvironment, SealError, open_sealed, seal
from lambent.ports import Catalog, Clients, Clock

REMEMBERED_S: Final = 5.0  # ours: how long a key may still be used after KMS took it away
REMEMBERED_KEYS: Final = 1_024

# What is wrong with a key, by KMS's error: (Lambda's error when decrypting, the words for it).
# https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html, Errors: all are 502.
_UNUSABLE: Final[Mapping[str, tuple[str, str]]] = {
    "NotFoundException": ("KMSNotFoundException", "the KMS key was not found"),
    "DisabledException": ("KMSDisabledException", "the KMS key used is disabled"),
    "KMSInvalidStateException": ("KMSInvalidStateException", "the KMS key is in an invalid state for Decrypt"),
}
_DENIED: Final = ("KMSAccessDeniedException", "KMS access was denied")
_STATE_ERRORS: Final[Mapping[str, tuple[str, str]]] = {  # KeyState → what KMS answers to whoever uses such a key
    "Disabled": ("DisabledException", "{} is disabled."),
    "PendingDeletion": ("KMSInvalidStateException", "{} is pending deletion."),
    "PendingImport": ("KMSInvalidStateException", "{} is pending import."),
    "Unavailable": ("KMSInvalidStateException", "{} is unavailable."),
}


class Vault:
    """`clients` reaches KMS; without it a customer's key is refused as one that nobody can be asked about."""

    def __init__(self, catalog: Catalog, clock: Clock, clients: Clients | None) -> None:
        self._catalog = catalog
        self._clock = clock
        self._clients = clients
        self._service_key: bytes | None = None
        self._remembered: dict[str, tuple[float, bytes]] = {}  # by wrapped key: until when (monotonic), the data key

    async def seal(
        self, context: RequestContext, arn: str, variables: Mapping[str, str], kms_key_arn: str | None
    ) -> SealedEnvironment:
        """The variables of the function `arn` (unqualified), encrypted. For none of them no customer's key is asked.

        Raises AwsError InvalidParameterValueException for a key that may not be used.
        """
        service_key = await self._own_key()
        if kms_key_arn is None or not variables:
            return seal(variables, arn, service_key, service_key)
        try:
            answer = await self._kms(
                context, "GenerateDataKey", kms_key_arn, {"KeySpec": "AES_256", "EncryptionContext": _context(arn)}
            )
        except AwsError as error:
            raise _not_configured(error) from error
        wrapped_key = base64.b64encode(answer["CiphertextBlob"]).decode()
        self._remember(wrapped_key, answer["Plaintext"])
        return attrs.evolve(seal(variables, arn, answer["Plaintext"], service_key), wrapped_key=wrapped_key)

    async def opened(self, context: RequestContext, version: FunctionVersion) -> dict[str, str]:
        """The variables of a version.

        Raises AwsError (502): KMSAccessDeniedException, KMSDisabledException, KMSNotFoundException,
        KMSInvalidStateException; ServiceException for what cannot be decrypted.
        """
        sealed = version.sealed
        if sealed is None:
            return {}
        if sealed.wrapped_key is None:
            key = await self._own_key()
        else:
            key = await self._data_key(context, version, sealed.wrapped_key)
        try:
            return open_sealed(sealed, version.arn, key)
        except SealError as error:
            raise AwsError("ServiceException", str(error), 500, {"Type": "Service"}) from error

    async def for_environment(self, version: FunctionVersion) -> dict[str, str]:
        """The same for an execution environment that starts. Raises as `opened` does."""
        if version.sealed is None:
            return {}
        context = RequestContext(
            account_id=version.account_id, region=version.region, request_id=str(uuid.uuid4()), base_url=""
        )
        return await self.opened(context, version)

    async def described(self, context: RequestContext, version: FunctionVersion) -> dict[str, Any] | None:
        """The member `Environment` of a function's description: the variables, or why they cannot be read."""
        if version.sealed is None:
            return None
        try:
            return {"Variables": await self.opened(context, version)}
        except AwsError as error:
            return {"Error": {"ErrorCode": error.code, "Message": error.message}}

    async def _own_key(self) -> bytes:
        if self._service_key is None:
            self._service_key = await self._catalog.secret(SERVICE_KEY)
        return self._service_key

    async def _data_key(self, context: RequestContext, version: FunctionVersion, wrapped_key: str) -> bytes:
        until_s, known = self._remembered.get(wrapped_key, (0.0, b""))
        if until_s > self._clock.monotonic():
            return known
        request = {"CiphertextBlob": base64.b64decode(wrapped_key), "EncryptionContext": _context(version.arn)}
        try:
            answer = await self._kms(context, "Decrypt", version.extra.get("KMSKeyArn"), request)
        except AwsError as error:
            self._remembered.pop(wrapped_key, None)
            raise _not_decrypted(error) from error
        return self._remember(wrapped_key, answer["Plaintext"])

    def _remember(self, wrapped_key: str, key: bytes) -> bytes:
        now_s = self._clock.monotonic()
        if len(self._remembered) >= REMEMBERED_KEYS:
            self._remembered = {wrapped: held for wrapped, held in self._remembered.items() if held[0] > now_s}
        self._remembered[wrapped_key] = (now_s + REMEMBERED_S, key)
        return key

    async def _kms(
        self, context: RequestContext, operation: str, key_arn: str | None, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        """One operation with a key, after a look at the key's state: not every KMS looks at that itself."""
        if self._clients is None:
            raise AwsError("AccessDeniedException", "There is no KMS on this server.", 400)
        named = {} if key_arn is None else {"KeyId": key_arn}
        if key_arn is not None:
            try:
                described = await self._clients.call(context, "kms", "DescribeKey", named)
            except AwsError as error:
                if error.code != "AccessDeniedException":  # who may use a key need not be allowed to describe it
                    raise
            else:
                metadata = described["KeyMetadata"]
                if (found := _STATE_ERRORS.get(metadata.get("KeyState", "Enabled"))) is not None:
                    raise AwsError(found[0], found[1].format(metadata.get("Arn", key_arn)), 400)
        return await self._clients.call(context, "kms", operation, {**named, **request})


def _context(arn: str) -> dict[str, str]:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars-encryption.html, the encryption context."""
    return {"aws:lambda:FunctionArn": arn}


def _said(error: AwsError) -> str:
    return f"KMS Exception: {error.code} KMS Message: {error.message}"


def _not_decrypted(error: AwsError) -> AwsError:
    if error.is_server_fault:
        return error
    code, reason = _UNUSABLE.get(error.code, _DENIED)
    return AwsError(
        code,
        f"Lambda was unable to decrypt the environment variables because {reason}. "
        f"Please check the function's KMS key settings. {_said(error)}",
        502,
        {"Type": "Service"},
    )


def _not_configured(error: AwsError) -> AwsError:
    if error.is_server_fault:
        return error
    reason = (
        "the KMS key used is disabled"
        if error.code == "DisabledException"
        else "the KMS key is invalid for CreateGrant"
    )
    return invalid_parameter(
        f"Lambda was unable to configure access to your environment variables because {reason}. "
        f"Please check your KMS key settings. {_said(error)}"
    )
