from pathlib import Path

import pytest

from kernel_exec.errors import PathNotAllowed
from kernel_exec.workspace import file_to_read, file_to_write


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    workspace = tmp_path.resolve() / "workspace"
    (workspace / "sub").mkdir(parents=True)
    (workspace / "a.py").write_text("1")
    (tmp_path / "secret").write_text("s")
    (workspace / "out").symlink_to(tmp_path / "secret")
    (workspace / "up").symlink_to(tmp_path)
    (workspace / "loop").symlink_to(workspace / "loop")
    return workspace


def test_paths_inside_are_resolved(workspace: Path) -> None:
    assert file_to_read("a.py", workspace) == workspace / "a.py"
    assert file_to_read("sub/../a.py", workspace) == workspace / "a.py"
    assert file_to_read(str(workspace / "a.py"), workspace) == workspace / "a.py"
    assert file_to_write("sub/new.ipynb", workspace) == workspace / "sub" / "new.ipynb"


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "out", "up/secret", "sub/../../secret", "~/x"])
def test_paths_outside_are_refused_with_the_setting(workspace: Path, path: str) -> None:
    for check in (file_to_read, file_to_write):
        with pytest.raises(PathNotAllowed, match="KERNEL_EXEC_WORKSPACE"):
            check(path, workspace)


@pytest.mark.parametrize(
    "path", ["missing", "sub", "", "loop", "a\0b", "a.py/x", "~nobody-here/x", "x" * 300]
)
def test_what_cannot_be_read_is_refused(workspace: Path, path: str) -> None:
    with pytest.raises(PathNotAllowed):
        file_to_read(path, workspace)


@pytest.mark.parametrize("path", ["sub", "", "no/such/directory.ipynb", "loop", "a\0b", "x" * 300])
def test_what_cannot_be_written_is_refused(workspace: Path, path: str) -> None:
    with pytest.raises(PathNotAllowed):
        file_to_write(path, workspace)
