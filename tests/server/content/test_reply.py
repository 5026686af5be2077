import base64
import json
import random
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.types import AudioContent, CallToolResult, ImageContent, ResourceLink, TextContent
from PIL import Image

from kernel_exec.server.content import REPLY_LIMIT_BYTES, Budget, output_resource, render, render_many
from kernel_exec.sessions.execution import Execution
from kernel_exec.sessions.outputs import DisplayData, Error, ExecuteResult, Output, Stream, Text
from kernel_exec.settings import Settings

STATUS = "[3] ok 0.84 s · session main · environment default · 212 MiB · execution e17"


def execution(*outputs: Output, **changes: Any) -> Execution:
    values: dict[str, Any] = {
        "id": "e17",
        "session": "main",
        "environment": "default",
        "source": "",
        "status": "ok",
        "count": 3,
        "outputs": outputs,
        "elapsed_seconds": 0.84,
        "memory_bytes": 212 << 20,
    }
    return Execution(**values | changes)


def printed(text: str, name: str = "stdout") -> Stream:
    return Stream(name, Text.of(text))


def picture(width: int = 40, height: int = 30, *, noise: bool = False) -> DisplayData:
    data = random.Random(1).randbytes(width * height * 3) if noise else bytes(width * height * 3)
    file = BytesIO()
    Image.frombytes("RGB", (width, height), data).save(file, "PNG")
    return DisplayData(
        {"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": "<Figure size 1x1>"}
    )


def text(reply: CallToolResult) -> str:
    first = reply.content[0]
    assert isinstance(first, TextContent)
    return first.text


def size(reply: CallToolResult) -> int:
    return len(json.dumps(reply.model_dump(mode="json", by_alias=True)))


def test_an_execution_without_output_is_its_status_line() -> None:
    reply = render(execution(), Budget())
    assert [block.type for block in reply.content] == ["text"]
    assert text(reply) == STATUS
    assert not reply.is_error
    assert reply.structured_content is None


def test_text_comes_first_then_the_status_line_then_images_sounds_and_links() -> None:
    reply = render(
        execution(
            DisplayData({"audio/wav": "UklGRg=="}),
            printed("one\n"),
            picture(),
            DisplayData({"text/html": "<b>page</b>"}),
            ExecuteResult({"text/plain": "'two'"}, 3),
        ),
        Budget(),
    )
    assert [type(block) for block in reply.content] == [TextContent, ImageContent, AudioContent, ResourceLink]
    lines = text(reply).split("\n")
    assert lines[:2] == ["[output 0: audio/wav, 4 bytes]", "one"]
    assert lines[2].startswith("[output 2: image/png, 40 x 30, ")
    assert text(reply).endswith(f"'two'\n\n{STATUS}")
    link = reply.content[3]
    assert isinstance(link, ResourceLink)
    assert (link.uri, link.mime_type, link.size) == (
        "kernel-exec://executions/e17/outputs/3",
        "text/html",
        11,
    )


def test_stdout_and_stderr_are_one_terminal_in_order_of_arrival() -> None:
    outputs = [printed("a\n"), printed("\r10%", "stderr"), printed("\r100%\n", "stderr"), printed("b\n")]
    assert text(render(execution(*outputs), Budget())).startswith("a\n100%\nb\n\n[3]")


def test_a_result_begins_a_new_line_and_cannot_overwrite_what_was_printed() -> None:
    outputs = [printed("no newline"), ExecuteResult({"text/plain": "\rred \x1b[31mX\x1b[0m\x1b[A\x1b[2K"}, 3)]
    assert text(render(execution(*outputs), Budget())).startswith("no newline\n")


@pytest.mark.parametrize("status", ["error", "timeout", "interrupted", "died"])
def test_a_failed_execution_is_an_error(status: str) -> None:
    assert render(execution(status=status), Budget()).is_error
    assert render_many([execution(), execution(status=status)], Budget()).is_error


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {"count": None, "memory_bytes": None},
            ["[ ] ok 0.84 s · session main · environment default · execution e17"],
        ),
        (
            {
                "status": "queued",
                "count": None,
                "memory_bytes": None,
                "position": 2,
                "elapsed_seconds": 12.34,
            },
            [
                "[ ] queued 12.3 s · 2 before it · session main · environment default · execution e17",
                'Not finished; next: get_execution("e17", wait_seconds=50)',
            ],
        ),
        (
            {"status": "running", "elapsed_seconds": 3_725},
            [
                STATUS.replace("ok 0.84 s", "running 3,725 s"),
                'Not finished; next: get_execution("e17", wait_seconds=50)',
            ],
        ),
        (
            {"status": "waiting_for_input", "prompt": "Name?\x1b[31m "},
            [
                STATUS.replace("ok", "waiting for input"),
                'Waiting for input, prompt "Name?": answer with send_input("e17", text=…)',
            ],
        ),
        ({"note": "Line one.\nLine two."}, ["Line one.", "Line two.", STATUS]),
        (
            {"dropped_bytes": 12_345},
            ["[12,345 bytes of output past output_limit_bytes were not kept]", STATUS],
        ),
    ],
)
def test_the_status_says_what_to_know_and_what_to_do_next(changes: dict[str, Any], lines: list[str]) -> None:
    assert text(render(execution(**changes), Budget())).split("\n") == lines


def test_a_running_execution_is_read_on_from_its_unfinished_line() -> None:
    reply = render(execution(printed("done 1\ndone 2\n 37%"), status="running"), Budget())
    assert 'get_execution("e17", wait_seconds=50, offset=14)' in text(reply)


def test_a_clipped_text_names_the_call_for_the_rest_and_links_the_whole(tmp_path: Path) -> None:
    file = tmp_path / "stdout"
    whole = "".join(f"{number:09}\n" for number in range(100_000))
    file.write_text(whole)
    big = execution(Stream("stdout", Text("", file, len(whole))))
    reply = render(big, Budget())
    head, _, tail = text(reply).partition(
        '\n[… 990,000 characters left out; get_execution("e17", offset=6000) …]\n'
    )
    assert head == whole[:6_000]
    assert tail == whole[-4_000:].rstrip() + f"\n\n{STATUS}"
    assert isinstance(reply.content[1], ResourceLink)
    rest = render(big, Budget(), offset=6_000)
    assert text(rest).startswith(whole[6_000:16_000])
    assert '[… 984,000 characters follow; get_execution("e17", offset=16000) …]' in text(rest)
    last = render(big, Budget(), offset=995_000)
    assert text(last) == whole[995_000:].rstrip() + f"\n\n{STATUS}"


def test_a_file_that_is_gone_is_said(tmp_path: Path) -> None:
    gone = Stream("stdout", Text("", tmp_path / "gone", 100))
    assert "[output 0: its file cannot be read: No such file" in text(
        render(execution(gone, picture()), Budget())
    )


def test_images_belong_to_the_piece_of_text_they_stand_in() -> None:
    run = execution(printed("x" * 1_000), picture(), printed("y" * 1_000), picture())
    first_place = text(render(run, Budget())).index("[output 1")
    assert len(render(run, Budget(), offset=0).content) == 3
    assert len(render(run, Budget(), offset=first_place).content) == 3
    assert len(render(run, Budget(), offset=first_place + 1).content) == 2
    assert len(render(run, Budget(max_chars=500), offset=first_place).content) == 2
    assert len(render(run, Budget(), offset=5_000).content) == 1


def test_images_past_the_budget_are_links() -> None:
    reply = render(execution(*[picture()] * 6), Budget(max_images=4))
    assert [block.type for block in reply.content] == ["text", *["image"] * 4, *["resource_link"] * 2]
    assert [block.type for block in render(execution(picture()), Budget(max_images=0)).content] == [
        "text",
        "resource_link",
    ]


def test_a_scaled_image_has_its_original_as_a_link() -> None:
    reply = render(execution(picture(2_000, 100)), Budget())
    assert [block.type for block in reply.content] == ["text", "image", "resource_link"]
    small = reply.content[1]
    assert isinstance(small, ImageContent)
    assert Image.open(BytesIO(base64.b64decode(small.data))).size == (1_568, 78)


def test_an_image_broken_past_its_header_costs_only_itself() -> None:
    data = picture(200, 200, noise=True).data["image/png"]
    reply = render(execution(DisplayData({"image/png": data[:4_000]}), picture()), Budget())
    assert [block.type for block in reply.content] == ["text", "text", "image", "resource_link"]
    assert "[output 0 is not shown: the data are broken or no image]" in str(reply.content[1])


def test_a_drawing_is_a_link_where_nothing_can_draw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cairosvg", None)
    reply = render(execution(DisplayData({"image/svg+xml": '<svg width="9" height="9"/>'})), Budget())
    assert [block.type for block in reply.content] == ["text", "resource_link"]


def test_a_sound_too_large_is_a_link() -> None:
    sound = DisplayData({"audio/wav": base64.b64encode(bytes(800_000)).decode()})
    assert [block.type for block in render(execution(sound), Budget()).content] == ["text", "resource_link"]


def test_many_executions_share_one_budget() -> None:
    runs = [
        execution(printed("short\n"), id="e1"),
        execution(printed("x" * 50_000), id="e2"),
        execution(id="e3"),
    ]
    reply = text(render_many(runs, Budget(max_chars=1_000), "Ran 3 of 3 cells."))
    assert reply.startswith("Ran 3 of 3 cells.\n\nshort\n\n[3] ok")
    assert 990 < reply.count("x") - reply.count("execution") - reply.count("get_ex") < 1_000
    assert [f"execution e{number}" in reply for number in (1, 2, 3)] == [True] * 3


def test_of_very_many_executions_the_first_and_the_last_are_shown() -> None:
    runs = [execution(printed("x" * 100), id=f"e{number}") for number in range(1_000)]
    reply = render_many(runs, Budget())
    assert "[… 900 executions left out, e50 to e949" in text(reply)
    assert "execution e49\n" in text(reply) and "execution e950\n" in text(reply)
    assert size(reply) < REPLY_LIMIT_BYTES


def test_the_budget_comes_from_the_settings(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, max_images=2)
    assert Budget.of(settings) == Budget(10_000, 2, 700_000, 1_568)
    assert Budget.of(settings, max_chars=500).max_chars == 500


def test_the_whole_of_every_kind_of_output_can_be_read() -> None:
    assert output_resource(printed("\x1b[1mx")) == ("\x1b[1mx", "text/plain")
    assert output_resource(Error("E", "v", ("\x1b[31mone", "two"))) == ("one\ntwo", "text/plain")
    assert output_resource(Error("E", "v", ())) == ("E: v", "text/plain")
    assert output_resource(DisplayData({"audio/wav": "UklGRg=="})) == (b"RIFF", "audio/wav")


NOISE, BIG = picture(700, 700, noise=True), picture(1_800, 1_600, noise=True)
SOUND = DisplayData({"audio/wav": base64.b64encode(bytes(150_000)).decode()})
LARGE: dict[str, Output] = {
    "image": NOISE,
    "sound": SOUND,
    "small image": picture(),
    "page": DisplayData({"text/html": "<b>x</b>"}),
    "odd type": DisplayData({"x" * 5_000: "y"}),
    "astral": printed("\N{PILE OF POO}" * 90_000),
    "escaped": printed('\x01\\"\n' * 30_000),
    "wide": printed("漢" * 200_000),
    "error": Error("E" * 3_000, "\U0010ffff" * 9_000, ("x\n" * 9_000,)),
    "broken": DisplayData({"image/png": "AAAA", "text/plain": "\u2028" * 100_000}),
}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.lists(st.sampled_from(sorted(LARGE)), max_size=8), min_size=1, max_size=3),
    st.sampled_from([200, 10_000, 500_000]),
    st.sampled_from([0, 4, 20]),
    st.sampled_from([0, 0, 1_000]),
    st.sampled_from(["", "\N{PILE OF POO}", "\x00\\"]),
)
@pytest.mark.slow
def test_no_reply_ever_reaches_the_limit(
    runs: list[list[str]], max_chars: int, max_images: int, offset: int, note: str
) -> None:
    budget, note = Budget(max_chars, max_images), note * 20_000
    executions = [
        execution(*[LARGE[name] for name in run], note=note, prompt=note, status="waiting_for_input")
        for run in runs
    ]
    assert size(render(executions[0], budget, offset=offset)) < REPLY_LIMIT_BYTES
    assert size(render_many(executions * 4, budget, note)) < REPLY_LIMIT_BYTES


def test_an_exception_that_ipython_printed_is_shown_once() -> None:
    usage = Error("UsageError", "Line magic function `%x` not found.", ())
    printed_by_ipython = execution(
        printed("UsageError: Line magic function `%x` not found.\n", "stderr"), usage
    )
    assert text(render(printed_by_ipython, Budget())).count("UsageError") == 1
    assert text(render(execution(printed("before\n"), usage), Budget())).count("UsageError") == 1


def test_a_hundred_long_notes_stay_below_the_limit() -> None:
    noted = execution(printed("\N{PILE OF POO}" * 9_000), note="\N{PILE OF POO}" * 9_000, status="died")
    assert size(render_many([noted] * 150, Budget(500_000))) < REPLY_LIMIT_BYTES


@pytest.mark.slow
def test_many_of_everything_large_stays_below_the_limit() -> None:
    everything = [BIG, SOUND, printed("\N{PILE OF POO}" * 100_000)] * 6
    reply = render(execution(*everything), Budget(500_000, 20))
    assert size(reply) < REPLY_LIMIT_BYTES
    assert sum(isinstance(block, ImageContent) for block in reply.content) >= 4
