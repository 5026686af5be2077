import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_exec.server.content.markup import MAX_HTML_CHARS, html_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<b>hi</b> &amp; <i>you</i>", "hi & you"),
        ("<p>one</p>\n<p>two<br>three</p>", "one\ntwo\nthree"),
        ("<h2>Title</h2><ul><li>a<li>b</ul>", "## Title\n- a\n- b"),
        ("<style>p {}</style><script>alert('x')</script>shown", "shown"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ('<iframe src="https://example.org/x"></iframe>', "[frame: https://example.org/x]"),
        (f'<img src="data:image/png;base64,{"A" * 90}" alt="">', "[image: data:image/png]"),
        ("<progress max='3' value='1'></progress>", "[1 of 3]"),
        ("<div id='x'></div>", ""),
        ("no markup < at all", "no markup < at all"),
    ],
)
def test_html_reads_as_its_page_does(html: str, text: str) -> None:
    assert html_text(html) == text


def test_a_table_is_in_columns() -> None:
    html = "<table><tr><th></th><th>name</th></tr><tr><td>0</td><td>漢字</td></tr><tr><td>10</td><td>x</td></tr></table>"
    assert html_text(html) == "    name\n0   漢字\n10  x"
    assert html_text(f"before{html}after") == "before\n    name\n0   漢字\n10  x\nafter"


def test_a_page_too_long_to_read_says_so() -> None:
    assert html_text("x" * (MAX_HTML_CHARS + 1_234)).endswith("[… 1,234 more characters of HTML …]")


@given(
    st.lists(
        st.sampled_from(
            ["<table>", "</table>", "<tr>", "<td>", "</td>", "<p>", "</pre>", "<pre>", "x", "<!", "&#"]
        )
    )
)
def test_broken_markup_never_fails(parts: list[str]) -> None:
    assert html_text("".join(parts)).count("x") <= parts.count("x")


@pytest.mark.parametrize("part", ["<", "<a ", "<!--", "<table><tr><td>x", "</", "<script>"])
def test_hostile_markup_takes_bounded_time(part: str) -> None:
    started = time.process_time()
    html_text(part * (1_000_000 // len(part)))
    assert time.process_time() - started < 10
