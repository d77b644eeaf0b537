"""Which addresses are a cloud's metadata."""

from __future__ import annotations

import pytest

from lambent.model.addresses import is_metadata


@pytest.mark.parametrize(
    "text", ["169.254.169.254", "169.254.0.1", "fe80::1%eth0", "::ffff:169.254.169.254", "fd00:ec2::254"]
)
def test_link_local_addresses_are(text: str) -> None:
    assert is_metadata(text)


@pytest.mark.parametrize("text", ["127.0.0.1", "10.0.0.1", "::1", "2001:db8::1"])
def test_others_are_not(text: str) -> None:
    assert not is_metadata(text)
