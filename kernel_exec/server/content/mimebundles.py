"""What a reader sees of a mimebundle, and which part of it is the whole."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kernel_exec.server.content import charts
from kernel_exec.server.content.images import Unreadable, image_size, svg_size
from kernel_exec.server.content.markup import html_text

__all__ = ["Bundle", "Kind", "Shown", "bytes_of", "in_bytes", "present", "text_of", "whole"]

MAX_JSON_CHARS = 2_000
SVG = "image/svg+xml"
WIDGET = "application/vnd.jupyter.widget-view+json"

_MIME = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,80}")
_VEGA = re.compile(r"application/vnd\.vega(lite)?\.v\d+(\.|\+)json")
_RASTER = re.compile(r"image/(?!svg)")
_BINARY = re.compile(r"(image/(?!svg)|audio/|video/|application/(pdf|zip|octet-stream))")
_AUDIO_URI = re.compile(r"[\"']data:(audio/[\w.+-]{1,60});base64,([A-Za-z0-9+/=\s]+)[\"']")
# What stands in text/plain when the class has no better: `<Figure size 640x480 with 1 Axes>`
_BARE = re.compile(r"\s*(<[^<>]{0,500}>|alt\.\w*Chart\(\.\.\.\)|)\s*\Z")
_DRAWN = re.compile(r"<(script|svg|canvas|object|math)\b", re.IGNORECASE)
_WHOLE = (
    *("application/vnd.plotly", "application/vnd.vega", "application/vnd.jupyter.widget-view", SVG),
    *("application/pdf", "image/", "audio/", "video/", "application/javascript", "text/html", "text/latex"),
    *("text/markdown", "application/", "text/"),
)

Bundle = Mapping[str, Any]
Kind = Literal["text", "image", "svg", "audio"]


@dataclass(frozen=True, slots=True)
class Shown:
    """*text* stands where the output was. *linked*: its whole says more than text and medium do."""

    text: str
    kind: Kind = "text"
    linked: bool = False


def present(index: int, data: Bundle) -> Shown:
    """What to show of the mimebundle that is output *index* of its execution; never raises."""
    try:
        return _chosen(index, data)
    except Exception as error:  # a bundle may hold anything: it must not cost the reader the rest
        return Shown(_label(index, f"display that cannot be read ({type(error).__name__})"), linked=True)


def _chosen(index: int, data: Bundle) -> Shown:
    plain = text_of(data.get("text/plain", ""))
    readable = "" if _BARE.match(plain) else plain
    summary = _summary(data)
    if raster := next((mime for mime in data if _RASTER.match(mime)), None):
        return _image(index, raster, data[raster], summary or readable, linked=bool(summary))
    if audio := _audio(data):
        return Shown(_label(index, f"{audio[0]}, {_size(len(bytes_of(audio[1])))}"), "audio")
    if SVG in data:
        return _svg(index, text_of(data[SVG]), readable)
    if summary:
        return Shown(_label(index, summary), linked=True)
    if WIDGET in data:
        return Shown(_label(index, f"widget, as it was created: {plain.strip()[:500]}"), linked=True)
    if readable:
        return Shown(readable)
    for mime in ("text/markdown", "text/latex"):
        if mime in data:
            return Shown(text_of(data[mime]))
    if "text/html" in data:
        html = text_of(data["text/html"])
        if text := html_text(html):
            return Shown(text, linked=True)
        # A page may be a mere place for something to come: nothing to tell.
        return Shown(_other(index, data), linked=True) if _DRAWN.search(html) else Shown("")
    if json_mime := next((mime for mime in data if mime.endswith("json")), None):
        text = text_of(data[json_mime])
        if len(text) <= MAX_JSON_CHARS:
            return Shown(text)
        return Shown(
            _label(index, f"{charts.json_summary(data[json_mime])}, {_size(len(text))}"), linked=True
        )
    if any(mime != "text/plain" for mime in data):
        return Shown(_other(index, data), linked=True)
    return Shown(plain)


def _summary(data: Bundle) -> str:
    """One line for what only a browser can draw, or nothing."""
    for mime, value in data.items():
        if mime.startswith("application/vnd.plotly"):
            return charts.plotly_summary(value)
        if _VEGA.match(mime):
            return charts.vega_summary(value)
    if script := text_of(data.get("application/javascript", "")):
        return charts.bokeh_summary(script)
    if spec := charts.vega_in_html(text_of(data.get("text/html", ""))):
        return charts.vega_summary(spec)
    return ""


def _image(index: int, mime: str, value: Any, readable: str, *, linked: bool) -> Shown:
    encoded = bytes_of(value)
    above = f"{readable}\n" if readable else ""
    try:
        width, height = image_size(encoded)
    except Unreadable as error:
        reason = f"{_clean_mime(mime)}, {_size(len(encoded))}, not shown: {error}"
        return Shown(above + _label(index, reason), linked=True)
    label = _label(index, f"{_clean_mime(mime)}, {width:,} x {height:,}, {_size(len(encoded))}")
    return Shown(above + label, "image", linked)


def _svg(index: int, svg: str, readable: str) -> Shown:
    size = svg_size(svg)
    pixels = f", {size[0]:,} x {size[1]:,}" if size else ""
    above = f"{readable}\n" if readable else ""
    return Shown(above + _label(index, f"{SVG}{pixels}, {_size(len(svg))}"), "svg", linked=True)


def _audio(data: Bundle) -> tuple[str, str] | None:
    """MIME type and base64 of a sound: `IPython.display.Audio` hides it in a page."""
    for mime in data:
        if mime.startswith("audio/"):
            return _clean_mime(mime), text_of(data[mime])
    html = text_of(data.get("text/html", ""))
    found = _AUDIO_URI.search(html) if "<audio" in html else None
    return (found[1], found[2]) if found else None


def _other(index: int, data: Bundle) -> str:
    content, mime = whole(data)
    return _label(index, f"{mime}, {_size(len(content))}")


def whole(data: Bundle) -> tuple[bytes | str, str]:
    """The part of a mimebundle that holds most, decoded, and its MIME type."""
    if audio := _audio(data):
        return bytes_of(audio[1]), audio[0]
    for prefix in _WHOLE:
        for mime, value in data.items():
            if mime.startswith(prefix):
                return (bytes_of(value) if _BINARY.match(mime) else text_of(value)), _clean_mime(mime)
    return json.dumps(dict(data), default=str), "application/json"


def in_bytes(data: Bundle, kind: Kind) -> tuple[bytes, str]:
    """The image or sound of a bundle that `present` called *kind*, and its MIME type."""
    if kind == "audio" and (audio := _audio(data)):
        return bytes_of(audio[1]), audio[0]
    mime = next(mime for mime in data if _RASTER.match(mime))
    return bytes_of(data[mime]), _clean_mime(mime)


def text_of(value: Any) -> str:
    """A value as text: notebooks have lists of lines, JSON types are values."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "".join(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def bytes_of(value: Any) -> bytes:
    """A value of base64 as bytes; what is no base64 as it is."""
    text = text_of(value)
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return text.encode("utf-8", "replace")


def _clean_mime(mime: str) -> str:
    return mime if _MIME.fullmatch(mime) else "application/octet-stream"


def _label(index: int, text: str) -> str:
    return f"[output {index}: {text}]"


def _size(count: int) -> str:
    """A number of bytes for people."""
    if count < 1_000:
        return f"{count} bytes"
    return f"{count / 1_000:.0f} KB" if count < 999_500 else f"{count / 1_000_000:.1f} MB"
