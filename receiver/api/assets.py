"""Asset links over HTTP."""

from starlette.responses import RedirectResponse, Response

from receiver.api.guard import RequestContext


async def follow(context: RequestContext) -> Response:
    """Redirect a stable asset link to the current URL of the file. It needs no API key."""
    url = await context.services.asset_links.url(context.path["token"])
    # The provider's URL may expire, so nothing may cache it. The provider need not learn the referring page.
    return RedirectResponse(url, 307, {"cache-control": "no-store", "referrer-policy": "no-referrer"})
