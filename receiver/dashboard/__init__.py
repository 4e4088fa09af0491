"""The files of the dashboard: read once, with a name that changes with their content, and compressed."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from handlers.values import immutable

FILES = Path(__file__).parent / "static"
PREFIX = "/dashboard"
"""The path below which the files are."""
PAGE = "index.html"
BASE = "{base}"
"""The place in the page where the path of the other files stands."""
TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""The media types of the files that are served; others, such as licences, are not."""


@immutable(kw_only=True)
class StaticFile:
    """A file as it is sent: plain, and compressed with gzip."""

    media_type: str
    body: bytes = field(repr=False)
    compressed: bytes = field(repr=False)
    etag: str


@immutable(kw_only=True)
class Dashboard:
    """The page and its files, by their path below `PREFIX`, which begins with a digest of them all."""

    page: StaticFile
    files: Mapping[str, StaticFile]


def load() -> Dashboard:
    """Return the files of the dashboard."""
    found = {
        path.relative_to(FILES).as_posix(): path.read_bytes()
        for path in sorted(FILES.rglob("*"))
        if path.suffix in TYPES
    }
    page = found.pop(PAGE)
    # Every file is below one digest, so that modules import each other by relative paths and a page never
    # mixes files of two versions.
    digest = hashlib.sha256(b"".join([page, *found.values(), *(name.encode() for name in found)])).hexdigest()
    base = f"{PREFIX}/{digest[:16]}"
    page = page.replace(BASE.encode(), base.encode())
    return Dashboard(
        page=_file(PAGE, page),
        files={f"{base}/{name}": _file(name, body) for name, body in found.items()},
    )


def _file(name: str, body: bytes) -> StaticFile:
    return StaticFile(
        media_type=TYPES[Path(name).suffix],
        body=body,
        compressed=gzip.compress(body, 9, mtime=0),
        etag=f'"{hashlib.sha256(body).hexdigest()[:24]}"',
    )
