"""One line for what only a browser can draw: kind, marks, title, size."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["bokeh_summary", "json_summary", "plotly_summary", "vega_in_html", "vega_summary"]

MAX_TITLE_CHARS = 120

_VEGA_CALL = re.compile(r"\}\)\((?=\{)")
_BOKEH_DOCUMENTS = re.compile(r"docs_json\s*=\s*(?=\{)")
_BOKEH_GLYPH = re.compile(r'"glyph":\{"type":"object","name":"(\w+)"')


def plotly_summary(figure: Any) -> str:
    """Of `application/vnd.plotly.v1+json`."""
    traces, layout = _list(_get(figure, "data")), _get(figure, "layout")
    kinds = _counted(str(_get(trace, "type") or "scatter") for trace in traces)
    return _line("Plotly figure", _get(layout, "title"), kinds, _size(layout))


def vega_summary(spec: Any) -> str:
    """Of Vega and Vega-Lite specifications."""
    kind = "Vega chart" if "/vega/" in str(_get(spec, "$schema")) else "Vega-Lite chart"
    rows = sum(len(_list(values)) for values in _mapping(_get(spec, "datasets")).values())
    marks = _counted(_marks(spec))
    title = next(filter(None, (_get(view, "title") for view in _views(spec))), None)
    return _line(kind, title, marks, f"{rows:,} rows" if rows else "", _size(spec))


def vega_in_html(html: str) -> Any:
    """The specification in the page that Altair displays; None when there is none."""
    return _json_after(_VEGA_CALL, html) if "vega" in html else None


def bokeh_summary(script: str) -> str:
    """Of the script that Bokeh displays: a document, or the loader when there is none."""
    documents = _mapping(_json_after(_BOKEH_DOCUMENTS, script))
    if not documents:
        return "BokehJS loader" if "bokeh" in script[:2_000].lower() else ""
    roots = [root for document in documents.values() for root in _list(_get(document, "roots"))]
    glyphs = _counted(_BOKEH_GLYPH.findall(json.dumps(roots, separators=(",", ":"))))
    titles = (_get(_get(_get(_get(root, "attributes"), "title"), "attributes"), "text") for root in roots)
    kinds = _counted(str(_get(root, "name")) for root in roots)
    return _line("Bokeh document", next(filter(None, titles), None), kinds, glyphs)


def json_summary(value: Any) -> str:
    """Of JSON too long to show."""
    if isinstance(value, Mapping):
        keys = ", ".join(_short(key, 40) for key in list(value)[:12])
        return f"JSON object, {len(value):,} keys: {keys}{', …' if len(value) > 12 else ''}"
    if isinstance(value, list):
        return f"JSON array, {len(value):,} items"
    return f"JSON {type(value).__name__}"


def _line(kind: str, title: Any, *details: str) -> str:
    title = _get(title, "text") if isinstance(title, Mapping) else title
    title = " ".join(map(str, title)) if isinstance(title, list) else title
    named = f"{kind} {_short(title)!r}" if title else kind
    given = ", ".join(detail for detail in details if detail)
    return f"{named}: {given}" if given else named


def _views(spec: Any, depth: int = 0) -> Iterable[Any]:
    """*spec* and the views that it is composed of."""
    yield spec
    if depth < 10:
        for key in ("layer", "hconcat", "vconcat", "concat", "spec"):
            inner = _get(spec, key)
            for view in [inner] if isinstance(inner, Mapping) else _list(inner):
                yield from _views(view, depth + 1)


def _marks(spec: Any) -> Iterable[str]:
    for view in _views(spec):
        if mark := _get(view, "mark"):
            yield str(_get(mark, "type") if isinstance(mark, Mapping) else mark)
    for mark in _list(_get(spec, "marks")):
        yield str(_get(mark, "type"))


def _counted(kinds: Iterable[str]) -> str:
    counts = Counter(_short(kind, 40) for kind in kinds)
    return ", ".join(kind if count == 1 else f"{count:,} x {kind}" for kind, count in counts.most_common(8))


def _size(given: Any) -> str:
    width, height = _get(given, "width"), _get(given, "height")
    return f"{_short(width, 20)} x {_short(height, 20)}" if width and height else ""


def _json_after(pattern: re.Pattern[str], text: str) -> Any:
    """The JSON value that begins where *pattern* ends; None when there is none."""
    found = pattern.search(text)
    try:
        return json.JSONDecoder().raw_decode(text, found.end())[0] if found else None
    except ValueError:
        return None


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _short(value: Any, limit: int = MAX_TITLE_CHARS) -> str:
    text = " ".join(str(value)[: 4 * limit].split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
