from pathlib import Path

import pytest
from typer.testing import CliRunner

from kernel_exec import doctor
from kernel_exec.cli import app
from kernel_exec.doctor import Check, examine
from kernel_exec.runtime import Runtime
from kernel_exec.settings import Settings, load_settings


async def checks(settings: Settings) -> dict[str, Check]:
    return {check.name: check async for check in examine(settings)}


async def test_where_all_is_well_every_check_passes(runtime: Runtime, settings: Settings) -> None:
    found = await checks(settings)
    assert all(check.passed for check in found.values()), found
    assert [*found] == [
        *("Python", "uv", "data directory", "free disk", "socket path", "isolation", "limits"),
        *("environment 'default'", "kernel"),
    ]
    assert "ran sum(range(10)) in" in found["kernel"].found


async def test_a_data_directory_that_cannot_be_written_to_is_named_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = await checks(load_settings(home=tmp_path / "file" / "home"))
    assert not found["data directory"].passed
    assert "KERNEL_EXEC_HOME" in found["data directory"].advice
    assert "kernel" not in found


async def test_a_damaged_environment_is_found_with_the_command_that_repairs_it(
    runtime: Runtime, tmp_path: Path
) -> None:
    settings = load_settings(home=tmp_path / "home")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "layers").symlink_to(runtime.settings.home / "layers")
    assert (await checks(settings))["kernel"].passed
    for package in (tmp_path / "home" / "environments" / "default").glob("lib/*/site-packages/ipykernel-*"):
        package.rename(package.with_name("gone"))
    damaged = (await checks(settings))["environment 'default'"]
    assert "no ipykernel" in damaged.found
    assert "kernel-exec env repair default" in damaged.advice


async def test_a_missing_uv_says_how_to_get_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("no uv")

    monkeypatch.setattr(doctor, "find_uv_bin", nowhere)
    uv = (await checks(settings))["uv"]
    assert (uv.passed, uv.found) == (False, "no uv")
    assert "pip install" in uv.advice


def test_the_command_fails_when_a_check_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KERNEL_EXEC_HOME", str(tmp_path / "file" / "home"))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "✓  Python" in result.output
    assert "✗ data directory: Set KERNEL_EXEC_HOME" in result.output
