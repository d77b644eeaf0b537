"""moto's backends: a lock for each, and a note of which ones a request has used.

A unit is one backend: a service in an account and region (or partition, for services without regions).
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final

import attrs
from moto.core.base_backend import AccountSpecificBackend, BackendDict, BaseBackend


@attrs.frozen(order=True)
class Unit:
    """The name of one backend. `holder` is where moto keeps all of its service: "moto.iam.models:iam_backends"."""

    holder: str
    account_id: str
    region: str

    @property
    def text(self) -> str:
        return f"{self.holder}/{self.account_id}/{self.region}"

    @classmethod
    def parse(cls, text: str) -> Unit:
        return cls(*text.split("/"))

    @property
    def service(self) -> str:
        """moto's name of the package: "iam", "cognitoidp"."""
        return self.holder.split(".")[1]


@attrs.define
class Done:
    """What a request did."""

    touched: set[Unit] = attrs.field(factory=set)


_current: Final = threading.local()
_locks: Final[dict[Unit, Any]] = {}  # RLocks
_locks_guard: Final = threading.Lock()
_holders: Final[dict[type, str]] = {}


def holder_of(backend_class: type) -> str:
    """Where the dictionary with all backends of this class is. Raises LookupError."""
    if backend_class not in _holders:
        module = sys.modules[backend_class.__module__]
        for name, value in vars(module).items():
            if isinstance(value, BackendDict) and value.backend is backend_class:
                _holders[backend_class] = f"{backend_class.__module__}:{name}"
                break
        else:
            raise LookupError(f"{backend_class.__module__}.{backend_class.__name__} is in no dictionary of backends")
    return _holders[backend_class]


def unit_of(backend: BaseBackend) -> Unit:
    return Unit(holder_of(type(backend)), backend.account_id, backend.region_name)


def lock_of(unit: Unit) -> Any:
    with _locks_guard:
        return _locks.setdefault(unit, threading.RLock())


@contextlib.contextmanager
def run(unit: Unit | None) -> Iterator[Done]:
    """One request at a time in a unit; None runs without a lock. Notes which units are used."""
    done = Done()
    _current.touched = done.touched
    try:
        with lock_of(unit) if unit is not None else contextlib.nullcontext():
            yield done
    finally:
        _current.touched = None


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    """What is used inside does not count."""
    touched = getattr(_current, "touched", None)
    _current.touched = None
    try:
        yield
    finally:
        _current.touched = touched


def watch_access() -> None:
    """Every way to a backend goes through its account's dictionary."""
    get = AccountSpecificBackend.__getitem__

    def getitem(self: Any, region_name: str) -> Any:
        backend = get(self, region_name)
        touched = getattr(_current, "touched", None)
        if touched is not None:
            touched.add(unit_of(backend))
        return backend

    AccountSpecificBackend.__getitem__ = getitem


def shell(unit: Unit) -> Any:
    """The backend of a unit as an object that is yet to be filled, in its place among moto's."""
    import importlib

    module_name, name = unit.holder.split(":")
    holder = getattr(importlib.import_module(module_name), name)
    account = holder[unit.account_id]
    if unit.region not in dict.keys(account):
        dict.__setitem__(account, unit.region, holder.backend.__new__(holder.backend))
    return dict.__getitem__(account, unit.region)


def backend_of(unit: Unit) -> Any:
    """The backend itself. Raises LookupError when it is gone."""
    import importlib

    module_name, name = unit.holder.split(":")
    return dict.__getitem__(
        dict.__getitem__(getattr(importlib.import_module(module_name), name), unit.account_id), unit.region
    )
