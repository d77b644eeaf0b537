"""The header that tells how often a chain has come by a function."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lambent.model.lineage import FUNCTIONS_MAX, advanced, invocations

F = "arn:aws:lambda:us-east-1:000000000000:function:f"
ROOT = "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0"


def test_each_invocation_is_counted_for_its_function() -> None:
    header: str | None = ROOT
    for n in range(20):
        assert invocations(header, F) == n
        header = advanced(header, F)
    assert header is not None
    assert header.startswith(f"{ROOT};Lineage=20:")
    assert invocations(header, F + "2") == 0


def test_lineages_of_aws_are_read() -> None:
    key = advanced(None, F).split(":")[1]
    for lineage in (f"{key}:4", f"3:{key}:4", f"25:68fd508a:5|{key}:4|c512fbe3:2", f"{key}:4,68fd508a:5"):
        assert invocations(f"Root=1-5759e988-bd862e3fe1be46a994272793;Lineage={lineage}", F) == 5
        assert invocations(advanced(f"Lineage={lineage}", F), F) == 6


@given(st.lists(st.integers(0, 100), max_size=200))
def test_no_chain_makes_the_header_grow_for_ever(chain: list[int]) -> None:
    header: str | None = None
    for function in chain:
        before = invocations(header, f"{F}{function}")
        header = advanced(header, f"{F}{function}")
        assert invocations(header, f"{F}{function}") == before + 1
    assert len(header or "") < 40 + FUNCTIONS_MAX * 14


@given(st.text(max_size=200))
def test_nonsense_counts_as_no_lineage_or_as_some(text: str) -> None:
    assert invocations(text, F) >= 0
    assert invocations(advanced(text, F), F) >= 1
