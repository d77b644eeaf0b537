"""A backend as bytes. References to other backends stay references; what moto cannot copy (locks, local functions) is remade.

Large collections (S3's objects, DynamoDB's items) are left out: they are kept entry by entry, see collections.py.
"""

from __future__ import annotations

import importlib
import io
import pickle
import sys
import threading
import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, Final

from moto.core.base_backend import AccountSpecificBackend, BackendDict, BaseBackend

from lambent.neighbours.moto_process.backends import Unit, holder_of, shell, unit_of
from lambent.neighbours.moto_process.collections import Body, Collection, body_named, collection_named

PROTOCOL: Final = 5
_LOCKS: Final = {
    type(threading.Lock()): threading.Lock,
    type(threading.RLock()): threading.RLock,
    threading.Event: threading.Event,
    threading.Condition: threading.Condition,
    threading.Semaphore: threading.Semaphore,
    threading.local: threading.local,
}
_PLAIN: Final = frozenset({dict, list, tuple, set, frozenset, str, bytes, int, float, bool, type(None)})


class Saver(pickle.Pickler):
    """One pickle. `collections` is what was met and left out."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, PROTOCOL)
        self.collections: list[Collection] = []
        self._ids: set[str] = set()

    def persistent_id(self, value: Any) -> Any:
        if type(value) in _PLAIN:
            return None
        if isinstance(value, BaseBackend):
            unit = unit_of(value)
            return ("unit", unit.text)
        if isinstance(value, BackendDict):
            return ("holder", holder_of(value.backend))
        if isinstance(value, AccountSpecificBackend):
            return ("account", holder_of(value.backend), value.account_id)
        return None

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if kind in _LOCKS:
            return _LOCKS[kind], ()
        if isinstance(value, Collection):
            return self._left_out(value)
        if isinstance(value, Body):
            return body_named, value.reduced()
        if kind is types.FunctionType and "<" in value.__qualname__:
            return _reduced_function(value)
        if kind is types.ModuleType:
            return importlib.import_module, (value.__name__,)
        if isinstance(value, threading.Thread):
            return _nothing, ()
        if isinstance(value, dict) and kind.__module__.startswith("moto.") and not isinstance(value, OrderedDict):
            state = (getattr(value, "default_factory", None), vars(value), list(dict.items(value)))
            return _new_mapping, (kind,), state, None, None, _fill_mapping
        if kind.__module__.startswith("cryptography."):
            return _cryptographic(value)
        if kind.__name__ == "AWSManagedPolicy":
            return _managed_policy, (value.account_id, value.partition, value.arn, value.attachment_count)
        return NotImplemented

    def _left_out(self, value: Collection) -> Any:
        if value.collection_id in self._ids:
            value.become_another()  # a copy: from now on it has a life of its own
        self._ids.add(value.collection_id)
        self.collections.append(value)
        return collection_named, (type(value).__name__, value.collection_id)


class Restorer(pickle.Unpickler):
    """Reads what a Saver wrote. References to backends become their shells."""

    def persistent_load(self, name: Any) -> Any:
        if name[0] == "unit":
            return shell(Unit.parse(name[1]))
        module_name, variable = name[1].split(":")
        holder = getattr(importlib.import_module(module_name), variable)
        return holder if name[0] == "holder" else holder[name[2]]


def saved(value: Any) -> tuple[bytes, list[Collection]]:
    """Raises what pickle raises for a value that cannot be kept: TypeError, AttributeError, PicklingError."""
    file = io.BytesIO()
    saver = Saver(file)
    saver.dump(value)
    return file.getvalue(), saver.collections


def restored(data: bytes) -> Any:
    return Restorer(io.BytesIO(data)).load()


def _nothing() -> None:
    return None


# Keys and certificates are objects of OpenSSL's: they have forms of their own.


def _cryptographic(value: Any) -> Any:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization as forms

    pem = forms.Encoding.PEM
    if hasattr(value, "private_bytes"):
        plain = value.private_bytes(pem, forms.PrivateFormat.PKCS8, forms.NoEncryption())
        return _read_pem, ("private", plain)
    if isinstance(value, x509.Certificate):
        return _read_pem, ("certificate", value.public_bytes(pem))
    if isinstance(value, x509.CertificateSigningRequest):
        return _read_pem, ("request", value.public_bytes(pem))
    if hasattr(value, "public_bytes"):
        return _read_pem, ("public", value.public_bytes(pem, forms.PublicFormat.SubjectPublicKeyInfo))
    return NotImplemented


def _read_pem(kind: str, pem: bytes) -> Any:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization as forms

    if kind == "private":
        return forms.load_pem_private_key(pem, None)
    if kind == "public":
        return forms.load_pem_public_key(pem)
    return x509.load_pem_x509_certificate(pem) if kind == "certificate" else x509.load_pem_x509_csr(pem)


# moto's own kinds of dictionaries want arguments that a pickle does not know; they are filled without asking them.


def _new_mapping(kind: Any) -> Any:
    return kind.__new__(kind)


def _fill_mapping(mapping: Any, state: tuple[Any, dict[str, Any], list[tuple[Any, Any]]]) -> None:
    factory, members, held = state
    if isinstance(mapping, defaultdict):
        mapping.default_factory = factory
    vars(mapping).update(members)
    dict.update(mapping, held)


# Functions that moto defines inside others (defaultdict's factories) are found again by where their code is.


def _reduced_function(function: types.FunctionType) -> tuple[Any, ...]:
    outer, *inner = function.__qualname__.split(".<locals>.")
    path = _path_to(function.__code__, _code_at(function.__module__, outer))
    cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
    return _function, (function.__module__, outer, path, cells, function.__defaults__, len(inner))


def _function(
    module: str, outer: str, path: tuple[int, ...], cells: tuple[Any, ...], defaults: Any, _: int
) -> Callable[..., Any]:
    code = _code_at(module, outer)
    for index in path:
        code = code.co_consts[index]
    closure = tuple(types.CellType(content) for content in cells)
    return types.FunctionType(code, vars(sys.modules[module]), code.co_name, defaults, closure)


def _code_at(module: str, name: str) -> Any:
    if name == "<lambda>":
        raise pickle.PicklingError(f"a function at the top of {module} has no name")
    place: Any = importlib.import_module(module)
    for part in name.split("."):
        place = getattr(place, part)
    return place.__code__


def _path_to(code: types.CodeType, within: types.CodeType) -> tuple[int, ...]:
    for index, constant in enumerate(within.co_consts):
        if constant is code:
            return (index,)
        if isinstance(constant, types.CodeType):
            try:
                return (index, *_path_to(code, constant))
            except pickle.PicklingError:
                continue
    raise pickle.PicklingError(f"{code.co_qualname if hasattr(code, 'co_qualname') else code.co_name} was not found")


# AWS's own managed policies are data of moto: only how often each is attached is state.

_policies: dict[tuple[str, str], dict[str, Any]] = {}


def _managed_policy(account_id: str, partition: str, arn: str, attachment_count: int) -> Any:
    if (account_id, partition) not in _policies:
        _policies[account_id, partition] = _fresh_policies(account_id, partition)
    policy = _policies[account_id, partition][arn]
    policy.attachment_count = attachment_count
    return policy


def _fresh_policies(account_id: str, partition: str) -> dict[str, Any]:
    import json

    from moto.iam import models

    data = json.loads(models.aws_managed_policies_data)
    made = (models.AWSManagedPolicy.from_data(name, account_id, partition, told) for name, told in data.items())
    return {policy.arn: policy for policy in made}
