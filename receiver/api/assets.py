"""Asset links over HTTP."""

from starlette.responses import RedirectResponse, Response

from receiver.api.guard import RequestContext


async def follow(context: RequestContext) -> Response:
    """Redirect a stable asset link to the provider's current URL. The link needs no API key."""
    url = await context.services.asset_links.url(context.path["token"])
    return RedirectResponse(url, 307, {"cache-control": "no-store", "referrer-policy": "no-referrer"})
