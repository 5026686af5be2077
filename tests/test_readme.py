"""README says what is true."""

import re
from pathlib import Path

import kernel_exec
from tests.readme import README, written

ROOT = Path(__file__).parent.parent


def test_the_tables_are_those_of_the_code() -> None:
    """If not, run `python -m tests.readme`."""
    text = README.read_text(encoding="utf-8")
    assert text == written(text)


def test_every_link_to_a_file_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_changelog_has_this_version() -> None:
    assert f"## {kernel_exec.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_public_names_are_these() -> None:
    assert set(kernel_exec.__all__) == {
        "DisplayData",
        "Error",
        "ExecuteResult",
        "Execution",
        "KernelExecError",
        "Output",
        "Runtime",
        "Session",
        "Settings",
        "Stream",
        "load_settings",
        "open_runtime",
    }
    assert all(hasattr(kernel_exec, name) for name in kernel_exec.__all__)
