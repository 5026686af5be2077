import subprocess
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_exec.environments import Environments
from kernel_exec.errors import InstallFailed, InvalidInput, PathNotAllowed
from kernel_exec.settings import Settings
from tests.environments.conftest import kernel_in

Wheel = Callable[..., str]


@pytest.fixture
def plain_venv(settings: Settings) -> Path:
    path = settings.workspace / ".venv"
    venv.create(path, with_pip=False, symlinks=True)
    return path


def files_of(directory: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in directory.rglob("*")}


def run_in_kernel(settings: Settings, name: str, code: str) -> str:
    with kernel_in(settings, name) as run_code:
        return run_code(code)


async def test_a_venv_without_ipykernel_runs_kernels_and_is_not_written_to(
    environments: Environments, settings: Settings, plain_venv: Path
) -> None:
    before = files_of(plain_venv)
    adopted = await environments.create("mine", path=".venv", description="My own")
    assert (adopted.path, adopted.source) == (plain_venv, "adopted")
    assert await environments.packages("mine") == []
    code = "import sys, importlib.metadata as m; print(sys.prefix, m.version('ipykernel') > '6')"
    assert run_in_kernel(settings, "mine", code) == f"{plain_venv} True"
    health = await environments.health("mine")
    assert health.problems == ()
    assert health.ipykernel_is_tested
    await environments.compile("mine")
    await environments.repair("mine")
    await environments.delete("mine")
    assert files_of(plain_venv) == before


async def test_what_an_adopted_venv_has_comes_before_the_private_ipykernel(
    environments: Environments, settings: Settings, plain_venv: Path, wheel: Wheel
) -> None:
    await environments.create("mine", path=".venv")
    site = next(plain_venv.glob("lib/*/site-packages"))
    (site / "wcwidth.py").write_text("mine = True\n")
    assert run_in_kernel(settings, "mine", "import wcwidth; print(wcwidth.mine)") == "True"


@pytest.mark.slow
async def test_ipykernel_is_put_into_an_adopted_venv_when_asked_for(
    environments: Environments, settings: Settings, plain_venv: Path, wheel: Wheel
) -> None:
    adopted = await environments.create("mine", path=plain_venv, install_kernel=True)
    assert adopted.launcher is None
    with pytest.raises(InvalidInput, match="is the environment 'mine' already"):
        await environments.create("again", path=".venv")
    with pytest.raises(InvalidInput, match="cannot be removed"):
        await environments.uninstall("mine", ["ipykernel"])

    await environments.install("mine", [wheel("sample", "1.0")])
    before = await environments.packages("mine")
    with pytest.raises(InstallFailed):
        await environments.install("mine", [wheel("needy", "1.0", requires=("tornado<1",))])
    assert await environments.packages("mine") == before

    await environments.delete("mine")
    assert subprocess.check_output([plain_venv / "bin" / "python", "-c", "import sample, ipykernel"]) == b""


async def test_an_adopted_venv_is_brought_back_after_a_change_that_is_not_allowed(
    settings: Settings, plain_venv: Path, wheel: Wheel
) -> None:
    strict = Environments(settings.model_copy(update={"denied_packages": ("forbidden",)}))
    await strict.create("mine", path=".venv")
    await strict.install("mine", [wheel("sample", "1.0")])
    wheel("forbidden", "1.0")
    needy = wheel(
        "needy", "1.0", requires=(f"forbidden @ file://{settings.workspace}/forbidden-1.0-py3-none-any.whl",)
    )
    with pytest.raises(InvalidInput, match="'forbidden', which is needed"):
        await strict.install("mine", [needy])
    assert [package.name for package in await strict.packages("mine")] == ["sample"]


async def test_a_private_ipykernel_that_is_gone_is_told_and_repaired(
    environments: Environments, settings: Settings, plain_venv: Path
) -> None:
    adopted = await environments.create("mine", path=".venv")
    assert adopted.launcher is not None
    (settings.home / "layers").rename(settings.home / "elsewhere")
    assert "private ipykernel" in (await environments.list())[0].broken
    await environments.repair("mine")
    assert run_in_kernel(settings, "mine", "print(1)") == "1"


async def test_only_venvs_inside_the_workspace_are_adopted(
    environments: Environments, tmp_path: Path, settings: Settings
) -> None:
    venv.create(tmp_path / "outside", with_pip=False)
    (settings.workspace / "plain").mkdir()
    with pytest.raises(PathNotAllowed, match="workspace"):
        await environments.create("mine", path=tmp_path / "outside")
    with pytest.raises(InvalidInput, match="not a virtual environment"):
        await environments.create("mine", path="plain")
