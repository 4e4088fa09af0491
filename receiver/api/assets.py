"""Asset links over HTTP: redirects to files, and downloads of them."""

import contextlib
from collections.abc import Coroutine
from typing import Any

from starlette.responses import RedirectResponse, Response

from receiver.api.downloads import DownloadResponse, while_connected
from receiver.api.guard import RequestContext
from receiver.api.transfers import transfer_of
from receiver.domain.errors import Busy
from receiver.providers.downloads import Download
from receiver.providers.file_head import WHOLE, part_wanted

DOWNLOAD = b"download=1"
"""The only query parameter that a link knows. Others are ignored: other programs add theirs to links."""


async def follow(context: RequestContext) -> Response:
    """Redirect an asset link to the current URL of its file, or pass the file on. It needs no API key."""
    if DOWNLOAD in context.request.scope["query_string"].split(b"&"):
        return await _download(context)
    url = await context.services.asset_links.url(context.path["token"])
    # The provider's URL may expire, so nothing may cache it. The provider need not learn the referring page.
    return RedirectResponse(url, 307, {"cache-control": "no-store", "referrer-policy": "no-referrer"})


async def _download(context: RequestContext) -> Response:
    request, services = context.request, context.services
    transfer_of(request.scope).under_way = True
    bodyless = request.method == "HEAD"
    # A range is defined for GET only. The provider gets a GET in any case: a presigned link allows no HEAD.
    headers = request.headers
    wanted = WHOLE if bodyless else part_wanted(headers.getlist("range"), headers.getlist("if-range"))
    with contextlib.ExitStack() as cleanup:
        opening = _kept(services.downloads.open(context.path["token"], wanted), cleanup)
        download = await while_connected(opening, request.receive, services.shutdown)
        if download is None:
            raise Busy("the service is stopping")
        # From here on, the response closes the download.
        cleanup.pop_all()
    return DownloadResponse(download, services.shutdown, bodyless=bodyless)


async def _kept(opening: Coroutine[Any, Any, Download], cleanup: contextlib.ExitStack) -> Download:
    """Return an opened download that `cleanup` closes: the request may be cancelled just after this."""
    download = await opening
    cleanup.callback(download.close)
    return download
