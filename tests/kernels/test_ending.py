import pytest

from kernel_exec.kernels import Ending


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (Ending(0), "exited with code 0"),
        (Ending(7), "exited with code 7"),
        (Ending(-9), "was killed by SIGKILL"),
        (Ending(-11), "was killed by SIGSEGV"),
        (Ending(-250), "was killed by signal 250"),
        (Ending(None), "ended"),
        (Ending(-9, out_of_memory=True), "was killed by the system: out of memory"),
        (
            Ending(-9, out_of_memory=True, peak_memory_bytes=3 << 29),
            "was killed by the system: out of memory at 1.5 GiB",
        ),
    ],
)
def test_an_ending_reads_as_the_end_of_a_sentence(ending: Ending, text: str) -> None:
    assert str(ending) == text
