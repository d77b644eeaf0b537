"""Markers: a page says where the next one begins, by a key and not by a position, so that nothing is listed twice."""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from lambent.model.errors import invalid_parameter

T = TypeVar("T")

PAGE_MAX = 50  # ListFunctions, MaxItems: a page never holds more, whatever is asked for


def page(
    items: Sequence[T], key: Callable[[T], Any], request: dict[str, Any], largest: int = PAGE_MAX
) -> tuple[list[T], dict[str, str]]:
    """The items after the request's `Marker`, and the member `NextMarker` where more follow.

    `items` are in the order of `key`, whose values are all strings or all integers. Raises AwsError
    InvalidParameterValueException for a marker that was not given out.
    """
    if (after := after_of(request)) is not None:
        items = [item for item in items if _comparable(key(item)) > after]
    return page_of(items, key, request, largest)


def after_of(request: dict[str, Any]) -> str | None:
    """The key behind which the page begins. Raises as `page` does."""
    marker = request.get("Marker")
    return _decode(marker) if marker else None


def page_of(
    items: Iterable[T], key: Callable[[T], Any], request: dict[str, Any], largest: int = PAGE_MAX
) -> tuple[list[T], dict[str, str]]:
    """The same for items that begin behind the marker already; of which no more are taken than a page needs."""
    size = min(request.get("MaxItems") or largest, largest)
    shown = list(itertools.islice(items, size + 1))
    if len(shown) <= size:
        return shown, {}
    shown.pop()
    return shown, {"NextMarker": _encode(_comparable(key(shown[-1])))}


def _comparable(key: Any) -> str:
    return f"{key:020d}" if isinstance(key, int) else str(key)


def _encode(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _decode(marker: str) -> str:
    try:
        return base64.b64decode(marker.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise invalid_parameter("Invalid value for Marker") from None
