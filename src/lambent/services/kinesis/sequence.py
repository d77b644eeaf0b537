"""Sequence numbers: 186 bits in decimal, laid out as AWS's are, so that they rise and say where they belong.

hexadecimal digits, from the left:
    1  "2"
    9  second in which the shard was opened
    1  last digit of the shard's number
   16  position in the shard
    2  "00"
    9  second in which the record arrived
    8  number of the shard
    1  "2": the layout's version
"""

from __future__ import annotations

from typing import Final

import attrs

from lambent.store.streams import Placed, Record, Shard

END: Final = 2**63 - 1  # the position that a closed shard ends with
_DIGITS: Final = 47
_LONGEST: Final = 60  # decimal digits: anything longer is no sequence number of ours


@attrs.frozen
class Place:
    """What a sequence number says."""

    epoch_s: int
    shard: int
    position: int


def write(shard: Shard, position: int, second: int) -> str:
    digits = f"2{shard.epoch_s:09x}{shard.number & 15:x}{position:016x}00{second:09x}{shard.number:08x}2"
    return str(int(digits, 16))


def of_placed(placed: Placed) -> str:
    return write(placed.shard, placed.position, placed.arrived_ms // 1000)


def of_record(shard: Shard, record: Record) -> str:
    return write(shard, record.position, record.arrived_ms // 1000)


def first(shard: Shard) -> str:
    return write(shard, 0, shard.epoch_s)


def last(shard: Shard) -> str:
    """Of a shard that is closed."""
    return write(shard, END, (shard.closed_ms or 0) // 1000)


def read(text: str) -> Place | None:
    """None for what was never one of ours."""
    if len(text) > _LONGEST or not (text.isascii() and text.isdecimal()):
        return None
    digits = f"{int(text):x}"
    if len(digits) != _DIGITS or digits[0] != "2" or digits[-1] != "2":
        return None
    shard = int(digits[38:46], 16)
    if int(digits[10], 16) != shard & 15:
        return None
    return Place(int(digits[1:10], 16), shard, int(digits[11:27], 16))
