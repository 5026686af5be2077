import os
import sys
from pathlib import Path

import nbformat
import psutil
import pytest

from kernel_exec.processes import Completed, run
from kernel_exec.runtime import Runtime


async def demo(home: Path, directory: Path, *options: str) -> Completed:
    """The command, which leaves no process behind."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    done = await run(
        [sys.executable, "-m", "kernel_exec", "demo", *options],
        timeout_seconds=170,
        env=os.environ | {"KERNEL_EXEC_HOME": str(home)},
        cwd=directory,
    )
    left = [
        one for one in psutil.process_iter(["environ"]) if str(home) in (one.info["environ"] or {}).values()
    ]
    assert not left
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before
    return done


def images_in(notebook: Path) -> int:
    document = nbformat.read(notebook, as_version=4)
    nbformat.validate(document)
    return sum(
        "image/png" in output.get("data", {}) for cell in document.cells for output in cell.get("outputs", ())
    )


@pytest.mark.slow
async def test_the_offline_demo_keeps_data_across_a_timeout_and_leaves_a_notebook(
    runtime: Runtime, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "layers").symlink_to(runtime.settings.home / "layers")
    (tmp_path / "demo.ipynb").write_text("mine")
    refused = await demo(home, tmp_path, "--offline")
    assert refused.returncode == 1
    assert refused.errors.startswith(f"There is a {tmp_path}/demo.ipynb already.\nMove it")
    (tmp_path / "demo.ipynb").unlink()

    done = await demo(home, tmp_path, "--offline")
    assert done.returncode == 0, (done.output, done.errors)
    assert done.errors == ""
    assert "65,536 rows, Unicode" in done.output
    assert "] timeout 2" in done.output
    assert "65,536 rows are still there" in done.output
    assert images_in(tmp_path / "demo.ipynb") == 1


@pytest.mark.slow
async def test_the_demo_makes_an_environment_and_uses_it_again(tmp_path: Path) -> None:
    for tool in ("create_environment", "install_packages"):
        done = await demo(tmp_path / "home", tmp_path, "--directory", str(tmp_path))
        assert done.returncode == 0, (done.output, done.errors)
        assert f"→ {tool}(environment='demo'" in done.output
        assert "the DataFrame has its 17,518 rows" in done.output
        assert images_in(tmp_path / "demo.ipynb") == 1
