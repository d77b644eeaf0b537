"""Signatures of messages, so that a receiver can tell them from forged ones.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message-verify-message-signature.html. The key is this
data directory's own; its certificate is signed by itself, for there is no authority that would vouch for it.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import functools
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.x509.oid import NameOID

from lambent.store.topics import TopicStore

CERTIFICATE_DOOR: Final = "/_lambent/sns/"
SIGNATURES_REMEMBERED: Final = 4096  # a topic's subscriptions get a message with the same one
_KEY: Final = "signing-key"
_CERTIFICATE: Final = "signing-certificate"
_KEY_BITS: Final = 2048
_VALID_DAYS: Final = 36_500
_NOTIFICATION: Final = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {"1": hashes.SHA1(), "2": hashes.SHA256()}


class Signer:
    """One server's key. It is made when it is first needed, and the same ever after."""

    def __init__(self, store: TopicStore) -> None:
        self._store = store
        self._key: rsa.RSAPrivateKey | None = None
        self._certificate = b""
        self._making = asyncio.Lock()
        self._signature = functools.lru_cache(maxsize=SIGNATURES_REMEMBERED)(self._sign)

    async def ready(self) -> None:
        """Returns when `sign` may be called. Raises sqlite3.Error."""
        async with self._making:
            if self._key is not None:
                return
            pem = await self._store.secret(_KEY)
            if pem is None:
                pem = await self._store.keep_secret(_KEY, await asyncio.to_thread(_new_key))
            # Checking its numbers would hold the loop for 70 ms; it is what `_new_key` made.
            key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
            assert isinstance(key, rsa.RSAPrivateKey)
            certificate = await self._store.secret(_CERTIFICATE)
            if certificate is None:
                certificate = await self._store.keep_secret(_CERTIFICATE, await asyncio.to_thread(_certificate, key))
            self._certificate, self._key = certificate, key

    async def certificate(self) -> bytes:
        """PEM."""
        await self.ready()
        return self._certificate

    def certificate_url(self, base_url: str) -> str:
        name = hashlib.md5(self._certificate, usedforsecurity=False).hexdigest()
        return f"{base_url}{CERTIFICATE_DOOR}SimpleNotificationService-{name}.pem"

    def sign(self, fields: Mapping[str, Any], version: str) -> str:
        """Base64, of the fields of an envelope. Takes a millisecond: call it on a thread."""
        names = _NOTIFICATION if fields["Type"] == "Notification" else _CONFIRMATION
        text = "".join(f"{name}\n{fields[name]}\n" for name in names if fields.get(name) is not None)
        digest = hashlib.new(_HASHES[version].name, text.encode("utf-8", "surrogatepass"), usedforsecurity=False)
        return self._signature(digest.digest(), version)

    def _sign(self, digest: bytes, version: str) -> str:
        assert self._key is not None
        prehashed = utils.Prehashed(_HASHES[version])
        return base64.b64encode(self._key.sign(digest, padding.PKCS1v15(), prehashed)).decode()


def _new_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=_KEY_BITS)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.lambent")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_VALID_DAYS))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)
