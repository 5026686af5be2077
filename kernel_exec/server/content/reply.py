"""Executions as the content of one reply: text, status line, images, sounds, links, under one limit."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from mcp.types import AudioContent, CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent

from kernel_exec.server.content import mimebundles
from kernel_exec.server.content.budget import Budget
from kernel_exec.server.content.clipping import Clip, json_bytes
from kernel_exec.server.content.images import Unreadable, drawn_svg, fit_image
from kernel_exec.server.content.resources import output_uri
from kernel_exec.server.content.status import plain_line, status_text
from kernel_exec.server.content.terminal import Terminal, show
from kernel_exec.server.content.tracebacks import traceback_text
from kernel_exec.sessions.execution import Execution, Status
from kernel_exec.sessions.outputs import Error, Stream

__all__ = ["REPLY_LIMIT_BYTES", "render", "render_many"]

# Clients refuse larger replies: the SDK's own takes no event of more than 1 MiB over HTTP.
REPLY_LIMIT_BYTES = 1_000_000
ENVELOPE_BYTES = 20_000
TEXT_LIMIT_BYTES = 600_000
LINK_BYTES, MAX_LINKS = 500, 32
BLOCK_BYTES = 300  # the JSON around an image or a sound
SMALLEST_IMAGE_BYTES = 4_000
NOTE_CHARS = 4_000
MAX_EXECUTIONS = 100

_FAILED: frozenset[Status] = frozenset({"error", "timeout", "interrupted", "died"})


def render(execution: Execution, budget: Budget, *, offset: int = 0, notice: str = "") -> CallToolResult:
    """The reply for one execution; `isError` when it failed, timed out, was interrupted or died.

    With *offset*, the text from there on, and only the images, sounds and links whose place in the
    text is in that piece. *notice* comes first. Reads large outputs from disk: call it in a thread.
    """
    return _reply([_read(execution, budget, offset)], budget, [notice] if notice else [])


def render_many(executions: Sequence[Execution], budget: Budget, summary: str = "") -> CallToolResult:
    """One reply for the executions of a notebook: *summary* first, then each with its status line.

    They share *budget*: short outputs whole, what is left for the long ones in equal parts. Of more
    than `MAX_EXECUTIONS` the first and the last are shown.
    """
    lines = [plain_line(summary, NOTE_CHARS)] if summary else []
    shown = list(executions)
    if (left_out := len(shown) - MAX_EXECUTIONS) > 0:
        half = MAX_EXECUTIONS // 2
        first, last = shown[half].id, shown[half + left_out - 1].id
        lines.append(
            f"[… {left_out:,} executions left out, {first} to {last}: see them with get_execution …]"
        )
        shown = shown[:half] + shown[-half:]
    reply = _reply([_read(execution, budget, 0) for execution in shown], budget, lines)
    reply.is_error = any(execution.status in _FAILED for execution in executions)
    return reply


@dataclass(frozen=True, slots=True)
class _Medium:
    """An output that is more than its text; *position* is where that text begins."""

    position: int
    index: int
    kind: mimebundles.Kind
    linked: bool


@dataclass(frozen=True, slots=True)
class _Reading:
    execution: Execution
    clip: Clip
    media: list[_Medium]


def _read(execution: Execution, budget: Budget, offset: int) -> _Reading:
    """Read all outputs once, keeping what the reply can need."""
    clip, media = Clip(budget.max_chars, offset), list[_Medium]()
    terminal = Terminal()  # one for stdout and stderr, as on a real one
    printed = ""
    for index, output in enumerate(execution.outputs):
        before, printed = printed, output.name if isinstance(output, Stream) else ""
        if isinstance(output, Stream):
            try:
                for chunk in output.content.chunks():
                    clip.add(terminal.feed(chunk))
            except OSError as error:
                clip.add(terminal.feed(f"\n[output {index}: its file cannot be read: {error.strerror}]\n"))
            continue
        clip.add(terminal.finish())
        terminal = Terminal()
        clip.end_line()
        if isinstance(output, Error):
            if before == "stderr" and not output.traceback:
                continue  # IPython has printed it: an exception group, a magic's usage
            text = traceback_text(output)
        else:
            shown = mimebundles.present(index, output.data)
            text = show(shown.text)
            if shown.linked or shown.kind != "text":
                media.append(_Medium(clip.total, index, shown.kind, shown.linked))
        clip.add(text)
        clip.end_line()
    clip.add(terminal.finish())
    return _Reading(execution, clip, media)


def _reply(readings: list[_Reading], budget: Budget, lines: list[str]) -> CallToolResult:
    max_chars = budget.max_chars
    while True:
        shares = _shares([reading.clip.total - reading.clip.offset for reading in readings], max_chars)
        text = "\n\n".join(
            [*lines, *map(_told, readings, shares, [NOTE_CHARS // len(readings) + 60] * len(shares))]
        )
        if (size := json_bytes(text)) <= TEXT_LIMIT_BYTES or max_chars == 0:
            break
        max_chars = min(max_chars - 1, max_chars * TEXT_LIMIT_BYTES // size)
    media = _Media(budget, REPLY_LIMIT_BYTES - ENVELOPE_BYTES - LINK_BYTES * MAX_LINKS - size)
    for reading, share in zip(readings, shares, strict=True):
        media.add(reading, share)
    content: list[ContentBlock] = [TextContent(text=text), *media.blocks()]
    return CallToolResult(
        content=content, is_error=any(reading.execution.status in _FAILED for reading in readings)
    )


def _told(reading: _Reading, share: int, note_chars: int) -> str:
    output = reading.clip.text(share, reading.execution.id).rstrip("\n")
    status = status_text(reading.execution, reading.clip.next_offset(share), note_chars)
    return f"{output}\n\n{status}" if output else status


def _shares(sizes: list[int], total: int) -> list[int]:
    """Divide *total* so that what asks for little gets all it asks for and the rest equal parts."""
    shares = [0] * len(sizes)
    for done, position in enumerate(sorted(range(len(sizes)), key=lambda position: sizes[position])):
        shares[position] = total // (len(sizes) - done)
        total -= min(shares[position], max(0, sizes[position]))
    return shares


class _Media:
    """Images, sounds and links of a reply, in *left* bytes of JSON."""

    def __init__(self, budget: Budget, left: int) -> None:
        self._budget = budget
        self._left = left
        self._images: list[tuple[Execution, _Medium]] = []
        self._sounds: list[tuple[Execution, _Medium]] = []
        self._links: dict[tuple[str, int], tuple[Execution, int]] = {}

    def add(self, reading: _Reading, share: int) -> None:
        clip, execution = reading.clip, reading.execution
        end = clip.end(share)
        for medium in reading.media:
            if clip.offset and not clip.offset <= medium.position < end:
                continue
            if medium.kind in ("image", "svg"):
                self._images.append((execution, medium))
            elif medium.kind == "audio":
                self._sounds.append((execution, medium))
            if medium.linked:
                self._link(execution, medium.index)
        if clip.total > share and not clip.offset:
            for index, output in enumerate(execution.outputs):
                if isinstance(output, Stream) and output.content.size_bytes > share:
                    self._link(execution, index)

    def blocks(self) -> list[ContentBlock]:
        notices, images = self._image_blocks()
        return [*notices, *images, *self._sound_blocks(), *self._link_blocks()]

    def _link(self, execution: Execution, index: int) -> None:
        self._links[execution.id, index] = execution, index

    def _image_blocks(self) -> tuple[list[ContentBlock], list[ContentBlock]]:
        notices, images = list[ContentBlock](), list[ContentBlock]()
        for done, (execution, medium) in enumerate(self._images):
            wanted = min(self._budget.max_images - len(images), len(self._images) - done)
            share = self._left // wanted if wanted > 0 else 0
            limit = min(self._budget.image_limit_bytes, (share - BLOCK_BYTES) * 3 // 4)
            if limit < SMALLEST_IMAGE_BYTES:
                self._link(execution, medium.index)
                continue
            try:
                fitted = fit_image(self._image(execution, medium), limit, self._budget.image_limit_pixels)
            except Unreadable as error:
                self._link(execution, medium.index)
                if medium.kind == "image" and len(notices) < self._budget.max_images:
                    notices.append(TextContent(text=f"[output {medium.index} is not shown: {error}]"))
                    self._left -= BLOCK_BYTES
                continue
            if fitted.changed:
                self._link(execution, medium.index)
            image = ImageContent(data=_base64(fitted.data), mime_type=fitted.mime)
            images.append(image)
            self._left -= len(image.data) + BLOCK_BYTES
        return notices, images

    def _image(self, execution: Execution, medium: _Medium) -> bytes:
        data = _bundle(execution, medium.index)
        if medium.kind == "svg":
            return drawn_svg(mimebundles.text_of(data[mimebundles.SVG]), self._budget.image_limit_pixels)
        return mimebundles.in_bytes(data, "image")[0]

    def _sound_blocks(self) -> list[ContentBlock]:
        sounds = list[ContentBlock]()
        for execution, medium in self._sounds:
            data, mime = mimebundles.in_bytes(_bundle(execution, medium.index), "audio")
            size = len(data) * 4 // 3 + BLOCK_BYTES
            if len(data) > self._budget.image_limit_bytes or size > self._left:
                self._link(execution, medium.index)
                continue
            sounds.append(AudioContent(data=_base64(data), mime_type=mime))
            self._left -= size
        return sounds

    def _link_blocks(self) -> list[ContentBlock]:
        links = list[ContentBlock]()
        for execution, index in list(self._links.values())[:MAX_LINKS]:
            links.append(_resource_link(execution, index))
        if (more := len(self._links) - MAX_LINKS) > 0:
            where = output_uri("{execution}", "{index}")
            links[-1] = TextContent(text=f"[{more + 1:,} more outputs are whole at {where}]")
        return links


def _resource_link(execution: Execution, index: int) -> ResourceLink:
    output = execution.outputs[index]
    if isinstance(output, Stream):
        mime, size = "text/plain", output.content.size_bytes
    else:
        content, mime = mimebundles.whole(_bundle(execution, index))
        size = len(content.encode("utf-8", "replace") if isinstance(content, str) else content)
    name = f"output {index} of {execution.id}"
    return ResourceLink(uri=output_uri(execution.id, index), name=name, mime_type=mime, size=size)


def _bundle(execution: Execution, index: int) -> mimebundles.Bundle:
    output = execution.outputs[index]
    return {} if isinstance(output, Stream | Error) else output.data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
