import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kernel_exec.environments import Environments
from kernel_exec.environments.redaction import without_credentials, without_urls
from kernel_exec.errors import EnvironmentBroken, InstallFailed, InvalidInput
from kernel_exec.processes import run
from kernel_exec.settings import Settings
from tests.environments.conftest import kernel_in

Wheel = Callable[..., str]


@pytest.mark.slow
async def test_a_second_environment_needs_no_index(environments: Environments, wheel: Wheel) -> None:
    await environments.create("one", packages=[wheel("sample", "1.0")], offline=True)
    with pytest.raises(InstallFailed, match="no-such-package-here"):
        await environments.create("two", packages=["no-such-package-here"], offline=True)
    await environments.create("three", clone_from="one", offline=True)
    assert [each.name for each in await environments.list()] == ["one", "three"]


async def test_a_preset_and_a_file_ask_for_packages(settings: Settings, wheel: Wheel) -> None:
    (settings.workspace / "requirements.txt").write_text(f"{Path(wheel('listed', '1.0')).name}\n")
    with_preset = settings.model_copy(update={"presets": {"mine": (wheel("sample", "1.0"),)}})
    environments = Environments(with_preset)
    await environments.create("lab", preset="mine", requirements_file="requirements.txt")
    names = [package.name for package in await environments.packages("lab")]
    assert {"sample", "listed", "ipykernel"} <= set(names)
    with pytest.raises(InvalidInput, match="Presets: 'mine'"):
        await environments.create("other", preset="theirs")


async def test_what_a_package_needs_may_be_denied_too(settings: Settings, wheel: Wheel) -> None:
    environments = Environments(settings.model_copy(update={"denied_packages": ("forbidden",)}))
    place = wheel("forbidden", "1.0")
    needy = wheel("needy", "1.0", requires=(f"forbidden @ file://{place}",))
    await environments.create("lab")
    with pytest.raises(InvalidInput, match="'forbidden', which is needed"):
        await environments.install("lab", [needy])
    assert "needy" not in [package.name for package in await environments.packages("lab")]


async def test_a_requires_python_that_the_server_does_not_meet_is_looked_for(
    environments: Environments, settings: Settings
) -> None:
    (settings.workspace / "pyproject.toml").write_text(
        '[project]\nname = "x"\nrequires-python = ">=4.5"\ndependencies = []\n'
    )
    with pytest.raises(InvalidInput, match=r"no Python '>=4.5'.*Installed"):
        await environments.create("lab", requirements_file="pyproject.toml")


async def test_the_versions_leave_as_requirements_without_credentials(
    environments: Environments, wheel: Wheel
) -> None:
    await environments.create("lab", packages=[wheel("sample", "1.0")])
    lines = (await environments.export("lab")).splitlines()
    assert any(line.startswith("ipykernel==") for line in lines)
    assert any(line.startswith("sample @ file:///") for line in lines)


async def test_an_index_that_cannot_be_reached_is_not_named(
    environments: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    await environments.create("lab")
    monkeypatch.setenv("UV_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    said: list[str] = []
    with pytest.raises(InstallFailed) as failed:
        await environments.install("lab", ["no-such-package-here"], on_progress=said.append)
    everything = str(failed.value) + "".join(said)
    assert "<url>" in everything
    for hidden in ("secret", "127.0.0.1", "user:"):
        assert hidden not in everything


def test_urls_and_credentials_are_hidden() -> None:
    said = "error: Failed to fetch: `https://user:secret@host.example/simple/six/` (git+ssh://t@h/x)"
    assert without_urls(said) == "error: Failed to fetch: `<url>` (<url>)"
    assert without_credentials("x @ https://user:secret@h/x.whl") == "x @ https://h/x.whl"


@pytest.mark.slow
async def test_an_environment_is_rebuilt_with_its_packages_name_and_description(
    environments: Environments, wheel: Wheel
) -> None:
    created = await environments.create("lab", packages=[wheel("sample", "1.0")], description="Mine")
    packages = await environments.packages("lab")
    assert (await environments.health("lab")).problems == ()

    await environments.close()  # it may still compile there
    shutil.rmtree(created.path)
    with pytest.raises(EnvironmentBroken):
        await environments.ensure("lab")
    assert "is gone" in (await environments.health("lab")).problems[0]
    assert await environments.repair("lab", offline=True) == created
    assert await environments.packages("lab") == packages

    damaged = created.path / "lib" / f"python{created.python.rpartition('.')[0]}" / "site-packages"
    shutil.rmtree(damaged / "traitlets")
    (created.path / "bin" / "python").unlink()
    assert "files are missing of traitlets" in (await environments.health("lab")).problems
    await environments.repair("lab", offline=True)
    assert (await environments.health("lab")).problems == ()
    assert await environments.packages("lab") == packages


@pytest.mark.slow
async def test_an_unreadable_record_is_rebuilt_from_the_venv(
    environments: Environments, settings: Settings, wheel: Wheel
) -> None:
    created = await environments.create("lab", packages=[wheel("sample", "1.0")])
    (settings.home / "environments" / "lab.json").write_text("{")
    with pytest.raises(EnvironmentBroken, match="record"):
        await environments.describe("lab", "x")
    repaired = await environments.repair("lab", offline=True)
    assert (repaired.python, repaired.requirements) == (created.python, created.requirements)
    assert "sample" in [package.name for package in await environments.packages("lab")]


@pytest.mark.slow
async def test_what_nobody_used_is_pruned_and_the_rest_is_kept(
    environments: Environments, settings: Settings
) -> None:
    for name in ("default", "old", "fresh", "kept"):
        await environments.create(name)
        environments.mark_used(name)
    long_ago = datetime.now(UTC) - timedelta(days=40)
    for name in ("default", "old", "kept"):
        mark = settings.home / "environments" / f".{name}.used"
        os.utime(mark, (long_ago.timestamp(), long_ago.timestamp()))

    month = timedelta(days=30)
    would = await environments.prune(month, keep=["kept"], dry_run=True)
    assert [one.environment.name for one in would] == ["old"]
    assert would[0].size_bytes > 1_000_000
    assert len(await environments.list()) == 4
    await environments.prune(month, keep=["kept"])
    assert [each.name for each in await environments.list()] == ["default", "fresh", "kept"]


async def test_a_kernelspec_is_shown_to_the_users_jupyter_and_hidden_again(
    environments: Environments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    await environments.create("lab")
    directory = environments.expose("lab")
    assert directory == tmp_path / "jupyter" / "kernels" / "kernel-exec-lab"
    assert environments.hide("lab")
    assert not environments.hide("lab")
    environments.expose("lab")
    await environments.delete("lab")
    assert not directory.exists()


@pytest.mark.slow
async def test_compiling_reaches_what_was_installed(environments: Environments, wheel: Wheel) -> None:
    created = await environments.create("lab", packages=[wheel("sample", "1.0")])
    await environments.compile("lab")
    assert list(created.path.glob("lib/*/site-packages/__pycache__/sample.*.pyc"))


async def test_the_pythons_of_this_machine_are_listed(environments: Environments) -> None:
    pythons = await environments.pythons()
    assert pythons
    for python in pythons:
        done = await run([str(python.path), "-V"], timeout_seconds=30)
        assert done.output.split() == ["Python", python.version]


@pytest.mark.slow
async def test_a_pylock_can_be_installed_from_and_names_no_index(
    environments: Environments, settings: Settings
) -> None:
    await environments.create("lab", packages=["six"])
    text = await environments.export("lab", "pylock")
    assert 'name = "six"' in text
    assert not [line for line in text.splitlines() if line.startswith("index")]


@pytest.mark.slow
@pytest.mark.parametrize("minor", ["3.10", "3.11", "3.12", "3.13"])
async def test_kernels_run_on_every_python_of_this_machine(
    environments: Environments, settings: Settings, minor: str
) -> None:
    roots = [Path.home() / ".pyenv" / "versions", Path.home() / ".local" / "share" / "uv" / "python"]
    found = [path for root in roots for path in root.glob(f"*{minor}*/bin/python{minor}")]
    if not found:
        pytest.skip(f"there is no Python {minor} on this machine")
    for requirement, major in (("ipykernel==6.29.*", "6"), ("ipykernel>=7", "7")):
        name = f"on-{minor.replace('.', '-')}-{major}"
        created = await environments.create(name, python=str(found[0]), packages=[requirement])
        assert created.python.startswith(minor)
        health = await environments.health(name)
        assert health.problems == ()
        assert str(health.ipykernel).startswith(major)
        with kernel_in(settings, name) as run_code:
            assert run_code("import sys; print(sys.version.split()[0])") == created.python
