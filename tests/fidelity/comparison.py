"""Outputs in a form in which those of two runs of the same code are equal."""

import json
import re
from typing import Any

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
# Cells are files in the kernel's temporary directory, which in a sandbox is another one.
_CELL_FILE = re.compile(r"[^\s\"]*/ipykernel_\d+")
_WIDGET = re.compile(r"\b[0-9a-f]{32}\b")


def comparable(cells: list[Any], metadata: Any) -> tuple[list[Any], list[Any]]:
    """The outputs of each cell, and what output widgets caught."""
    outputs = [[_plain(output) for output in _joined(cell.outputs)] for cell in cells]
    state = metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    caught = [
        [_plain(output) for output in _joined(model["state"]["outputs"])]
        for model in state.values()
        if model["model_name"] == "OutputModel"
    ]
    numbers: dict[str, str] = {}
    text = _WIDGET.sub(
        lambda match: numbers.setdefault(match[0], f"widget {len(numbers)}"), json.dumps(outputs)
    )
    return json.loads(text), sorted(caught, key=json.dumps)


def _joined(outputs: list[Any]) -> list[Any]:
    """How a stream is cut into messages is a matter of time."""
    joined: list[Any] = []
    for output in json.loads(json.dumps(outputs)):
        if output["output_type"] == "error" and not output["traceback"]:
            # IPython writes an exception group to stderr; that it is an error, only the reply says.
            continue
        last = joined[-1] if joined else {}
        if output["output_type"] == "stream" == last.get("output_type") and output["name"] == last["name"]:
            last["text"] += output["text"]
        else:
            joined.append(output)
    return joined


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        value = _ADDRESS.sub("0x…", _ANSI.sub("", value))
        return _CELL_FILE.sub("(cell)", value) if "/ipykernel_" in value else value  # slow on images
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
