"""The page of the dashboard and its files over HTTP."""

import functools
import re

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from receiver.api.guard import NOSNIFF, RequestContext
from receiver.dashboard import PREFIX, StaticFile, load
from receiver.domain.errors import NotFound

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    **NOSNIFF,
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "vary": "accept-encoding",
}
FOREVER = "public, max-age=31536000, immutable"
"""The `Cache-Control` of files with a digest of their content in the path."""
_GZIP = re.compile(
    r"(?:^|,)\s*(?:gzip|\*)\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[0-9.]+)?\s*(?=,|$)", re.IGNORECASE
)
# Read once: the files change with a release only.
_dashboard = functools.cache(load)


async def front(context: RequestContext) -> Response:
    """Show the dashboard, or lead to the API reference where it is off."""
    if not context.services.settings.dashboard:
        return RedirectResponse("/docs", 307)
    return _sent(context.request, _dashboard().page, "no-cache")


async def file(context: RequestContext) -> Response:
    """Show a file of the dashboard. Raises `NotFound`."""
    path = f"{PREFIX}/{context.path['path']}"
    found = _dashboard().files.get(path) if context.services.settings.dashboard else None
    if found is None:
        raise NotFound("the dashboard has no such file; reload the page")
    return _sent(context.request, found, FOREVER)


def _known(header: str, etag: str) -> bool:
    """Return whether an `If-None-Match` names a tag, by the weak comparison of RFC 9110."""
    return header.strip() == "*" or etag in [one.strip().removeprefix("W/") for one in header.split(",")]


def _sent(request: Request, found: StaticFile, caching: str) -> Response:
    headers = {**HEADERS, "cache-control": caching, "etag": found.etag}
    if _known(request.headers.get("if-none-match", ""), found.etag):
        return Response(status_code=304, headers=headers)
    if _GZIP.search(request.headers.get("accept-encoding", "")):
        return Response(
            found.compressed, headers={**headers, "content-encoding": "gzip"}, media_type=found.media_type
        )
    return Response(found.body, headers=headers, media_type=found.media_type)
