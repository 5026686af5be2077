"""Text as a terminal would show it: escape sequences carried out or dropped, never passed on."""

import re
import unicodedata

__all__ = ["COLUMNS", "ROWS", "Terminal", "show"]

ROWS, COLUMNS = 100, 2_000  # what a later escape sequence can still change
CELL_CHARS = 16

_NOT_PLAIN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_PLAIN_ASCII = bytes(code for code in range(128) if _NOT_PLAIN.match(chr(code)))
_SURROGATES = re.compile("[\ud800-\udfff]")
_CSI = r"\x1b\[[0-?]{0,32}[ -/]{0,4}"
_UNFINISHED = re.compile(rf"{_CSI}|\x1b[ -/]{{0,4}}")
_SPECIAL = re.compile(
    r"\x1b\[(?P<parameters>[0-9;]{0,32})(?P<command>[@-~])"
    rf"|{_CSI}[@-~]?"  # private ones (`?25l`), ones with intermediates, broken ones
    r"|(?P<string>\x1b[\]PX^_])"
    r"|\x1b(?P<escape>[ -/]{0,4}[0-~]?)"
    r"|(?P<back>\x08+)"
    r"|(?P<control>[\x00-\x07\x0b-\x1f\x7f-\x9f])"
)
_COLOUR = re.compile(r"\x1b\[[0-9;:]{0,32}m")
_STRING = re.compile(r"\x1b[\]PX^_]")
_STRING_END = re.compile("[\x07\x18\x1a]|(?=[\x1b\n])")
# Characters that surely take one column each; progress bars are drawn with these.
_NARROW_CHARACTER = "[\t -~\xa0-\xac\xae-\u02ff\u2010-\u2027\u2190-\u22ff\u2500-\u25fc\u2800-\u28ff]"
_NARROW = re.compile(f"{_NARROW_CHARACTER}*")
_REDRAWN = re.compile(f"(?:{_NARROW_CHARACTER}*+\r)++")


def show(text: str) -> str:
    """The whole of *text*, as a terminal would show it in the end."""
    terminal = Terminal()
    return terminal.feed(text) + terminal.finish()


class _Row:
    """One row: text while it is only appended to, cells (one a column) once it was edited."""

    __slots__ = ("cells", "end", "text")

    def __init__(self, text: str = "", end: str = "\n") -> None:
        self.text = text
        self.cells: list[str] | None = None
        self.end = end

    def __str__(self) -> str:
        # Blanks at the end of an edited row are what erased text leaves behind.
        return self.text if self.cells is None else "".join(self.cells).rstrip(" ")

    @property
    def empty(self) -> bool:
        return not (self.text if self.cells is None else self.cells)

    def edited(self) -> list[str]:
        if self.cells is None:
            self.cells, text, self.text = [], self.text, ""
            _overwrite(self.cells, 0, text, limit=2 * len(text))
        return self.cells


class Terminal:
    """An incremental filter; `feed` gives what can no longer change, `finish` the rest.

    The terminal has `ROWS` rows of `COLUMNS` columns: memory is bounded by that, whatever comes in. A
    longer line goes on in the next row and comes out as one line again. How the text is cut into
    chunks makes no difference to what comes out.
    """

    def __init__(self) -> None:
        self._rows = [_Row()]
        self._row = 0
        self._column: int | None = None  # None: at the end of a row that was never edited
        self._unfinished = ""
        self._in_string = False
        self._out: list[str] = []

    def feed(self, chunk: str) -> str:
        """Take *chunk*; return the text that has left the terminal at its top."""
        text = self._unfinished + chunk
        start = text.rfind("\x1b", max(0, len(text) - 40))
        if start >= 0 and _UNFINISHED.fullmatch(text, start):
            text, self._unfinished = text[:start], text[start:]
        else:
            self._unfinished = ""
        if self._in_string or not _is_plain(text):
            self._interpret(text)
        else:
            self._write(text)
        return self._taken()

    def finish(self) -> str:
        """Return what the terminal still shows; it takes nothing more."""
        while len(self._rows) > self._row + 1 and self._rows[-1].empty:
            self._rows.pop()
        self._rows[-1].end = ""
        self._leave(len(self._rows))
        return self._taken()

    def _taken(self) -> str:
        text, self._out = "".join(self._out), []
        return text

    def _interpret(self, text: str) -> None:
        text = text.replace("\r\n", "\n")
        if not text.isascii():
            text = _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)
        if "\x1b" in text and not self._in_string and not _STRING.search(text):
            text = _COLOUR.sub("", text)  # most of all escapes: worth dropping in one go
        position = 0
        while position < len(text):
            if self._in_string:
                end = _STRING_END.search(text, position)
                if end is None:
                    return
                self._in_string, position = False, end.end()
                continue
            found = _NOT_PLAIN.search(text, position) if position or not _is_plain(text) else None
            end_of_plain = found.start() if found else len(text)
            if end_of_plain > position:
                self._write(text[position:end_of_plain])
            position = end_of_plain
            if special := _SPECIAL.match(text, position):
                self._obey(special)
                position = special.end()
                if special[0] == "\r" and self._column == 0:
                    position = self._redraw(text, position)

    def _redraw(self, text: str, position: int) -> int:
        """Write what is returned over again at once, to be quick with long progress; return its end.

        Of texts written one over the other, a later one hides an earlier one as far as it reaches.
        """
        found = _REDRAWN.match(text, position)
        states = found[0][:-1].split("\r") if found else []
        if not found or max(map(len, states)) > COLUMNS:
            return position
        shown = ""
        for state in reversed(states):
            if len(state) > len(shown):
                shown += state[len(shown) :]
        self._put(shown)
        self._to_column(0)
        return found.end()

    def _obey(self, special: re.Match[str]) -> None:
        match special.lastgroup:
            case "command":
                self._command(special["command"], special["parameters"])
            case "string":
                self._in_string = True
            case "back":
                self._to_column(self._at() - len(special["back"]))
            case "control" if special["control"] == "\r":
                self._to_column(0)
            case "control" if special["control"] in "\v\f":
                self._write("\n")
            case "escape" if special["escape"] == "M":
                self._to_row(self._row - 1)

    def _command(self, command: str, parameters: str) -> None:
        first, _, second = parameters.partition(";")
        number = int(first or 0)
        count = max(number, 1)
        match command:
            case "A":
                self._to_row(self._row - count)
            case "B":
                self._to_row(self._row + count)
            case "C":
                self._to_column(self._at() + count)
            case "D":
                self._to_column(self._at() - count)
            case "E" | "F":
                self._to_row(self._row + (count if command == "E" else -count))
                self._to_column(0)
            case "G":
                self._to_column(count - 1)
            case "H" | "f":
                self._to_row(count - 1)
                self._to_column(max(int(second.partition(";")[0] or 0), 1) - 1)
            case "J":
                self._erase_rows(number)
            case "K":
                self._erase_columns(number)

    def _at(self) -> int:
        if self._column is None:
            row = self._rows[self._row]
            self._column = len(row.text) if _NARROW.fullmatch(row.text) else len(row.edited())
        return self._column

    def _to_column(self, column: int) -> None:
        self._column = (
            None if self._rows[self._row].empty and column <= 0 else min(max(column, 0), COLUMNS - 1)
        )

    def _to_row(self, row: int) -> None:
        column = self._at()
        self._row = min(max(row, 0), ROWS - 1)
        self._rows += [_Row() for _ in range(self._row + 1 - len(self._rows))]
        self._to_column(column)

    def _erase_columns(self, which: int) -> None:
        column = self._at()
        cells = self._rows[self._row].edited()
        if which in (0, 2):
            del cells[column if which == 0 else 0 :]
        elif which == 1:
            cells[: column + 1] = [" "] * min(column + 1, len(cells))

    def _erase_rows(self, which: int) -> None:
        self._erase_columns(min(which, 2))
        if which != 1:
            del self._rows[self._row + 1 :]
        if which != 0:
            self._rows[: self._row] = [_Row() for _ in range(self._row)]

    def _write(self, text: str) -> None:
        """Write characters and newlines where the cursor is."""
        while self._row < len(self._rows) - 1 and text:
            line, newline, text = text.partition("\n")
            self._put(line)
            if newline:
                self._newline()
        line, newline, text = text.partition("\n")
        self._put(line)
        if not newline:
            return
        lines = text.rsplit("\n", ROWS)
        if len(lines) > ROWS:  # the cursor never comes back to what is older than that
            self._leave(len(self._rows))
            self._out += [lines[0], "\n"]
            del lines[0]
        for line in lines:
            starts = range(0, len(line), COLUMNS) or [0]
            self._rows += [_Row(line[start : start + COLUMNS], "") for start in starts]
            self._rows[-1].end = "\n"
        self._row, self._column = len(self._rows) - 1, None
        self._leave(len(self._rows) - ROWS)

    def _put(self, run: str) -> None:
        position = 0
        while position < len(run):
            row = self._rows[self._row]
            if self._column is None and row.cells is None:
                part = run[position : position + COLUMNS - len(row.text)]
                row.text += part
                written = len(part)
                full = position + written < len(run)
            else:
                part = run[position : position + COLUMNS]
                self._column, written = _overwrite(row.edited(), self._at(), part, limit=COLUMNS)
                full = written < len(part)
            position += written
            if full:
                if self._row == len(self._rows) - 1:
                    row.end = ""
                self._newline()

    def _newline(self) -> None:
        self._row += 1
        if self._row == len(self._rows):
            self._rows.append(_Row())
            self._leave(len(self._rows) - ROWS)
        self._column = None
        self._to_column(0)

    def _leave(self, count: int) -> None:
        """Let the first *count* rows out at the top."""
        if count > 0:
            self._out += [part for row in self._rows[:count] for part in (str(row), row.end)]
            del self._rows[:count]
            self._row -= count


def _is_plain(text: str) -> bool:
    if text.isascii():  # several times faster than the search
        return len(text.encode().translate(None, _NOT_PLAIN_ASCII)) == len(text)
    return _NOT_PLAIN.search(text) is None


def _overwrite(cells: list[str], column: int, run: str, *, limit: int) -> tuple[int, int]:
    """Write *run* from *column* on, up to the column *limit*; return the new column and what was written.

    A wide character takes two cells, the second one empty; a combining one joins the cell before it.
    """
    if column > len(cells):
        cells += [" "] * (column - len(cells))
    written = 0
    while written < len(run) and column < limit:
        if narrow := _NARROW.match(run, written, written + limit - column)[0]:  # type: ignore[index]
            added = list(narrow)
        else:
            character, width = run[written], _width(run[written])
            before = column - 1 if column < 2 or cells[column - 1] else column - 2
            if width == 0 and before >= 0 and len(cells[before]) < CELL_CHARS:
                cells[before] += character
                written += 1
                continue
            added = [character, ""] if width == 2 else [character]
        _split_wide(cells, column)
        _split_wide(cells, column + len(added))
        cells[column : column + len(added)] = added
        column += len(added)
        written += len(narrow) or 1
    return column, written


def _split_wide(cells: list[str], column: int) -> None:
    """Blank the wide character, if any, that *column* would cut in two."""
    if 0 < column < len(cells) and not cells[column]:
        cells[column - 1 : column + 1] = [" ", " "]


def _width(character: str) -> int:
    if unicodedata.east_asian_width(character) in "WF":
        return 2
    return 0 if unicodedata.category(character) in ("Mn", "Me", "Cf") else 1
