"""Head and tail of a text of any length, read once and never held whole."""

import json

__all__ = ["Clip", "json_bytes"]


def json_bytes(text: str) -> int:
    """How many bytes *text* takes in JSON of the most wasteful kind: all ASCII, the rest escaped."""
    return len(json.dumps(text))


class Clip:
    """What a reader gets of a text: at most *size* characters, and what is missing in between.

    From *offset* 0 that is the head and the tail, from another one a continuous piece. Offsets count
    characters of the whole text, so pieces from successive offsets make up the whole.
    """

    def __init__(self, size: int, offset: int = 0) -> None:
        self.size = size
        self.offset = offset
        self.total = 0
        self._piece: list[str] = []
        self._piece_chars = 0
        self._tail: list[str] = []
        self._tail_chars = 0
        self._ended = True

    def add(self, text: str) -> None:
        """Take the next characters of the whole."""
        if not text:
            return
        start = max(0, self.offset - self.total)
        if start < len(text) and (missing := self.size - self._piece_chars) > 0:
            self._piece.append(text[start : start + missing])
            self._piece_chars += len(self._piece[-1])
        self._tail.append(text[-self.size :])
        self._tail_chars += len(self._tail[-1])
        if self._tail_chars > 4 * self.size:
            self._tail = ["".join(self._tail)[-self.size :]]
            self._tail_chars = self.size
        self.total += len(text)
        self._ended = text.endswith("\n")

    def end_line(self) -> None:
        """Begin a new line, unless one begins here anyway."""
        if not self._ended:
            self.add("\n")

    def parts(self, limit: int) -> tuple[str, int, str]:
        """Head, how many characters are left out after it, and tail; *limit* is at most *size*."""
        piece = "".join(self._piece)
        if self.offset:
            piece = piece[:limit]
            return piece, max(0, self.total - self.offset - len(piece)), ""
        if self.total <= limit:
            return piece, 0, ""
        head = piece[: limit * 3 // 5]
        wanted = limit - len(head)
        tail = "".join(self._tail)[-wanted:] if wanted else ""
        return head, self.total - len(head) - len(tail), tail

    def text(self, limit: int, execution: str) -> str:
        """The parts with a marker for what is left out, naming the call that brings it."""
        head, left_out, tail = self.parts(limit)
        if not left_out:
            return head
        call = f'get_execution("{execution}", offset={self.offset + len(head)})'
        more = "left out" if tail or not self.offset else "follow"
        marker = f"[… {left_out:,} character{'s'[: left_out != 1]} {more}; {call} …]"
        return "\n".join(part for part in (head, marker, tail) if part)

    def end(self, limit: int) -> int:
        """The offset behind the last character shown."""
        head, left_out, tail = self.parts(limit)
        return self.total if tail or not left_out else self.offset + len(head)

    def next_offset(self, limit: int) -> int:
        """Where to read on while the text still grows: an unfinished line is read again."""
        end = self.end(limit)
        if end < self.total:
            return end
        line = "".join(self._tail).rpartition("\n")[2]
        return max(self.offset, end - len(line)) if len(line) < min(self.total, self.size) else end
