"""Commands, run as people run them: in a folder, with an environment, in a pipe or on a terminal."""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stories.deployment import KEY, PATIENCE, Deployment

RINGBACK = Path(sys.executable).with_name("ringback")


@dataclass
class Said:
    """The output of a command, and its exit code."""

    code: int
    out: str
    err: str

    def told(self) -> Any:
        """Return the JSON that the command printed. The command must have succeeded."""
        assert self.code == 0, self.err
        return json.loads(self.out)


def variables_of(folder: Path, variables: dict[str, str]) -> dict[str, str]:
    """Return an environment with nothing of this machine's."""
    return {"HOME": str(folder), "COLUMNS": "200", "LANG": "C.UTF-8", **variables}


async def run(folder: Path, *arguments: str, **variables: str) -> Said:
    """Run a command in `folder`, with little more in its environment than `variables`. Returns its output."""
    return await fed(b"", folder, *arguments, **variables)


async def fed(stdin: bytes, folder: Path, *arguments: str, **variables: str) -> Said:
    """Run a command with bytes on its standard input. Returns its output."""
    async with begun(folder, *arguments, **variables) as process:
        out, err = await process.communicate(stdin)
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())


@contextlib.asynccontextmanager
async def begun(folder: Path, *arguments: str, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a command. It ends with the context, or after `PATIENCE` seconds. Yields its process."""
    process = await asyncio.create_subprocess_exec(
        RINGBACK,
        *arguments,
        cwd=folder,
        env=variables_of(folder, variables),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def line_with(stream: asyncio.StreamReader | None, word: str) -> str:
    """Return the next line that contains `word`."""
    assert stream is not None
    while line := (await stream.readline()).decode():
        if word in line:
            return line.rstrip("\n")
    raise AssertionError(f"it ended without a line with {word!r}")


async def asked(deployment: Deployment, *arguments: str, stdin: bytes = b"") -> Said:
    """Run a command against the service. Returns its output."""
    return await fed(stdin, deployment.folder, *arguments, RINGBACK_URL=deployment.url, RINGBACK_API_KEY=KEY)


async def found(deployment: Deployment, *arguments: str) -> Any:
    """Return the JSON that a command against the service prints."""
    return (await asked(deployment, *arguments, "--json")).told()


async def seen(deployment: Deployment, columns: int, *arguments: str) -> list[str]:
    """Return the lines that a command shows on a terminal of this width, with its control codes."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    variables = {"RINGBACK_URL": deployment.url, "RINGBACK_API_KEY": KEY, "TERM": "xterm-256color"}
    environment = variables_of(deployment.folder, variables)
    del environment["COLUMNS"]
    process = await asyncio.create_subprocess_exec(
        RINGBACK,
        *arguments,
        cwd=deployment.folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        async with asyncio.timeout(PATIENCE):
            text = await asyncio.to_thread(_all_of, ours)
            await process.wait()
    finally:
        os.close(ours)
    return text.replace("\r\n", "\n").splitlines()


def _all_of(terminal: int) -> str:
    parts = []
    with contextlib.suppress(OSError):  # raised when the terminal is closed
        while part := os.read(terminal, 65536):
            parts.append(part)
    return b"".join(parts).decode()


def names(folder: Path) -> list[str]:
    """Return the names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())
