from pathlib import Path

import pytest

from kernel_exec.errors import SettingsError
from kernel_exec.settings import Settings, load_settings, setting_origins


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERNEL_EXEC_HOME", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_arguments_beat_variables_which_beat_the_file_which_beats_defaults(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "config.toml").write_text("timeout_seconds = 1\nwait_seconds = 2\nqueue_limit = 3\n")
    monkeypatch.setenv("KERNEL_EXEC_WAIT_SECONDS", "20")
    monkeypatch.setenv("KERNEL_EXEC_QUEUE_LIMIT", "30")
    settings = load_settings(queue_limit=300, port=None)
    assert (settings.timeout_seconds, settings.wait_seconds, settings.queue_limit) == (1, 20, 300)
    origins = setting_origins(settings, queue_limit=300, port=None)
    assert origins["timeout_seconds"] == str(home / "config.toml")
    assert origins["wait_seconds"] == "KERNEL_EXEC_WAIT_SECONDS"
    assert (origins["queue_limit"], origins["port"]) == ("argument", "default")


def test_settings_are_frozen_and_each_has_a_description() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1  # type: ignore[misc]
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout_seconds", "0"),
        ("timeout_seconds", "-1"),
        ("timeout_seconds", "nan"),
        ("timeout_seconds", "soon"),
        ("queue_limit", "0"),
        ("port", "70000"),
        ("log_level", "loud"),
        ("workspace", "/no/such/directory"),
        ("default_environment", "../up"),
        ("max_chars", "10"),
        ("image_limit_bytes", "999999999"),
    ],
)
def test_a_bad_value_is_named_with_its_source(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"KERNEL_EXEC_{name.upper()}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert name in caught.value.message
    assert value in caught.value.message
    assert f"KERNEL_EXEC_{name.upper()}" in caught.value.message
    assert caught.value.hint


def test_a_bad_token_is_not_shown(home: Path) -> None:
    (home / "config.toml").write_text("token = [1234567]")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "1234567" not in str(caught.value)


def test_unknown_keys_stop_the_start_with_the_known_ones(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "config.toml").write_text("time_out = 3")
    with pytest.raises(SettingsError, match=r"'time_out'.*timeout_seconds"):
        load_settings()
    (home / "config.toml").unlink()
    monkeypatch.setenv("KERNEL_EXEC_TIME_OUT", "3")
    with pytest.raises(SettingsError, match=r"KERNEL_EXEC_TIME_OUT.*timeout_seconds"):
        load_settings()


def test_a_file_that_is_no_toml_is_told(home: Path) -> None:
    (home / "config.toml").write_text("= = =")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings()


def test_paths_are_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load_settings(home=Path("~/there"), workspace=Path())
    assert settings.home == tmp_path / "there"
    assert settings.workspace == tmp_path.resolve()
