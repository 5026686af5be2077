import random
from io import BytesIO

import pytest
from PIL import Image

from kernel_exec.server.content import images
from kernel_exec.server.content.images import Unreadable, drawn_svg, fit_image, image_size, svg_size


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    data = random.Random(1).randbytes(width * height * len(mode))
    return Image.frombytes(mode, (width, height), data)


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


def test_an_image_that_fits_is_not_touched() -> None:
    png = encoded(Image.new("RGB", (640, 480), "red"))
    fitted = fit_image(png, 700_000, 1_568)
    assert (fitted.data, fitted.mime, fitted.changed) == (png, "image/png", False)


def test_a_large_figure_is_scaled_to_the_long_side() -> None:
    fitted = fit_image(encoded(Image.new("RGB", (5_000, 4_000), "white")), 700_000, 1_568)
    assert opened(fitted.data).size == (1_568, 1_254)
    assert fitted.changed


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("limit", [5_000, 60_000, 400_000])
def test_an_image_never_takes_more_than_the_limit(mode: str, limit: int) -> None:
    fitted = fit_image(encoded(noise(900, 700, mode)), limit, 1_568)
    assert len(fitted.data) <= limit
    opened(fitted.data).load()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "BMP", "TIFF"])
def test_other_formats_become_png(kind: str) -> None:
    fitted = fit_image(encoded(Image.new("RGB", (20, 20), "blue"), kind), 700_000, 1_568)
    assert (fitted.mime, opened(fitted.data).format, fitted.changed) == ("image/png", "PNG", True)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "CMYK", "I;16", "I", "F", "YCbCr"])
def test_every_mode_can_be_scaled(mode: str) -> None:
    image = Image.new(mode, (200, 100))
    kind = "PNG" if mode in ("1", "P", "LA", "I;16") else "TIFF"
    assert opened(fit_image(encoded(image, kind), 700_000, 64).data).size == (64, 32)


def test_sixteen_bits_a_pixel_keep_their_shades() -> None:
    grey = Image.new("I;16", (200, 200), 32_768)
    assert abs(opened(fit_image(encoded(grey), 700_000, 64).data).getpixel((5, 5)) - 128) < 3


PNG = encoded(noise(50, 50))


@pytest.mark.parametrize(
    "data", [b"", b"no image", PNG[:30], PNG[:500], PNG[:40] + bytes(900), b"GIF89a", PNG[:8]]
)
def test_broken_data_is_unreadable_and_nothing_else(data: bytes) -> None:
    with pytest.raises(Unreadable):
        fit_image(data, 700_000, 1_568)


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = encoded(Image.new("1", (12_000, 12_000)))
    assert len(bomb) < 100_000
    with pytest.raises(Unreadable, match="too many"):
        fit_image(bomb, 700_000, 1_568)
    with pytest.raises(Unreadable, match="too many"):
        image_size(encoded(Image.new("1", (9_000, 8_000))))


@pytest.mark.parametrize(
    ("tag", "size"),
    [
        ('<svg width="10" height="20">', (10, 20)),
        ('<?xml version="1.0"?>\n<svg width="400.5pt" height="300pt" viewBox="0 0 1 1">', (534, 400)),
        ("<svg viewBox='0 0 300 150'>", (300, 150)),
        ('<svg width="100%" height="100%">', None),
        ("<svg>", None),
        ("", None),
    ],
)
def test_the_size_of_a_drawing_is_what_it_states(tag: str, size: tuple[int, int] | None) -> None:
    assert svg_size(tag) == size


def test_without_cairosvg_a_drawing_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(images.importlib, "import_module", missing)
    with pytest.raises(Unreadable, match="cairosvg"):
        drawn_svg("<svg/>", 100)


def test_with_cairosvg_a_drawing_becomes_png_and_reads_no_file() -> None:
    pytest.importorskip("cairosvg")
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="3000" height="1500">{}</svg>'
    assert opened(drawn_svg(svg.format("<rect width='9' height='9'/>"), 300)).size == (300, 150)
    with pytest.raises(Unreadable):
        drawn_svg("<svg", 300)
    drawn_svg(svg.format('<image href="file:///etc/hostname" width="9" height="9"/>'), 300)
