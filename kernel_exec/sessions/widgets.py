"""The state of Jupyter widgets, as a notebook keeps it.

https://github.com/jupyter-widgets/ipywidgets/tree/main/packages/schema
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

from kernel_exec.kernels import Message
from kernel_exec.sessions.database import Database
from kernel_exec.sessions.output_log import encode

__all__ = ["WIDGET_STATE", "WidgetLog"]

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


class WidgetLog:
    """The widgets of each session, written down as they change. One that was closed stays: its output is
    in the notebook still.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, session: int, message: Message) -> None:
        """Take the state out of a comm message; other comms than widgets are none of ours."""
        content = message["content"]
        data = content.get("data")
        if not isinstance(data, dict) or not isinstance(data.get("state"), dict):
            return
        model, opens = str(content["comm_id"]), content.get("target_name") == "jupyter.widget"
        with self._database.transaction():
            body = {"state": {}, "buffers": []} if opens else self._body(session, model)
            if body is None:
                return
            body["state"] |= data["state"]
            paths = data.get("buffer_paths") or []
            kept = [buffer for buffer in body["buffers"] if buffer["path"] not in paths]
            body["buffers"] = kept + [
                {"path": path, "encoding": "base64", "data": base64.b64encode(buffer).decode()}
                for path, buffer in zip(paths, message.get("buffers", ()), strict=False)
            ]
            text = encode(json.dumps(body, ensure_ascii=False)).decode()
            self._database.execute("REPLACE INTO widgets VALUES (?, ?, ?)", (session, model, text))

    def read(self, session: int) -> Mapping[str, Any]:
        """All widgets of a session, in the form of a notebook's metadata; empty when there are none."""
        rows = self._database.execute("SELECT model, body FROM widgets WHERE session = ?", (session,))
        models = {row["model"]: _model(json.loads(row["body"])) for row in rows}
        if not models:
            return {}
        return {WIDGET_STATE: {"version_major": 2, "version_minor": 0, "state": models}}

    def _body(self, session: int, model: str) -> dict[str, Any] | None:
        row = self._database.execute(
            "SELECT body FROM widgets WHERE session = ? AND model = ?", (session, model)
        ).fetchone()
        return None if row is None else json.loads(row["body"])


def _model(body: Mapping[str, Any]) -> dict[str, Any]:
    state = body["state"]
    model = {name: state.get(f"_{name}") for name in ("model_name", "model_module", "model_module_version")}
    return model | {"state": state} | ({"buffers": body["buffers"]} if body["buffers"] else {})
