import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_exec.server.content.terminal import COLUMNS, ROWS, Terminal, show

TQDM_NESTED = (
    "\r  0%|          | 0/2 [00:00<?, ?it/s]\n\r  0%|          | 0/2 [00:00<?, ?it/s]\x1b[A\n"
    "\r                                     \x1b[A\r100%|██████████| 2/2 [00:00<00:00, 180.93it/s]\n"
)
RICH = (
    "\x1b[?25l\rWorking ━━━ \x1b[35m  0%\x1b[0m\r\x1b[2K"
    "\rWorking \x1b[38;5;197m━━━\x1b[0m \x1b[35m100%\x1b[0m\n\x1b[?25h"
)
RICH_TWO_BARS = "a   0%\nb   0%\r\x1b[2K\x1b[1A\x1b[2Ka 100%\nb  50%\r\x1b[2K\x1b[1A\x1b[2Ka 100%\nb 100%\n"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("10%\r50%\r100%\n", "100%\n"),
        ("abc\rX", "Xbc"),
        ("one\r\ntwo\r\n", "one\ntwo\n"),
        ("ab\b\bX", "Xb"),
        ("\x1b[1;31mred\x1b[0m and \x1b[38:5:1mmore\x1b[m", "red and more"),
        ("a\nb\x1b[A\rZ\n", "Z\nb"),
        ("abc\x1b[2K\rd", "d"),
        ("abc\x1b[1D\x1b[K", "ab"),
        ("l1\nl2\nl3\x1b[2A\x1b[J", "l1"),
        ("old frame\nmore\x1b[2J\x1b[Hnew", "new"),
        ("a\x1b[3Cb", "a   b"),
        ("abc\x1b[1Gx", "xbc"),
        ("漢字\rab", "ab字"),
        ("漢字\ra", "a 字"),
        ("e\N{COMBINING ACUTE ACCENT}x\rZ", "Zx"),
        ("漢字 👩‍🚀 é\n", "漢字 👩‍🚀 é\n"),
        ("\ud800x", "\N{REPLACEMENT CHARACTER}x"),
        ("x\x1b]0;title\x07y\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "xylink"),
        ("x\x1bPq#0;2;0;0;0\x1b\\y", "xy"),
        ("x\x1b]never ended\nthe next line", "x\nthe next line"),
        ("\x00a\x07b\x0ec\x7fd\x9b31me", "abcd31me"),
        ("a\tb", "a\tb"),
        ("\x1b", ""),
        ("\x1b[" + "1" * 40 + "m", "1" * 8 + "m"),
    ],
)
def test_text_comes_out_as_a_terminal_shows_it_in_the_end(written: str, shown: str) -> None:
    assert show(written) == shown


def test_progress_bars_collapse_to_their_last_state() -> None:
    assert show(TQDM_NESTED).rstrip() == "100%|██████████| 2/2 [00:00<00:00, 180.93it/s]"
    assert show(RICH) == "Working ━━━ 100%\n"
    assert show(RICH_TWO_BARS) == "a 100%\nb 100%\n"


def test_a_line_longer_than_the_terminal_is_wide_stays_one_line() -> None:
    line = "x" * (3 * COLUMNS) + "y\nz"
    assert show(line) == line
    assert show("a" * COLUMNS + "b\rc") == "a" * COLUMNS + "c"


def test_lines_older_than_the_terminal_is_high_can_no_longer_change() -> None:
    lines = [f"line {number}" for number in range(ROWS + 5)]
    assert show("\n".join(lines) + f"\x1b[{ROWS * 2}A\rLINE").split("\n")[5] == "LINE 5"


pieces = st.sampled_from(
    [
        *(
            "a",
            "bc",
            "漢",
            "e\u0301",
            "\u200d",
            "👩",
            "\n",
            "\r",
            "\r\n",
            "\b",
            "\t",
            "\ud800",
            "x" * 1500,
            "\x1b[K",
        ),
        *(
            "\x1b",
            "[",
            "2K",
            "\x1b[A",
            "\x1b[2B",
            "\x1b[5C",
            "\x1b[3D",
            "\x1b[J",
            "\x1b[1J",
            "\x1b[2J",
            "\x1b[H",
        ),
        *(
            "\x1b[1K",
            "\x1b[31m",
            "\x1b]0;t",
            "\x07",
            "\x1b\\",
            "\x1b[9999C",
            "\x1b[99B",
            "█",
            " ",
            "\n" * 60,
            "\x1bM",
        ),
    ]
)


@given(st.lists(pieces, max_size=40), st.data())
def test_how_text_is_cut_into_chunks_makes_no_difference(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    terminal = Terminal()
    chunks = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    shown = "".join(map(terminal.feed, chunks)) + terminal.finish()
    assert shown == show(text)
    assert not set(shown) & set(map(chr, {*range(9), *range(11, 32), *range(127, 160)}))
    shown.encode()


def screen(text: str) -> list[str]:
    """The least terminal: a grid of characters, each one column wide."""
    grid, row, column = [[]], 0, 0  # type: list[list[str]], int, int
    for part in text.replace("\x1b[A", "\x01").replace("\x1b[K", "\x02").replace("\x1b[2K", "\x03"):
        if part == "\n":
            row, column = row + 1, 0
            grid += [[]] if row == len(grid) else []
        elif part == "\r":
            column = 0
        elif part == "\b":
            column = max(0, column - 1)
        elif part == "\x01":
            row = max(0, row - 1)
        elif part in "\x02\x03":
            del grid[row][column if part == "\x02" else 0 :]
        else:
            grid[row] += " " * (column + 1 - len(grid[row]))
            grid[row][column] = part
            column += 1
    return ["".join(line).rstrip() for line in grid]


@given(
    st.lists(
        st.sampled_from(["a", "bcd", "é", " ", "\n", "\r", "\b", "\x1b[A", "\x1b[K", "\x1b[2K"]), max_size=60
    )
)
def test_it_agrees_with_a_terminal_written_the_slow_way(parts: list[str]) -> None:
    shown = [line.rstrip() for line in show("".join(parts)).split("\n")]
    expected = screen("".join(parts))
    while expected and not expected[-1]:
        expected.pop()
    while shown and not shown[-1]:
        shown.pop()
    assert shown == expected


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.text("ab\n"))
def test_text_without_control_characters_is_untouched(text: str, lines: str) -> None:
    assert show(text + lines) == text + lines


def test_memory_is_bounded_however_long_a_line_or_an_escape_sequence_is() -> None:
    for start, fill in [("", "x"), ("", "x" * 99 + "\r"), ("\x1b]", "x"), ("\x1b[", "1"), ("", "x\n")]:
        terminal = Terminal()
        terminal.feed(start)
        chunk = fill * (50_000 // len(fill))
        tracemalloc.start()
        for _ in range(20):
            terminal.feed(chunk)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 3 * ROWS * COLUMNS, (start, fill)


def test_plain_text_is_quick() -> None:
    text = "a line of plain text, as most output is\n" * 250_000
    started = time.process_time()
    assert show(text) == text
    assert time.process_time() - started < 1  # some hundredths, where nothing else runs
