"""Files, saved through the service. A download that broke goes on where it stopped."""

import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import httpx

from receiver.cli.client import find_service, problem_of
from receiver.cli.groups import INTERRUPTED
from receiver.cli.terminal import say
from receiver.domain.errors import no_file

TRIES = 5
"""Times that a download begins without a byte of progress before it fails."""
PART = ".part"
"""The ending of a file that is not whole."""
NAME = re.compile(r'filename="([A-Za-z0-9_][A-Za-z0-9._-]{0,120})"', re.ASCII)
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", re.ASCII)
ENDED = re.compile(r"bytes \*/(\d{1,18})", re.ASCII)


class _Broken(Exception):
    """The error for a broken connection of a download."""


def download(link: str, name: str, output: Path | None) -> Path:
    """Save the file behind an asset link. Returns its path, `output` or one from the name of the file.

    Raises `click.ClickException` where the file cannot be had or saved.
    """
    # The link may lead to a public address; the service answers under its own, too. It needs no key.
    url = f"{find_service().url}{urlsplit(link).path}?download=1"
    part = Path(f"{output or name}{PART}")
    try:
        told = _whole(url, part)
        chosen = output or Path(told or name)
        part.replace(chosen)
    except KeyboardInterrupt:
        say(f"stopped; the same command goes on from {part}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except OSError as error:
        raise click.ClickException(f"{part}: {no_file(error)}") from None
    return chosen


def _whole(url: str, part: Path) -> str | None:
    """Download into `part` until it is whole. Returns the name of the file."""
    failures = 0
    with httpx.Client(timeout=60, trust_env=False) as client:
        while True:
            before = part.stat().st_size if part.exists() else 0
            try:
                return _once(client, url, part, before)
            except _Broken:
                failures = failures + 1 if part.stat().st_size <= before else 0
                if failures == TRIES:
                    raise click.ClickException(
                        f"the connection breaks; the same command goes on from {part}"
                    ) from None


def _once(client: httpx.Client, url: str, part: Path, have: int) -> str | None:
    """Download the rest of a file, of which `part` has so many bytes. Returns its name."""
    part.touch()
    wanted = {"range": f"bytes={have}-"} if have else {}
    try:
        with client.stream("GET", url, headers=wanted) as answer:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return _at_the_end(answer, part, have)
            if not answer.is_success:
                answer.read()
                raise click.ClickException(problem_of(answer, find_service()))
            begins = CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
            goes_on = answer.status_code == httpx.codes.PARTIAL_CONTENT
            if goes_on and (begins is None or int(begins[1]) != have):
                raise click.ClickException(f"the service sent another part of the file; remove {part}")
            _append(answer, part, have if goes_on else 0)
            named = NAME.search(answer.headers.get("content-disposition", ""))
            return named[1] if named else None
    except httpx.TransportError:
        raise _Broken from None


def _append(answer: httpx.Response, part: Path, have: int) -> None:
    """Write an answer behind the first `have` bytes of `part`, with a bar on a terminal."""
    length = int(answer.headers.get("content-length", 0))
    progress: Any = click.progressbar(length=length, file=sys.stderr)
    with part.open("r+b") as file, progress as bar:
        file.truncate(have)
        file.seek(have)
        for piece in answer.iter_raw():
            file.write(piece)
            bar.update(len(piece))


def _at_the_end(answer: httpx.Response, part: Path, have: int) -> str | None:
    """Take a part that was whole already. Raises `click.ClickException` where it is longer than the file."""
    ended = ENDED.fullmatch(answer.headers.get("content-range", ""))
    if ended is None or int(ended[1]) != have:
        raise click.ClickException(f"{part} is not a part of this file; remove it")
    return None
