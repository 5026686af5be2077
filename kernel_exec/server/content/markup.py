"""HTML as plain text: what a reader of the page would see, tables in columns."""

import re
import unicodedata
from html.parser import HTMLParser

__all__ = ["html_text"]

MAX_HTML_CHARS = 200_000
MAX_CELL_CHARS = 60

_DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+)[^\"'\s)>]{40,}")
_REMOVED = re.compile(r"<!--(?:.*?-->|.*)|<(script|style)\b(?:.*?</\1\s*>|.*)", re.DOTALL | re.IGNORECASE)
_NO_TAG = re.compile(r"<(?![a-zA-Z/!?][^<>]*>)")
_SILENT = {"script", "style", "head", "template", "noscript", "svg", "select", "math"}
_BLOCKS = {
    *(
        "address",
        "article",
        "aside",
        "blockquote",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
    ),
    *(
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "li",
        "main",
        "nav",
        "ol",
        "p",
    ),
    *("pre", "section", "summary", "table", "tr", "ul", "caption"),
}
_MEDIA = {"img": "image", "iframe": "frame", "video": "video", "audio": "audio", "embed": "object"}


def html_text(html: str) -> str:
    """Plain text of *html*; scripts, styles and attributes are left out, data URIs shortened.

    Reads the first `MAX_HTML_CHARS` characters of what is left and says so when there are more.
    """
    html = _REMOVED.sub("", _DATA_URI.sub(r"data:\1", html))
    reader = _Reader()
    # The parser takes quadratic time for tags that never end: none of these gets to it.
    reader.feed(_NO_TAG.sub("&lt;", html[:MAX_HTML_CHARS]))
    reader.close()
    more = len(html) - MAX_HTML_CHARS
    return reader.text() + (f"\n[… {more:,} more characters of HTML …]" if more > 0 else "")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._lines: list[str] = [""]
        self._silent = 0
        self._preformatted = 0
        self._tables: list[list[list[str]]] = []  # open tables, of rows, of cells
        self._outer: list[list[str]] = []  # lines around each open table

    def text(self) -> str:
        while self._tables:
            self._close_table()
        text = "\n".join(line.rstrip() for line in self._lines)
        return re.sub(r"\n{3,}", "\n\n", text).strip("\n")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent += 1
        if self._silent:
            return
        if tag == "table":
            self._break()
            self._outer.append(self._lines)
            self._tables.append([])
            self._lines = [""]
        elif tag == "tr" and self._tables:
            self._tables[-1].append([])
            self._lines = [""]
        elif tag in ("td", "th") and self._tables:
            self._close_cell()
            self._tables[-1] = self._tables[-1] or [[]]
            self._tables[-1][-1].append("")
        elif tag in _BLOCKS or tag == "br":
            self._break(always=tag == "br")
        attributes = dict(attrs)
        if tag == "li":
            self._lines[-1] += "- "
        elif tag == "hr":
            self._break()
            self._lines[-1] = "---"
            self._break()
        elif tag[0] == "h" and tag[1:].isdigit():
            self._lines[-1] += "#" * int(tag[1:]) + " "
        elif tag in _MEDIA:
            shown = attributes.get("alt") or attributes.get("title") or attributes.get("src") or ""
            self._lines[-1] += f"[{_MEDIA[tag]}{': ' if shown else ''}{shown[:200]}]"
        elif tag == "progress":
            self._lines[-1] += f"[{attributes.get('value', '…')} of {attributes.get('max', '1')}]"
        self._preformatted += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        elif self._silent:
            return
        elif tag == "table" and self._tables:
            self._close_table()
        elif tag in ("td", "th", "tr") and self._tables:
            self._close_cell()
        elif tag in _BLOCKS:
            self._break()
            if tag == "pre":
                self._preformatted = max(0, self._preformatted - 1)

    def handle_data(self, data: str) -> None:
        if self._silent:
            return
        if self._preformatted:
            first, *rest = data.split("\n")
            self._lines[-1] += first
            self._lines += rest
            return
        words = re.sub(r"[ \t\r\n\f]+", " ", data)
        self._lines[-1] += (
            words if self._lines[-1] and not self._lines[-1].endswith(" ") else words.lstrip(" ")
        )

    def _break(self, *, always: bool = False) -> None:
        if self._lines[-1].strip() or always:
            self._lines.append("")

    def _close_cell(self) -> None:
        """What was read since the cell began is its text."""
        rows = self._tables[-1]
        if rows and rows[-1] and not rows[-1][-1]:
            rows[-1][-1] = " ".join(" ".join(self._lines).split())
            self._lines = [""]

    def _close_table(self) -> None:
        self._close_cell()
        rows, self._lines = self._tables.pop(), self._outer.pop()
        self._break()
        self._lines[-1:] = [*_columns([row for row in rows if row]), ""]


def _columns(rows: list[list[str]]) -> list[str]:
    """Rows of cells as lines, the cells one under the other; a very wide cell ends its column's order."""
    widths: list[int] = []
    for row in rows:
        widths += [0] * (len(row) - len(widths))
        for column, cell in enumerate(row):
            widths[column] = max(widths[column], min(_width(cell), MAX_CELL_CHARS))
    return [
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=False)
        ).rstrip()
        for row in rows
    ]


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)
