"""Pages of lists. https://docs.aws.amazon.com/sns/latest/api/API_ListTopics.html: at most a hundred each."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Final, TypeVar

from lambent.services.sns.errors import invalid

T = TypeVar("T")
PAGE_MAX: Final = 100


def page(items: Sequence[T], token: str | None) -> tuple[Sequence[T], str | None]:
    """One page, and the token of the next. Raises AwsError InvalidParameter."""
    begin = 0
    if token:
        try:
            begin = int(base64.b64decode(token, validate=True).decode())
        except (binascii.Error, ValueError) as error:
            raise invalid("NextToken") from error
        if begin < 0:
            raise invalid("NextToken")
    end = begin + PAGE_MAX
    return items[begin:end], base64.b64encode(str(end).encode()).decode() if end < len(items) else None
