"""Headers of files: nothing of a provider runs under this origin."""

from typing import Any

import pytest

from handlers.contract import Kind
from receiver.api.file_headers import ENDINGS, OCTETS, file_headers, safe_type
from receiver.egress.body_stream import BodyStream
from receiver.providers.downloads import Download
from receiver.providers.file_head import FileHead


def download(head: FileHead, mime_type: str | None = None, kind: Kind = Kind.VIDEO) -> Download:
    """Return a download with this head."""
    place: Any = None
    return Download(
        job_id="job_1",
        index=2,
        kind=kind,
        mime_type=mime_type,
        head=head,
        body=BodyStream(),
        _place=place,
    )


SAFE = ["video/mp4", "Video/WebM; codecs=vp9", "image/png", "image/x-icon", "audio/mpeg", "video/x-msvideo"]


@pytest.mark.parametrize("told", SAFE)
def test_media_keep_their_type_without_its_parameters(told: str) -> None:
    assert safe_type(told, "text/html") == told.partition(";")[0].lower()


HARMFUL = """
    text/html image/svg+xml IMAGE/SVG+XML image/svg application/xhtml+xml text/xml image/foo+xml
    application/javascript text/javascript application/pdf multipart/byteranges text/plain video/ video
    video/mp4,text/html video/mp4/text application/json message/rfc822 font/woff2
""".split()  # noqa: SIM905  # a table reads better than 19 quoted strings


def test_a_type_with_blanks_is_only_bytes() -> None:
    assert safe_type("image/png\ttext/html", None) == OCTETS


@pytest.mark.parametrize("told", HARMFUL)
def test_everything_else_is_only_bytes(told: str) -> None:
    assert safe_type(told, None) == OCTETS
    assert safe_type(told, "video/mp4") == OCTETS
    assert safe_type(None, told) == OCTETS


@pytest.mark.parametrize("told", [None, "", "application/octet-stream", "Binary/Octet-Stream; x=y"])
def test_a_server_that_knows_no_type_leaves_it_to_the_provider(told: str | None) -> None:
    assert safe_type(told, "image/webp") == "image/webp"
    assert safe_type(told, None) == OCTETS


def test_media_are_shown_in_place_under_a_name_of_ours() -> None:
    head = FileHead(
        status=206,
        length=4,
        content_type="video/mp4",
        content_range="bytes 2-5/9",
        ranges=True,
        validators=[("etag", '"v"')],
    )
    assert dict(file_headers(download(head))) == {
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
        "cache-control": "private, no-store",
        "referrer-policy": "no-referrer",
        "content-type": "video/mp4",
        "content-disposition": 'inline; filename="job_1-2-video.mp4"',
        "etag": '"v"',
        "content-length": "4",
        "content-range": "bytes 2-5/9",
        "accept-ranges": "bytes",
    }


def test_other_files_are_saved() -> None:
    headers = file_headers(
        download(FileHead(status=200, length=None, content_type="text/html"), kind=Kind.FILE)
    )
    assert headers["content-type"] == OCTETS
    assert headers["content-disposition"] == 'attachment; filename="job_1-2-file.bin"'
    assert headers.keys().isdisjoint({"content-length", "content-range", "accept-ranges"})


def test_every_type_with_an_ending_is_safe() -> None:
    assert [one for one in ENDINGS if safe_type(one, None) != one] == []
