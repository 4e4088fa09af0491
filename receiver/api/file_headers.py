"""The headers of a file that is passed on: no page or script of a provider ever runs under this origin."""

import re
from collections.abc import Mapping

from receiver.providers.downloads import Download

OCTETS = "application/octet-stream"
"""The type of every file that a browser could run, or that is unknown."""
UNTYPED = frozenset({"", OCTETS, "binary/octet-stream"})
"""The types of servers that do not know a file's type."""
SAFE = re.compile(r"(?:video|audio|image)/(?!.*(?:svg|xml))[a-z0-9][a-z0-9.+-]{0,63}", re.ASCII)
"""The types that a browser shows or plays and does not run: SVG is a document with scripts."""
ENDINGS = {
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "image/avif": "avif",
    "image/gif": "gif",
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
}
FIXED = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
    "cache-control": "private, no-store",
    "referrer-policy": "no-referrer",
}


def safe_type(told: str | None, known: str | None) -> str:
    """Return the type of a file, by its server or else by its provider, where that is harmless."""
    essence = (told or "").partition(";")[0].strip().lower()
    if essence in UNTYPED:
        essence = (known or "").partition(";")[0].strip().lower()
    return essence if SAFE.fullmatch(essence) else OCTETS


def file_headers(download: Download) -> Mapping[str, str]:
    """Return the headers of the response with this file."""
    head = download.head
    media_type = safe_type(head.content_type, download.mime_type)
    # Media are shown in place, as a dashboard does; everything else is only saved.
    shown = "attachment" if media_type == OCTETS else "inline"
    name = f"{download.job_id}-{download.index}-{download.kind.value}.{ENDINGS.get(media_type, 'bin')}"
    headers = {
        **FIXED,
        "content-type": media_type,
        "content-disposition": f'{shown}; filename="{name}"',
        **dict(head.validators),
    }
    if head.length is not None:
        headers["content-length"] = str(head.length)
    if head.content_range is not None:
        headers["content-range"] = head.content_range
    if head.ranges:
        headers["accept-ranges"] = "bytes"
    return headers
