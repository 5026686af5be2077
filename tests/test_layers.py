"""The floors of the package: a module imports only from its own floor or a lower one."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "kernel_exec"
GROUND = {"__version__", "cleanup", "errors", "names", "processes", "settings", "workspace"}
FLOORS = [GROUND, {"environments"}, {"kernels"}, {"sessions"}, {"runtime"}, {"server"}]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
TOP = len(FLOORS)  # the command line, and the package's own module
SOLE_IMPORTERS = {
    "mcp": ("server", "cli", "demo", "doctor"),
    "jupyter_client": ("kernels", "environments/kernelspecs.py"),
    "subprocess": ("processes.py",),
    "os.environ": (
        "cli",
        "settings.py",
        "demo.py",
        "kernels/launch.py",
        "kernels/provisioners/",
        "environments/commands.py",
    ),
}


def used(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_its_floor_may(path: Path) -> None:
    where = path.relative_to(ROOT)
    for name in used(ast.parse(path.read_text())):
        if name.startswith("kernel_exec."):
            assert FLOOR.get(name.split(".")[1], TOP) <= FLOOR.get(where.with_suffix("").parts[0], TOP), name
        for module, importers in SOLE_IMPORTERS.items():
            assert not f"{name}.".startswith(f"{module}.") or str(where).startswith(importers), name
