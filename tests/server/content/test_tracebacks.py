from kernel_exec.server.content.tracebacks import traceback_text
from kernel_exec.sessions.outputs import Error

RULE = "\x1b[31m" + "-" * 75 + "\x1b[39m"
HEADING = "\x1b[31mZeroDivisionError\x1b[39m                         Traceback (most recent call last)"
CELL = "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[1]\x1b[39m\x1b[32m, line 1\x1b[39m\n\x1b[32m----> \x1b[39m\x1b[32m1\x1b[39m f()\n"
FRAME = "\x1b[36mFile \x1b[39m\x1b[32m{}:7\x1b[39m, in \x1b[36mg\x1b[39m\x1b[34m(x)\x1b[39m\n      6 def g(x):\n----> 7     h(x)\n"
PANDAS = FRAME.format("/venv/lib/python3.12/site-packages/pandas/core/frame.py")
JSON = FRAME.format("~/.pyenv/versions/3.11.7/lib/python3.11/json/decoder.py")
CYTHON = FRAME.format("pandas/_libs/index.pyx")
MINE = FRAME.format("~/project/model.py")
FINAL = "\x1b[31mZeroDivisionError\x1b[39m: division by zero"


def told(*traceback: str) -> list[str]:
    return traceback_text(Error("ZeroDivisionError", "division by zero", traceback)).split("\n")


def test_colours_and_the_rule_are_gone() -> None:
    assert told(RULE, HEADING, CELL, FINAL) == [
        "ZeroDivisionError  Traceback (most recent call last)",
        "Cell In[1], line 1",
        "----> 1 f()",
        "ZeroDivisionError: division by zero",
    ]


def test_library_frames_are_one_line_but_the_one_that_raised_stays() -> None:
    lines = told(RULE, HEADING, CELL, PANDAS, JSON, PANDAS, CYTHON, FINAL)
    assert lines[3] == "[3 library frames]"
    assert lines[4] == "File pandas/_libs/index.pyx:7, in g(x)"
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_frames_of_the_users_own_modules_stay() -> None:
    text = "\n".join(told(RULE, HEADING, CELL, PANDAS, MINE, FINAL))
    assert "[1 library frame]\nFile ~/project/model.py:7" in text


def test_every_exception_of_a_chain_keeps_the_frame_that_raised() -> None:
    cause = "\nThe above exception was the direct cause of the following exception:\n"
    lines = told(RULE, HEADING, PANDAS, JSON, FINAL, cause, HEADING, CELL, PANDAS, FINAL)
    assert lines.count("[1 library frame]") == 1
    assert sum(line.startswith("File ") for line in lines) == 2
    assert "The above exception was the direct cause of the following exception:" in lines


def test_a_message_that_names_a_library_is_no_frame() -> None:
    message = "ImportError: cannot import name 'x' from 'y' (/lib/python3.11/site-packages/y.py:3) in z()"
    assert told(RULE, HEADING, CELL, JSON, message)[-1] == message
    assert any(line.startswith("File ") for line in told(RULE, HEADING, CELL, JSON, message))


def test_a_syntax_error_shows_the_line_and_the_place() -> None:
    entry = (
        "  \x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[3]\x1b[39m\x1b[32m, line 1\x1b[39m\n"
        "\x1b[31m    \x1b[39m\x1b[31mx = = 1\x1b[39m\n        ^\n\x1b[31mSyntaxError\x1b[39m\x1b[31m:\x1b[39m invalid syntax\n"
    )
    assert told(entry) == ["  Cell In[3], line 1", "    x = = 1", "        ^", "SyntaxError: invalid syntax"]


def test_ipythons_own_frames_before_a_syntax_error_collapse() -> None:
    own = "  File \x1b[92m/venv/lib/python3.11/site-packages/IPython/core/interactiveshell.py:3823\x1b[39m in \x1b[95mrun_code\x1b[39m\n    exec(code_obj)\n"
    lines = told(
        "Traceback \x1b[36m(most recent call last)\x1b[39m:\n", own, "  Cell In[1], line 1\n    eval('1 +')\n"
    )
    assert lines == [
        "Traceback (most recent call last):",
        "[1 library frame]",
        "  Cell In[1], line 1",
        "    eval('1 +')",
    ]


def test_a_recursion_of_a_thousand_frames_loses_its_middle() -> None:
    lines = told(RULE, HEADING, *[CELL] * 1_000, FINAL)
    assert "[982 more frames]" in lines
    assert len(lines) < 60
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_without_a_traceback_name_and_message_remain() -> None:
    assert told() == ["ZeroDivisionError: division by zero"]
    assert traceback_text(Error("KeyboardInterrupt", "", ())) == "KeyboardInterrupt"
