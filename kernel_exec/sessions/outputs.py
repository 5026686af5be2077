"""What an execution put out, as values: stream, display_data, execute_result, error."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["DisplayData", "Error", "ExecuteResult", "Output", "Stream", "Text"]

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Text:
    """Text of any length: small ones in memory, large ones in a file of UTF-8.

    *size_bytes* is the length in UTF-8. A file may still grow; what lies past *size_bytes* is not part
    of this value.
    """

    head: str
    path: Path | None = None
    size_bytes: int = 0

    @classmethod
    def of(cls, text: str) -> "Text":
        """A text that is in memory."""
        return cls(text, None, len(text.encode("utf-8", "replace")))

    def chunks(self) -> Iterator[str]:
        """The text in pieces of about a megabyte; never more than that in memory.

        Raises: OSError when the file is gone.
        """
        if self.path is None:
            yield self.head
            return
        with self.path.open("rb") as file:
            left, rest = self.size_bytes, b""
            while left > 0 and (read := file.read(min(CHUNK_BYTES, left))):
                left -= len(read)
                piece = rest + read
                cut = _character_end(piece) if left > 0 else len(piece)
                rest = piece[cut:]
                yield piece[:cut].decode("utf-8", "replace")

    def __str__(self) -> str:
        return "".join(self.chunks())


def _character_end(data: bytes) -> int:
    """The length of *data* without a last character that is not all there."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if back < width else len(data)
    return len(data)


@dataclass(frozen=True, slots=True)
class Stream:
    """Text that the code wrote to `stdout` or `stderr`; neighbours of one name are one stream."""

    name: str
    content: Text

    @property
    def text(self) -> str:
        """The whole text, in memory."""
        return str(self.content)


@dataclass(frozen=True, slots=True)
class DisplayData:
    """A mimebundle that the code displayed. Binary media are base64, as Jupyter has them."""

    data: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    display_id: str | None = None


@dataclass(frozen=True, slots=True)
class ExecuteResult:
    """The value of the last expression, as a mimebundle."""

    data: Mapping[str, Any]
    count: int
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Error:
    """The exception that ended the code. *traceback* has ANSI colours, as IPython writes it."""

    name: str
    value: str
    traceback: tuple[str, ...]


Output = Stream | DisplayData | ExecuteResult | Error
