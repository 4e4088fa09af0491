"""Files, saved through the service. A download that broke goes on where it stopped."""

import json
import re
import sys
from dataclasses import dataclass
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
STATE = ".json"
"""The ending, behind that of a part, of the file that says of which version of the file it is."""
NAME = re.compile(r'filename="([A-Za-z0-9_][A-Za-z0-9._-]{0,120})"', re.ASCII)
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", re.ASCII)
ENDED = re.compile(r"bytes \*/(\d{1,18})", re.ASCII)


class _Broken(Exception):
    """The error for a broken connection of a download."""


@dataclass(slots=True)
class _Part:
    """A file that is not whole, and the version that it is of: its entity tag and its length."""

    path: Path

    @property
    def state(self) -> Path:
        """Return the path of the file with its version."""
        return Path(f"{self.path}{STATE}")

    def size(self) -> int:
        """Return the number of its bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self) -> dict[str, Any]:
        """Return its version, as far as it is known."""
        try:
            told = json.loads(self.state.read_bytes())
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}

    def begin(self, answer: httpx.Response) -> None:
        """Note the version of an answer that brings the whole file."""
        tag, length = answer.headers.get("etag", ""), answer.headers.get("content-length")
        # A weak tag does not say that every byte is the same (RFC 9110, 13.1.5).
        told = {"etag": None if tag.startswith("W/") else tag or None, "length": length}
        self.state.write_text(json.dumps(told), "utf-8")

    def is_of(self, answer: httpx.Response, length: str) -> bool:
        """Return whether the rest of a file with this length belongs to it, as far as that is known."""
        known, tag = self.version(), answer.headers.get("etag")
        other = known.get("etag") is not None and tag is not None and tag != known["etag"]
        return not other and (length == "*" or known.get("length") in {None, length})

    def start_over(self) -> None:
        """Forget its bytes and its version."""
        self.path.write_bytes(b"")
        self.state.unlink(missing_ok=True)


def download(link: str, name: str, output: Path | None) -> Path:
    """Save the file behind an asset link. Returns its path, `output` or one from the name of the file.

    Raises `click.ClickException` where the file cannot be had or saved.
    """
    # The link may lead to a public address; the service answers under its own, too. It needs no key.
    url = f"{find_service().url}{urlsplit(link).path}?download=1"
    part = _Part(Path(f"{output or name}{PART}"))
    try:
        told = _whole(url, part)
        chosen = output or Path(told or name)
        part.path.replace(chosen)
        part.state.unlink(missing_ok=True)
    except KeyboardInterrupt:
        say(f"stopped; the same command goes on from {part.path}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except OSError as error:
        raise click.ClickException(f"{part.path}: {no_file(error)}") from None
    return chosen


def _whole(url: str, part: _Part) -> str | None:
    """Download into `part` until it is whole. Returns the name of the file."""
    failures = 0
    with httpx.Client(timeout=60, trust_env=False) as client:
        while True:
            before = part.size()
            try:
                return _once(client, url, part, before)
            except _Broken:
                failures = failures + 1 if part.size() <= before else 0
                if failures == TRIES:
                    raise click.ClickException(
                        f"the connection breaks; the same command goes on from {part.path}"
                    ) from None


def _once(client: httpx.Client, url: str, part: _Part, have: int) -> str | None:
    """Download the rest of a file, of which `part` has so many bytes. Returns its name.

    A file that is another by now is begun anew.
    """
    part.path.touch()
    wanted = {"range": f"bytes={have}-"} if have else {}
    if have and (tag := part.version().get("etag")):
        wanted["if-range"] = tag
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
                raise click.ClickException(f"the service sent another part of the file; remove {part.path}")
            if begins is not None and goes_on and not part.is_of(answer, begins[2]):
                part.start_over()
                raise _Broken
            if not goes_on:
                part.begin(answer)
            _append(answer, part.path, have if goes_on else 0)
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


def _at_the_end(answer: httpx.Response, part: _Part, have: int) -> str | None:
    """Take a part that was whole already. Raises `click.ClickException` where it is longer than the file."""
    ended = ENDED.fullmatch(answer.headers.get("content-range", ""))
    if ended is None or int(ended[1]) != have:
        raise click.ClickException(f"{part.path} is not a part of this file; remove it")
    return None
