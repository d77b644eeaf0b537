"""What an environment writes becomes log events, whatever it writes and however the pipe cuts it."""

from __future__ import annotations

import itertools
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.model.limits import LOG_EVENT_MAX_BYTES
from lambent.runtimeapi.logframes import FrameDecoder, LineDecoder, LogRecord, messages

NOW_US = 1_795_000_000_123_456


def frame(body: bytes, kind: int = 0xA55A0003, timestamp_us: int = NOW_US) -> bytes:
    return struct.pack(">IIQ", kind, len(body), timestamp_us) + body


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def decoded(decoder: LineDecoder | FrameDecoder, pieces: list[bytes]) -> list[LogRecord]:
    records = [record for piece in pieces for record in decoder.feed(piece)]
    return records + decoder.flush()


class TestLines:
    def test_each_line_is_an_event_and_the_last_needs_no_newline(self) -> None:
        assert [r.text for r in decoded(LineDecoder(), [b"one\n\ntw", b"o\nthree"])] == ["one", "", "two", "three"]

    def test_a_flushed_line_is_not_repeated(self) -> None:
        decoder = LineDecoder()
        decoder.feed(b"no newline")
        assert [r.text for r in decoder.flush()] == ["no newline"]
        assert decoder.flush() == []

    @given(data=st.binary(max_size=400), places=st.lists(st.integers(0, 1000), max_size=6))
    def test_how_the_pipe_cuts_the_bytes_changes_nothing(self, data: bytes, places: list[int]) -> None:
        assert decoded(LineDecoder(), cut(data, places)) == decoded(LineDecoder(), [data])

    def test_an_endless_line_is_cut_at_the_event_size_and_never_kept_whole(self) -> None:
        decoder = LineDecoder()
        tracemalloc.start()
        try:
            sizes = [len(r.text) for _ in range(400) for r in decoder.feed(b"x" * 65_536)]
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert set(sizes) == {LOG_EVENT_MAX_BYTES}
        assert peak_bytes < 10 * LOG_EVENT_MAX_BYTES

    def test_no_character_is_cut_in_two(self) -> None:
        line = "x" + "€" * LOG_EVENT_MAX_BYTES
        records = decoded(LineDecoder(), [line.encode() + b"\n"])
        assert "".join(r.text for r in records) == line
        assert all(len(r.text.encode()) <= LOG_EVENT_MAX_BYTES for r in records)

    @settings(max_examples=20)
    @given(unit=st.binary(min_size=1, max_size=8))
    def test_garbage_fits_its_events_even_after_replacement(self, unit: bytes) -> None:
        data = (unit * LOG_EVENT_MAX_BYTES)[:LOG_EVENT_MAX_BYTES]
        pieces = messages(data)
        assert "".join(pieces) == data.decode("utf-8", "replace")
        assert all(len(piece.encode()) <= LOG_EVENT_MAX_BYTES for piece in pieces)


class TestFrames:
    @pytest.mark.parametrize(
        ("kind", "is_json", "level"),
        [
            (0xA55A0003, False, None),
            (0xA55A000F, False, "INFO"),
            (0xA55A001B, False, "FATAL"),
            (0xA55A0002, True, None),
            (0xA55A0016, True, "ERROR"),
        ],
    )
    def test_the_type_says_form_and_level(self, kind: int, is_json: bool, level: str | None) -> None:
        expected = LogRecord("a\nb", NOW_US // 1000, is_json, level)
        assert FrameDecoder().feed(frame(b"a\nb\n", kind)) == [expected]

    def test_old_clients_send_no_timestamp(self) -> None:
        assert FrameDecoder().feed(struct.pack(">II", 0xA55A0001, 2) + b"hi") == [LogRecord("hi")]

    @pytest.mark.parametrize("timestamp_us", [0, 1, 2**64 - 1, 5_000_000_000_000_000])
    def test_an_impossible_time_is_no_time(self, timestamp_us: int) -> None:
        assert FrameDecoder().feed(frame(b"hi", timestamp_us=timestamp_us)) == [LogRecord("hi")]

    @given(bodies=st.lists(st.binary(max_size=60), max_size=5), places=st.lists(st.integers(0, 1000), max_size=8))
    def test_how_the_pipe_cuts_the_bytes_changes_nothing(self, bodies: list[bytes], places: list[int]) -> None:
        data = b"".join(frame(body) for body in bodies)
        records = decoded(FrameDecoder(), cut(data, places))
        assert [r.text for r in records] == [b.removesuffix(b"\n").decode("utf-8", "replace") for b in bodies]

    @given(data=st.binary(max_size=300), places=st.lists(st.integers(0, 1000), max_size=6))
    def test_any_bytes_at_all_give_text_and_no_error(self, data: bytes, places: list[int]) -> None:
        assert decoded(FrameDecoder(), cut(data, places)) == decoded(FrameDecoder(), [data])

    @given(noise=st.binary(max_size=40).filter(lambda noise: b"\xa5" not in noise))
    def test_a_frame_after_garbage_is_found_again(self, noise: bytes) -> None:
        assert FrameDecoder().feed(noise + frame(b"found"))[-1].text == "found"

    def test_what_is_no_frame_is_taken_as_lines(self) -> None:
        records = decoded(FrameDecoder(), [b"printed\nraw" + frame(b"framed") + b"end"])
        assert [r.text for r in records] == ["printed", "raw", "framed", "end"]

    def test_a_frame_of_four_gigabytes_is_passed_on_in_pieces(self) -> None:
        decoder = FrameDecoder()
        decoder.feed(struct.pack(">IIQ", 0xA55A0003, 2**32 - 1, NOW_US))
        tracemalloc.start()
        try:
            sizes = [len(r.text) for _ in range(400) for r in decoder.feed(b"x" * 65_536)]
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert set(sizes) == {LOG_EVENT_MAX_BYTES}
        assert peak_bytes < 10 * LOG_EVENT_MAX_BYTES

    def test_a_flush_half_way_through_a_frame_keeps_the_decoder_in_step(self) -> None:
        decoder = FrameDecoder()
        whole = frame(b"first second") + frame(b"next")
        decoder.feed(whole[:21])
        assert [r.text for r in decoder.flush()] == ["first"]
        assert [r.text for r in decoder.feed(whole[21:])] == [" second", "next"]
