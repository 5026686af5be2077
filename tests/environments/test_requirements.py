from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_exec.environments.requirements import Policy, Requested, merge, parse_name
from kernel_exec.errors import InvalidInput, InvalidRequirement, PathNotAllowed
from kernel_exec.settings import load_settings


def parse(text: str, workspace: Path, **settings: object) -> Requested:
    return Policy(load_settings(workspace=workspace, home=workspace / "home", **settings)).parse(text)


def parse_all(texts: list[str], workspace: Path) -> list[Requested]:
    return Policy(load_settings(workspace=workspace, home=workspace / "home")).parse_all(texts)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("pandas", "pandas"),
        (" Ruamel_YAML >= 0.18 ", "ruamel-yaml"),
        ("httpx[http2,socks]==0.27.*", "httpx"),
        ("tomli>=2; python_version < '3.11'", "tomli"),
    ],
)
def test_names_versions_extras_and_markers_are_accepted(text: str, name: str, tmp_path: Path) -> None:
    assert parse(text, tmp_path).name == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "-r x.txt",
        "--index-url=https://example.org",
        " -e .",
        "pandas numpy",
        "pip install pandas",
        "pandas\n--index-url x",
        "pandas\0",
        "pandas\ud800",
        "pandas; rm -rf /",
        "x" * 3000,
        "pandas>=",
        "$(id)",
    ],
)
def test_what_is_no_requirement_is_refused_and_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequirement) as refused:
        parse(text, tmp_path)
    assert "\n" not in refused.value.message
    assert refused.value.message.encode()
    assert text.strip()[:10] in refused.value.message or not text.isprintable() or not text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "httpx @ https://user:secret@example.org/httpx.whl",
        "httpx @ git+https://example.org/httpx",
        "https://user:secret@example.org/httpx.whl",
        "git+ssh://git:secret@example.org/x",
        "httpx @ file://host/share/httpx.whl",
        "httpx @ https://user:secret@example.org/x y z",
    ],
)
def test_urls_are_refused_without_showing_their_credentials(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequirement) as refused:
        parse(text, tmp_path)
    assert "secret" not in str(refused.value)


def test_a_path_inside_the_workspace_gets_the_name_of_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "pro ject").mkdir()
    (tmp_path / "pro ject" / "pyproject.toml").write_text('[project]\nname = "My.Project"\n')
    (tmp_path / "Thing-1.0-py3-none-any.whl").touch()
    (tmp_path / "thing-1.0.tar.gz").touch()
    project = f"my-project[dev] @ file://{tmp_path}/pro%20ject"
    assert parse("./pro ject[dev]", tmp_path) == Requested(project, "my-project")
    assert parse("Thing-1.0-py3-none-any.whl", tmp_path).name == "thing"
    sdist = f"{tmp_path}/thing-1.0.tar.gz"
    assert parse(sdist, tmp_path).text == f"thing @ file://{sdist}"
    assert parse(f"other @ file://{tmp_path}/pro%20ject", tmp_path).name == "other"


def test_a_path_that_does_not_tell_its_name_asks_for_it(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "odd.whl").touch()
    for text in ("./old", "odd.whl"):
        with pytest.raises(InvalidRequirement, match="name @ file://"):
            parse(text, tmp_path)


@pytest.mark.parametrize(
    "text",
    ["../other", "/etc", "./../../etc", "thing @ file:///etc", "./missing", "missing-1.0-py3-none-any.whl"],
)
def test_a_path_outside_the_workspace_or_to_nothing_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(PathNotAllowed):
        parse(text, tmp_path)


def test_a_link_out_of_the_workspace_does_not_help(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "link").symlink_to("/etc")
    with pytest.raises(PathNotAllowed):
        parse("./link", tmp_path / "workspace")


def test_one_string_in_place_of_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequirement, match="list of strings"):
        parse_all("pandas", tmp_path)


ANYWHERE = Policy(load_settings(workspace="/", home="/nonexistent"))


@given(st.text(max_size=60))
def test_whatever_comes_in_no_option_goes_out(text: str) -> None:
    try:
        accepted = ANYWHERE.parse(text)
    except InvalidInput:
        return
    assert not accepted.text.startswith("-")
    assert accepted.text.isprintable()


@pytest.mark.parametrize("text", ["pandas==2", "a[b]", "-y", "", "..", "a b"])
def test_only_bare_names_are_uninstalled(text: str) -> None:
    with pytest.raises(InvalidRequirement):
        parse_name(text)


def test_a_newer_request_takes_the_place_of_the_older_one_of_the_same_name(tmp_path: Path) -> None:
    wanted = parse_all(["Pandas>=2", "six", "six"], tmp_path)
    assert merge(["pandas<2", "attrs"], wanted) == ("attrs", "Pandas>=2", "six")


def test_urls_and_repositories_come_only_from_where_the_settings_allow(tmp_path: Path) -> None:
    url, vcs = "a @ https://example.org/a-1-py3-none-any.whl", "a @ git+ssh://git@example.org/a"
    assert parse(url, tmp_path, requirement_sources=("url",)).text == url
    assert parse(vcs, tmp_path, requirement_sources=("vcs",)).text == vcs
    (tmp_path / "project").mkdir()
    for text, sources in ((url, ("vcs", "path")), (vcs, ("url",)), ("./project", ())):
        with pytest.raises(InvalidRequirement, match="requirement_sources"):
            parse(text, tmp_path, requirement_sources=sources)


@pytest.mark.parametrize(
    "text", ["a @ https://u:secret@example.org/a", "a @ git+https://secret@example.org/a"]
)
def test_credentials_in_a_requirement_are_refused_and_not_repeated(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequirement, match="credentials") as refused:
        parse(text, tmp_path, requirement_sources=("url", "vcs"))
    assert "secret" not in str(refused.value)


def test_lists_of_allowed_and_denied_names_hold_for_every_spelling(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequirement, match="denied_packages"):
        parse("Left_Pad>=1", tmp_path, denied_packages=("left-pad",))
    with pytest.raises(InvalidRequirement, match="allowed_packages has: pandas"):
        parse("six", tmp_path, allowed_packages=("Pandas",))
    assert parse("PANDAS", tmp_path, allowed_packages=("Pandas",)).name == "pandas"
