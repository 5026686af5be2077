"""Files in, notebooks out, seen by an agent."""

import json
import zipfile
from pathlib import Path

import nbformat

from kernel_exec.settings import Settings
from tests.server.conftest import Connect, execution_of


async def test_a_session_leaves_as_a_notebook_and_comes_back(
    connect: Connect, settings: Settings, era: str
) -> None:
    path = f"leaves-{era}.ipynb"
    async with connect() as caller:
        await caller.run("x = 41")
        await caller.refused("execute_code", code="1/0", session=caller.session)
        await caller.run("x + 1")
        assert "3 cells" in await caller.call("export_notebook", session=caller.session, path=path)
        notebook = nbformat.read(settings.workspace / path, as_version=4)
        nbformat.validate(notebook)
        assert notebook.cells[2].outputs[0].data["text/plain"] == "42"
        assert "already" in await caller.refused("export_notebook", session=caller.session, path=path)
        await caller.call(
            "export_notebook", session=caller.session, path=path, overwrite=True, include_failed=False
        )
        await caller.call("close_session", session=caller.session)
        reply = await caller.call("execute_file", path=path, session=caller.session)
        assert "all 2 cells ran" in reply
        assert await caller.run("x") == "41"


async def test_a_notebook_stops_at_its_first_error(connect: Connect, settings: Settings, era: str) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in ("a = 1", "1/0", "a = 2")]
    path = settings.workspace / f"stops-{era}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    async with connect() as caller:
        reply = await caller.refused("execute_file", path=path.name, session=caller.session)
        assert "ZeroDivisionError" in reply
        assert "stopped after 2 of 3 cells" in reply
        assert await caller.run("a") == "1"


async def test_a_script_runs_with_its_arguments(connect: Connect, settings: Settings) -> None:
    (settings.workspace / "script.py").write_text(
        "import sys\nprint(sys.argv[1:], __file__.endswith('script.py'))"
    )
    async with connect() as caller:
        reply = await caller.call(
            "execute_file", path="script.py", session=caller.session, arguments=["a", "b c"]
        )
        assert reply.startswith("['a', 'b c'] True")


async def test_a_long_notebook_goes_on_after_the_call(connect: Connect, settings: Settings, era: str) -> None:
    cells = [
        nbformat.v4.new_code_cell(source) for source in ("import time; time.sleep(1)", "done = True; done")
    ]
    path = settings.workspace / f"long-{era}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    async with connect() as caller:
        reply = await caller.call("execute_file", path=path.name, session=caller.session, wait_seconds=0.3)
        assert "cell 1 of 2 runs" in reply
        await caller.call("get_execution", execution=execution_of(reply), wait_seconds=30)
        assert await caller.run("done") == "True"


async def test_a_file_outside_the_workspace_is_refused_with_the_setting(
    connect: Connect, tmp_path: Path, settings: Settings
) -> None:
    (tmp_path / "secret.py").write_text("1")
    link = settings.workspace / "link.py"
    link.unlink(missing_ok=True)
    link.symlink_to(tmp_path / "secret.py")
    async with connect() as caller:
        for path in (str(tmp_path / "secret.py"), "../secret.py", "link.py"):
            assert "KERNEL_EXEC_WORKSPACE" in await caller.refused("execute_file", path=path)
        await caller.run("1")
        assert "KERNEL_EXEC_WORKSPACE" in await caller.refused(
            "export_notebook", session=caller.session, path="../out.ipynb"
        )


async def test_a_file_that_is_not_there_or_no_notebook_is_an_error(
    connect: Connect, settings: Settings
) -> None:
    (settings.workspace / "broken.ipynb").write_text("{")
    (settings.workspace / "broken.zip").write_text("{")
    async with connect() as caller:
        assert "no file" in await caller.refused("execute_file", path="nowhere.py")
        assert "not a notebook" in await caller.refused(
            "execute_file", path="broken.ipynb", session=caller.session
        )
        assert "no archive" in await caller.refused("execute_file", path="broken.zip")


async def test_an_archive_rebuilds_the_session_elsewhere(
    connect: Connect, settings: Settings, era: str
) -> None:
    name = f"archive-{era}"
    async with connect() as caller:
        code = f"from pathlib import Path\nPath('{name}.txt').write_text('kept')\nx = 1"
        await caller.run(code)
        reply = await caller.call(
            "export_notebook", session=caller.session, path=f"{name}.zip", archive=True, overwrite=True
        )
        assert f"{name}.txt" in reply
        with zipfile.ZipFile(settings.workspace / f"{name}.zip") as archive:
            assert "ipykernel==" in archive.read("requirements.txt").decode()
            assert json.loads(archive.read("manifest.json"))["python"].startswith("3.")
        (settings.workspace / f"{name}.txt").unlink()
        await caller.call("close_session", session=caller.session)
        reply = await caller.call(
            "execute_file", path=f"{name}.zip", session=caller.session, environment=f"made-{name}"
        )
        assert f"environment made-{name}" in reply
        assert (settings.workspace / f"{name}.txt").read_text() == "kept"
        assert await caller.run("x") == "1"
        await caller.call("delete_environment", environment=f"made-{name}", confirm=True)
