import re

from hypothesis import given
from hypothesis import strategies as st

from kernel_exec.server.content.clipping import Clip

texts = st.lists(st.text("ab\n漢", max_size=30), max_size=30)


def clip(parts: list[str], size: int, offset: int = 0) -> Clip:
    clip = Clip(size, offset)
    for part in parts:
        clip.add(part)
    return clip


@given(texts, st.integers(0, 80), st.integers(0, 80))
def test_head_and_tail_are_exact_and_within_the_limit(parts: list[str], size: int, less: int) -> None:
    whole, limit = "".join(parts), max(0, size - less)
    head, left_out, tail = clip(parts, size).parts(limit)
    assert len(head) + len(tail) == min(limit, len(whole))
    assert len(head) + left_out + len(tail) == len(whole)
    assert whole.startswith(head) and whole.endswith(tail)


@given(texts, st.integers(2, 50))
def test_pieces_from_the_offsets_that_markers_name_make_up_the_whole(parts: list[str], size: int) -> None:
    whole = "".join(parts)
    pieces, offset = [], 0
    while True:
        read = clip(parts, size, offset)
        pieces.append(read.parts(size)[0])
        marker = re.search(r"(\d+) characters? .* offset=(\d+)\) …\]", read.text(size, "e1"))
        if marker is None:
            break
        shown = len(read.parts(size)[2])
        offset += len(pieces[-1])
        assert int(marker[1]) == len(whole) - offset - shown
        assert int(marker[2]) == offset
    assert "".join(pieces) == whole


def test_the_marker_says_how_much_is_missing_and_what_brings_it() -> None:
    whole = clip(["x" * 58_210], 10_000)
    assert '\n[… 48,210 characters left out; get_execution("e17", offset=6000) …]\n' in whole.text(
        10_000, "e17"
    )
    piece = clip(["x" * 30_000], 10_000, 6_000)
    assert piece.text(10_000, "e17").endswith(
        '[… 14,000 characters follow; get_execution("e17", offset=16000) …]'
    )


def test_a_text_that_fits_has_no_marker() -> None:
    assert clip(["ab", "c"], 3).text(3, "e1") == "abc"


@given(texts, st.integers(1, 50))
def test_reading_on_begins_where_the_unfinished_line_begins(parts: list[str], size: int) -> None:
    whole = "".join(parts)
    offset = clip(parts, size).next_offset(size)
    if len(whole) <= size:
        assert offset in (len(whole), whole.rfind("\n") + 1)
    assert 0 <= offset <= len(whole)
