"""Images made to fit a reply, with Pillow; and SVG drawn, where CairoSVG is installed."""

import importlib
import re
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

__all__ = ["Fitted", "Unreadable", "drawn_svg", "fit_image", "image_size", "svg_size"]

MAX_PIXELS = 50_000_000  # drawn in memory at four bytes each; more is refused
MAX_SVG_CHARS = 5_000_000
SHORTEST_SIDE = 16
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")


class Unreadable(Exception):
    """Data that is no image, is broken, or too large to draw; the text says which."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """An image as a reply has it. *changed* says that it is not the original."""

    data: bytes
    mime: str
    changed: bool


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header alone.

    Raises: Unreadable.
    """
    with _opened(data) as image:
        return image.size


def fit_image(data: bytes, limit_bytes: int, limit_pixels: int) -> Fitted:
    """The image in at most *limit_bytes* and *limit_pixels* on its long side, as PNG or JPEG.

    As it is where it fits; else smaller, then with 256 colours, then as JPEG, then smaller still. Of an
    animation the first frame.

    Raises: Unreadable.
    """
    with _opened(data) as image:
        kind = image.format
        try:
            small = max(image.size) <= limit_pixels
            if not small:
                image.draft("RGB", (limit_pixels, limit_pixels))  # JPEG: decode at about that size
            image.load()
            if small and len(data) <= limit_bytes and kind in ("PNG", "JPEG") and image.mode != "CMYK":
                return Fitted(data, f"image/{kind.lower()}", changed=False)
            return _shrunk(_plain_mode(image), limit_bytes, limit_pixels)
        except _BROKEN as error:
            raise Unreadable(_reason(error)) from error


def _shrunk(image: Image.Image, limit_bytes: int, limit_pixels: int) -> Fitted:
    if max(image.size) > limit_pixels:
        image.thumbnail((limit_pixels, limit_pixels), Image.Resampling.LANCZOS, reducing_gap=2.0)
    for encode in (_png, _palette_png):
        encoded = encode(image)
        if len(encoded) <= limit_bytes:
            return Fitted(encoded, "image/png", changed=True)
        if len(encoded) > 8 * limit_bytes:
            break  # a photograph: 256 colours take time and will not do
    while len(encoded := _jpeg(image)) > limit_bytes:
        scale = min(0.9, 0.95 * (limit_bytes / len(encoded)) ** 0.5)
        width, height = (max(1, int(side * scale)) for side in image.size)
        if max(width, height) < SHORTEST_SIDE:
            raise Unreadable(f"it does not fit into {limit_bytes:,} bytes")
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return Fitted(encoded, "image/jpeg", changed=True)


def _png(image: Image.Image) -> bytes:
    return _saved(image, "PNG")


def _palette_png(image: Image.Image) -> bytes:
    method = Image.Quantize.FASTOCTREE if image.mode == "RGBA" else Image.Quantize.MEDIANCUT
    return _saved(image.quantize(256, method=method), "PNG")


def _jpeg(image: Image.Image) -> bytes:
    if image.mode == "RGBA":
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image.getchannel("A"))
        image = paper
    return _saved(image, "JPEG", quality=75)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _plain_mode(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB", "RGBA"):
        return image
    if image.mode.startswith("I"):  # 16 bits a pixel, most often; converting alone would clip it to white
        return image.point(lambda value: value / 256).convert("L")
    transparent = "A" in image.getbands() or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")


# What Pillow's decoders raise for broken data, besides its own UnidentifiedImageError (an OSError).
# DecompressionBombWarning is raised where warnings are errors.
_BROKEN = (
    *(
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        OverflowError,
        MemoryError,
    ),
    *(ZeroDivisionError, Image.DecompressionBombError, Image.DecompressionBombWarning),
)


def _opened(data: bytes) -> Image.Image:
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except _BROKEN as error:
        raise Unreadable(_reason(error)) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise Unreadable(f"{width:,} x {height:,} pixels are too many to draw")
    return image


def _reason(error: BaseException) -> str:
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning | MemoryError):
        return "it has too many pixels to draw"
    return "the data are broken or no image"


_SVG_TAG = re.compile(r"<svg\b[^>]*>", re.IGNORECASE)
_LENGTH = re.compile(r"\s(width|height)\s*=\s*[\"']\s*([\d.]+)\s*(px|pt)?\s*[\"']")
_VIEW_BOX = re.compile(r"\sviewBox\s*=\s*[\"']\s*[-\d.]+[\s,]+[-\d.]+[\s,]+([\d.]+)[\s,]+([\d.]+)")


def svg_size(svg: str) -> tuple[int, int] | None:
    """Width and height in pixels as the drawing itself states them; None when it does not."""
    tag = _SVG_TAG.search(svg[:20_000])
    if tag is None:
        return None
    lengths = {name: (number, unit) for name, number, unit in _LENGTH.findall(tag[0])}
    view_box = _VIEW_BOX.search(tag[0])
    try:
        if len(lengths) == 2:
            width, height = (
                float(number) * (4 / 3 if unit == "pt" else 1)
                for number, unit in (lengths["width"], lengths["height"])
            )
        elif view_box:
            width, height = float(view_box[1]), float(view_box[2])
        else:
            return None
    except ValueError:
        return None
    return round(width), round(height)


def drawn_svg(svg: str, limit_pixels: int) -> bytes:
    """The drawing as PNG, its long side at most *limit_pixels*; nothing outside of it is read.

    Raises: Unreadable, also when CairoSVG is not installed.
    """
    try:
        cairosvg = importlib.import_module("cairosvg")
    except (ImportError, OSError) as error:  # OSError: the Cairo library itself is missing
        raise Unreadable("cairosvg, which draws it, is not installed") from error
    if len(svg) > MAX_SVG_CHARS:
        raise Unreadable(f"{len(svg):,} characters are too many to draw")
    width, height = svg_size(svg) or (limit_pixels, limit_pixels)
    scale = min(1.0, limit_pixels / max(width, height, 1))
    try:  # by itself CairoSVG resolves no entity and fetches nothing but data URIs
        png = cairosvg.svg2png(
            bytestring=svg.encode("utf-8", "replace"),
            output_width=max(1, round(width * scale)),
            output_height=max(1, round(height * scale)),
        )
    except Exception as error:  # whatever its parsers raise: the SVG is the user's
        raise Unreadable("the drawing is broken") from error
    return bytes(png)
