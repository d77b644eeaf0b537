"""Environment variables as they are kept: encrypted, and never readable on the disk.

AES-256 in Galois/Counter Mode, with a nonce of its own for every sealing, bound to the function's ARN: what was sealed
for one function cannot be opened as another's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import Final

import attrs
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lambent.model.errors import LambentError

KEY_BYTES: Final = 32  # AES-256
SERVICE_KEY: Final = "environment-variables"  # the secret's name in the catalog
_NONCE_BYTES: Final = 12  # NIST SP 800-38D, 8.2: the length that the mode is made for
_DIGEST_CONTEXT: Final = b"environment digest:"


class SealError(LambentError):
    """What was sealed cannot be opened with this key, or for this function."""


@attrs.frozen(kw_only=True)
class SealedEnvironment:
    ciphertext: str  # Base64: the nonce, then the encrypted JSON of the variables
    digest: str  # hex; equal for equal variables of one function. Keyed, so that nobody can guess variables from it
    wrapped_key: str | None = (
        None  # Base64: the data key as the customer's KMS key encrypted it; None: the service's own
    )


def seal(variables: Mapping[str, str], arn: str, key: bytes, service_key: bytes) -> SealedEnvironment:
    """`key` encrypts; `service_key` makes the digest, whichever key encrypts."""
    plain = msgspec.json.encode(dict(variables), order="deterministic")
    nonce = os.urandom(_NONCE_BYTES)
    ciphertext = nonce + AESGCM(key).encrypt(nonce, plain, arn.encode())
    digest = hmac.new(service_key, _DIGEST_CONTEXT + arn.encode() + b"\0" + plain, hashlib.sha256).hexdigest()
    return SealedEnvironment(ciphertext=base64.b64encode(ciphertext).decode(), digest=digest)


def open_sealed(sealed: SealedEnvironment, arn: str, key: bytes) -> dict[str, str]:
    """The variables. Raises SealError."""
    data = base64.b64decode(sealed.ciphertext)
    try:
        plain = AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], arn.encode())
    except InvalidTag:
        raise SealError(
            f"the environment variables of {arn} cannot be decrypted: the catalog was changed or its keys were lost; "
            "give the function its variables again"
        ) from None
    return msgspec.json.decode(plain, type=dict[str, str])
