"""Notebooks as Python files in the percent format, which editors and jupytext read.

https://jupytext.readthedocs.io/en/latest/formats-scripts.html
"""

import ast
import json
import re
import warnings

from nbformat import NotebookNode

__all__ = ["to_percent"]

# `%magic`, `!command`, `?name`, `name?`, and `names = %magic` or `= !command`
_MAGIC = re.compile(r"\s*(%|!|\?|[\w.]+\?\??\s*$|[\w., ]+=\s*(%|!))")
_PYTHON_CELL_MAGICS = {"capture", "prun", "time", "timeit"}
_LANGUAGES = {"R", "bash", "html", "javascript", "js", "latex", "perl", "ruby", "sh", "sql", "svg"}


def to_percent(notebook: NotebookNode) -> str:
    """The code cells of *notebook* as valid Python (an `await` outside of functions excepted).

    What only IPython understands is in comments, line by line, as jupytext has it: jupytext turns them
    back into the same cells, magics and shell lines live. A cell that is no Python even so, such as one
    that failed with a SyntaxError, is a comment as a whole; so is one of a cell magic that writes or
    reads files. A comment that begins with `# %%` begins a cell. Outputs are left out.
    """
    name = notebook.metadata.get("kernelspec", {}).get("name", "python3")
    header = (
        f"# ---\n# jupyter:\n#   kernelspec:\n#     name: {json.dumps(name)}\n"
        f"#     display_name: {json.dumps(name)}\n#     language: python\n# ---\n"
    )
    cells = [_cell(cell) for cell in notebook.cells if cell.cell_type == "code"]
    return "\n".join([header, *cells])


def _cell(cell: NotebookNode) -> str:
    tags = cell.metadata.get("tags", [])
    options = f" tags={json.dumps(tags)}" if tags else ""
    source = re.sub(r"\r\n?", "\n", cell.source).rstrip("\n")  # Python ends a line there, and a comment
    magic = re.match(r"\s*%%(\w+)[ \t]*(.*)\n?", source)
    if magic and magic[1] in _LANGUAGES:
        arguments = f" magic_args={json.dumps(magic[2])}" if magic[2] else ""
        options += f"{arguments} language={json.dumps(magic[1])}"
        return f"# %%{options}\n{_commented(source[magic.end() :])}\n"
    if magic and magic[1] not in _PYTHON_CELL_MAGICS:
        return f"# %%{options}\n{_commented(source)}\n"
    return f"# %%{options}\n{_as_python(source)}\n"


def _as_python(source: str) -> str:
    if _is_python(source):
        return source
    lines = [f"# {line}" if _MAGIC.match(line) else line for line in source.split("\n")]
    text = "\n".join(lines)
    return text if _is_python(text) else _commented(source)


def _is_python(source: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the user's code is warned of is not ours to tell
            ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _commented(source: str) -> str:
    # A file with a NUL is no Python, not even in a comment.
    return "\n".join(f"# {line}".rstrip() for line in source.replace("\0", "\N{SYMBOL FOR NULL}").split("\n"))
