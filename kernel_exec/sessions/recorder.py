"""Turns the IOPub messages of one execution into outputs, as a notebook front end does."""

from kernel_exec.kernels import Message
from kernel_exec.sessions.history import History
from kernel_exec.sessions.outputs import DisplayData, Error, ExecuteResult

__all__ = ["Recorder"]


class Recorder:
    """Called with each message of execution number *execution*; also with those that come after its end."""

    def __init__(self, history: History, session: int, execution: int, limit_bytes: int) -> None:
        self._history = history
        self._log = history.outputs
        self._session = session
        self._execution = execution
        self._limit_bytes = limit_bytes
        self._clear_pending = False
        self.saw_error = False

    def __call__(self, message: Message) -> None:
        """Record one message. https://jupyter-client.readthedocs.io/en/stable/messaging.html"""
        content = message["content"]
        match message["header"]["msg_type"]:
            case "execute_input":
                self._history.set_count(self._execution, content["execution_count"])
            case "clear_output":
                self._clear_pending = True
                if not content.get("wait"):
                    self._clear()
            case "stream":
                self._clear()
                self._log.add_stream(self._execution, content["name"], content["text"], self._limit_bytes)
            case "display_data":
                display = _display(content)
                if display.display_id is not None:  # what is shown under this id already changes with it
                    self._log.update_display(self._session, display)
                self._add(display)
            case "execute_result":
                data, count = content["data"], content["execution_count"]
                self._add(ExecuteResult(data, count, content.get("metadata", {})))
            case "error":
                self.saw_error = True
                self.add_error(content)
            case "update_display_data":
                self._log.update_display(self._session, _display(content))
            case "comm_open" | "comm_msg":
                self._history.widgets.record(self._session, message)

    def add_error(self, content: Message) -> None:
        """Record an exception, from an `error` message or an `execute_reply`."""
        traceback = tuple(content.get("traceback", ()))
        self._add(Error(content.get("ename", ""), content.get("evalue", ""), traceback))

    def _add(self, output: DisplayData | ExecuteResult | Error) -> None:
        self._clear()
        self._log.add(self._execution, output, self._limit_bytes)

    def _clear(self) -> None:
        """Clear now, if the code asked for it; with `wait`, that is when the next output comes."""
        if self._clear_pending:
            self._clear_pending = False
            self._log.clear(self._execution)


def _display(content: Message) -> DisplayData:
    display_id = (content.get("transient") or {}).get("display_id")
    return DisplayData(content["data"], content.get("metadata", {}), display_id)
