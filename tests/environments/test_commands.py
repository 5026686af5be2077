from pathlib import Path

import pytest

from kernel_exec.environments import commands


def test_requirements_come_after_the_end_of_options() -> None:
    command = commands.install(Path("/v/bin/python"), ["six", "attrs>=1"], upgrade=["six"])
    assert command[command.index("--") + 1 :] == ["six", "attrs>=1"]
    assert "--upgrade-package=six" in command[: command.index("--")]


def test_every_command_names_its_interpreter_and_downloads_no_python() -> None:
    python = Path("/v/bin/python")
    built = [
        commands.install(python, ["six"]),
        commands.uninstall(python, ["six"]),
        commands.lock(python, Path("/r.txt")),
        commands.sync(python, Path("/r.txt")),
        commands.make_venv(Path("/v"), python),
    ]
    for command in built:
        assert command[command.index("--python") + 1] == "/v/bin/python"
        assert "--no-python-downloads" in command


def test_the_installer_gets_the_operators_variables_without_the_harmful_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UV_INDEX_URL", "https://user:secret@example.org/simple")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.org")
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "UV_PYTHON"):
        monkeypatch.setenv(name, "/somewhere")
    env = commands.env()
    assert env["UV_INDEX_URL"].endswith("/simple")
    assert env["HTTPS_PROXY"]
    assert (
        not {"PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "UV_PYTHON"} & env.keys()
    )
