"""Output widgets: `with output: …` of ipywidgets catches what the code puts out.

A notebook's front end does that, so this does it here. An `OutputModel` that has a `msg_id` takes the
outputs of that execution; they become its state `outputs`, which the kernel is told.
https://ipywidgets.readthedocs.io/en/stable/examples/Output%20Widget.html
"""

import json
from collections.abc import Callable
from typing import Any

from kernel_exec.kernels.requests import Message

__all__ = ["COMM_TYPES", "OutputWidgets"]

COMM_TYPES = {"comm_open", "comm_msg", "comm_close"}
CAUGHT_TYPES = {"clear_output", "display_data", "error", "execute_result", "stream"}
# A widget's state is held in memory and sent whole, so what comes past this is not caught: it is shown
# below the execution, as if there were no widget.
CATCH_LIMIT_BYTES = 8 << 20


class OutputWidgets:
    """Those of one kernel. *send* sends the kernel a message of the shell channel."""

    def __init__(self, send: Callable[[str, dict[str, Any]], None]) -> None:
        self._send = send
        self._models: dict[str, _OutputModel] = {}
        self._changed: set[str] = set()

    def catches(self, parent: str, message: Message) -> bool:
        """Take notice of a message of execution *parent*; whether a widget caught it."""
        kind, content = message["header"]["msg_type"], message["content"]
        if kind in COMM_TYPES:
            self._on_comm(kind, content)
        elif kind == "update_display_data":
            for name, model in self._models.items():
                if model.update_display(content):
                    self._changed.add(name)
        elif kind in CAUGHT_TYPES:
            # The widget that began to catch last is the innermost `with`.
            catching = [name for name, model in self._models.items() if model.catches == parent]
            if catching and self._models[catching[-1]].catch(kind, content):
                self._changed.add(catching[-1])
                return True
        return False

    def changes(self) -> list[Message]:
        """What was caught since the last call, as the messages by which widgets tell their state."""
        changes: list[Message] = []
        for name in self._changed & self._models.keys():
            state = {"outputs": [output for output, _ in self._models[name].outputs]}
            data = {"method": "update", "state": state, "buffer_paths": []}
            content = {"comm_id": name, "data": data}
            self._send("comm_msg", content)
            changes.append({"header": {"msg_type": "comm_msg"}, "content": content, "buffers": []})
        self._changed.clear()
        return changes

    def _on_comm(self, kind: str, content: Message) -> None:
        name, data = content["comm_id"], content.get("data")
        state = data.get("state") if isinstance(data, dict) else None
        if kind == "comm_close":
            self._models.pop(name, None)
        elif isinstance(state, dict) and isinstance(data, dict):
            if kind == "comm_open" and state.get("_model_name") == "OutputModel":
                self._models[name] = _OutputModel()
            # An echo only repeats what the kernel was told, which may be out of date by now.
            if name in self._models and data.get("method") != "echo_update":
                self._models[name].set(state)
                if state.get("msg_id"):
                    self._models[name] = self._models.pop(name)  # now the innermost


class _OutputModel:
    """One widget: its outputs, each with its display id, and the execution whose outputs it catches."""

    def __init__(self) -> None:
        self.outputs: list[tuple[dict[str, Any], str | None]] = []
        self.catches = ""
        self._size = 0
        self._clear_pending = False

    def set(self, state: dict[str, Any]) -> None:
        self.catches = state.get("msg_id", self.catches)
        if "outputs" in state:
            self.outputs = [(dict(output), None) for output in state["outputs"]]
            self._size = len(json.dumps(state["outputs"]))

    def catch(self, kind: str, content: Message) -> bool:
        """Whether there was room for it."""
        if kind == "clear_output":
            self._clear_pending = True
            if not content.get("wait"):
                self._clear()
            return True
        self._clear()
        size = len(json.dumps(content))
        if self._size + size > CATCH_LIMIT_BYTES:
            return False
        self._size += size
        last = self.outputs[-1][0] if self.outputs else {}
        if kind == "stream" == last.get("output_type") and content["name"] == last["name"]:
            last["text"] += content["text"]
        else:
            output = {key: value for key, value in content.items() if key != "transient"}
            display_id = (content.get("transient") or {}).get("display_id")
            self.outputs.append(({"output_type": kind} | output, display_id))
        return True

    def update_display(self, content: Message) -> bool:
        """Whether the display is one of the outputs; it has the new content then."""
        display_id = (content.get("transient") or {}).get("display_id")
        shown = [output for output, its_id in self.outputs if its_id is not None and its_id == display_id]
        for output in shown:
            output |= {"data": content["data"], "metadata": content.get("metadata", {})}
        return bool(shown)

    def _clear(self) -> None:
        if self._clear_pending:
            self._clear_pending = False
            self.outputs, self._size = [], 0
