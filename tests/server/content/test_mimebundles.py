import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_exec.server.content.mimebundles import present, whole

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mP8/x8AAwMCAO+ip1sAAAAASUVORK5CYII="
FRAME_HTML = '<div>\n<style scoped>\n    .dataframe tbody tr th {\n        vertical-align: top;\n    }\n</style>\n<table border="1" class="dataframe">\n  <thead>\n    <tr style="text-align: right;">\n      <th></th>\n      <th>a</th>\n    </tr>\n  </thead>\n  <tbody>\n    <tr>\n      <th>0</th>\n      <td>1</td>\n    </tr>\n  </tbody>\n</table>\n</div>'
PLOTLY = {
    "data": [{"type": "scatter", "x": {"dtype": "i1", "bdata": "AQI="}}, {"type": "bar"}, {"type": "bar"}],
    "layout": {"template": {}, "title": {"text": "My plot"}, "width": 600, "height": 400},
}
VEGA_LITE = {
    "$schema": "https://vega.github.io/schema/vega-lite/v6.4.1.json",
    "layer": [{"mark": {"type": "bar"}, "title": "T"}, {"mark": "line"}],
    "datasets": {"data-c05": [{"a": 1}, {"a": 2}]},
}
ALTAIR_HTML = f'<div id="altair-viz-2"></div>\n<script type="text/javascript">\n  (function(spec, embedOpt){{ vegaEmbed }})({json.dumps(VEGA_LITE)}, {{"mode": "vega-lite"}});\n</script>'
BOKEH_DOCUMENT = '(function(root) {\n  const docs_json = {"c6d1":{"version":"3.9.2","roots":[{"type":"object","name":"Figure","attributes":{"title":{"type":"object","name":"Title","attributes":{"text":"bk"}},"renderers":[{"type":"object","name":"GlyphRenderer","attributes":{"glyph":{"type":"object","name":"Line"}}}]}}]}};\n'
AUDIO_HTML = '\n<audio  controls="controls" >\n<source src="data:audio/wav;base64,UklGRg==" type="audio/wav" />\nYour browser does not support the audio element.\n</audio>\n'


@pytest.mark.parametrize(
    ("bundle", "text", "kind", "linked"),
    [
        ({"text/plain": "42"}, "42", "text", False),
        ({"text/plain": ["a\n", "b"]}, "a\nb", "text", False),
        ({"text/plain": "   a\n0  1", "text/html": FRAME_HTML}, "   a\n0  1", "text", False),
        ({"text/plain": "<pandas.io.formats.style.Styler at 0x7f>", "text/html": FRAME_HTML}, "   a\n0  1", "text", True),
        ({"text/plain": "<IPython.core.display.HTML object>", "text/html": "<b>hi</b>"}, "hi", "text", True),
        ({"text/plain": "<IPython.core.display.Markdown object>", "text/markdown": "# hi\n*x*"}, "# hi\n*x*", "text", False),
        ({"text/plain": "<IPython.core.display.Math object>", "text/latex": "$x^2$"}, "$x^2$", "text", False),
        ({"text/plain": "x**2/3", "text/latex": "$\\frac{x^{2}}{3}$"}, "x**2/3", "text", False),
        ({"text/plain": "<class 'int'>"}, "<class 'int'>", "text", False),
        ({"text/plain": "<Figure size 1x1 with 0 Axes>", "image/png": PNG}, "[output 7: image/png, 1 x 1, 68 bytes]", "image", False),
        ({"image/png": "AAAA"}, "[output 7: image/png, 3 bytes, not shown: the data are broken or no image]", "text", True),
        ({"image/png": "no base64!"}, "[output 7: image/png, 10 bytes, not shown: the data are broken or no image]", "text", True),
        ({"image/svg+xml": '<svg width="10" height="20"></svg>'}, "[output 7: image/svg+xml, 10 x 20, 34 bytes]", "svg", True),
        ({"text/plain": "<IPython.lib.display.Audio object>", "text/html": AUDIO_HTML}, "[output 7: audio/wav, 4 bytes]", "audio", False),
        ({"audio/mpeg": "AAAA"}, "[output 7: audio/mpeg, 3 bytes]", "audio", False),
        ({"application/vnd.plotly.v1+json": PLOTLY, "text/plain": "Figure({...})"}, "[output 7: Plotly figure 'My plot': 2 x bar, scatter, 600 x 400]", "text", True),
        ({"application/vnd.plotly.v1+json": PLOTLY, "image/png": PNG}, "Plotly figure 'My plot': 2 x bar, scatter, 600 x 400\n[output 7: image/png, 1 x 1, 68 bytes]", "image", True),
        ({"application/vnd.vegalite.v6.json": VEGA_LITE, "text/plain": "<VegaLite 6 object>\n\nIf you see this"}, "[output 7: Vega-Lite chart 'T': bar, line, 2 rows]", "text", True),
        ({"application/vnd.vegalite.v5+json": VEGA_LITE}, "[output 7: Vega-Lite chart 'T': bar, line, 2 rows]", "text", True),
        ({"text/plain": "alt.LayerChart(...)", "text/html": ALTAIR_HTML}, "[output 7: Vega-Lite chart 'T': bar, line, 2 rows]", "text", True),
        ({"application/javascript": BOKEH_DOCUMENT, "application/vnd.bokehjs_exec.v0+json": ""}, "[output 7: Bokeh document 'bk': Figure, Line]", "text", True),
        ({"application/vnd.jupyter.widget-view+json": {"model_id": "c4"}, "text/plain": "IntSlider(value=3)"}, "[output 7: widget, as it was created: IntSlider(value=3)]", "text", True),
        ({"application/javascript": "alert(1)", "text/plain": "<IPython.core.display.Javascript object>"}, "[output 7: application/javascript, 8 bytes]", "text", True),
        ({"application/json": {"a": [1, 2]}, "text/plain": "<IPython.core.display.JSON object>"}, '{"a": [1, 2]}', "text", False),
        ({"application/json": {"rows": ["x" * 3_000]}}, "[output 7: JSON object, 1 keys: rows, 3 KB]", "text", True),
        ({"application/pdf": "JVBERi0="}, "[output 7: application/pdf, 5 bytes]", "text", True),
        ({"text/html": '<div id="d4853bff" data-root-id="p1008"></div>'}, "", "text", False),
        ({"text/html": "<script>draw()</script>"}, "[output 7: text/html, 23 bytes]", "text", True),
        ({}, "", "text", False),
    ],
)  # fmt: skip
def test_a_reader_sees_the_best_that_text_can_say(
    bundle: dict[str, Any], text: str, kind: str, linked: bool
) -> None:
    shown = present(7, bundle)
    assert (shown.text, shown.kind, shown.linked) == (text, kind, linked)


@pytest.mark.parametrize(
    ("bundle", "content", "mime"),
    [
        ({"text/plain": "x", "text/html": "<b>x</b>"}, "<b>x</b>", "text/html"),
        ({"text/plain": "x", "image/png": PNG}, base64.b64decode(PNG), "image/png"),
        ({"image/png": PNG, "image/svg+xml": ["<svg>", "</svg>"]}, "<svg></svg>", "image/svg+xml"),
        ({"text/html": AUDIO_HTML}, b"RIFF", "audio/wav"),
        ({"text/html": "<p>", "application/vnd.plotly.v1+json": {"data": []}}, '{"data": []}', "application/vnd.plotly.v1+json"),
        ({"application/x y": "z"}, "z", "application/octet-stream"),
        ({}, "{}", "application/json"),
    ],
)  # fmt: skip
def test_the_whole_is_the_part_that_holds_most(
    bundle: dict[str, Any], content: bytes | str, mime: str
) -> None:
    assert whole(bundle) == (content, mime)


mimes = st.sampled_from(
    [
        *(
            "text/plain",
            "text/html",
            "text/latex",
            "image/png",
            "image/svg+xml",
            "audio/wav",
            "application/json",
        ),
        *(
            "application/vnd.plotly.v1+json",
            "application/vnd.vegalite.v6.json",
            "application/javascript",
            "x",
        ),
        "application/vnd.jupyter.widget-view+json",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["data", "layout", "title", "mark", "layer", "type", "$schema"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(mimes, values, max_size=4))
def test_no_bundle_whatever_it_holds_is_an_error(bundle: dict[str, Any]) -> None:
    shown = present(0, bundle)
    assert "cannot be read" not in shown.text
    whole(bundle)


def test_a_megabyte_of_json_never_gets_into_a_reply() -> None:
    figure = {
        "data": [{"type": "t" * 10_000, "x": list(range(100_000))}] * 20,
        "layout": {"title": "x" * 1_000_000},
    }
    for mime in ("application/vnd.plotly.v1+json", "application/vnd.vega.v5+json", "application/json"):
        assert len(present(0, {mime: figure}).text) < 1_000
