"""Records into invocations' payloads: `{"Records": […]}`, never above what an invocation may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import attrs
import msgspec

from lambent.model.limits import SYNC_PAYLOAD_MAX_BYTES

T = TypeVar("T")

_FRAME: Final = len(b'{"Records":[]}')
_encode: Final = msgspec.json.Encoder().encode


@attrs.frozen(eq=False)
class Encoded:
    """One record as the function sees it, beside what it was made of."""

    item: Any
    json: bytes

    @property
    def size_bytes(self) -> int:
        """In a payload, with its comma."""
        return len(self.json) + 1


def encoded(item: Any, record: Mapping[str, Any]) -> Encoded:
    return Encoded(item, _encode(record))


def joined(records: Sequence[Encoded]) -> bytes:
    return b",".join(record.json for record in records)


def payload(records: Sequence[Encoded], more: Mapping[str, Any] | None = None) -> bytes:
    """The event; `more` are its members beside the records."""
    body = b'{"Records":[' + joined(records) + b"]"
    return body + (b"," + _encode(more)[1:] if more else b"}")


def portions(
    records: Sequence[Encoded], batch_size: int, max_bytes: int = SYNC_PAYLOAD_MAX_BYTES
) -> list[list[Encoded]]:
    """In order, as few batches as there can be with at most so many records and bytes; one that is too large is alone."""
    out: list[list[Encoded]] = []
    size_bytes = 0
    for record in records:
        if not out or len(out[-1]) >= batch_size or size_bytes + record.size_bytes > max_bytes:
            out.append([])
            size_bytes = _FRAME
        out[-1].append(record)
        size_bytes += record.size_bytes
    return out
