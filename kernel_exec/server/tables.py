"""Small tables of plain text."""

from collections.abc import Sequence

__all__ = ["NONE", "counted", "mebibytes", "seconds", "table"]

NONE = "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell, two spaces between them."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def counted(number: int, noun: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def mebibytes(count: int | None) -> str:
    """A size for people; a dash when there is none."""
    return NONE if count is None else f"{count / 2**20:,.0f} MiB"


def seconds(count: float | None) -> str:
    """A duration for people, in its one or two largest units."""
    if count is None:
        return NONE
    if count < 60:
        return f"{count:.1f} s" if count < 10 else f"{count:.0f} s"
    minutes, rest = divmod(int(count), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
