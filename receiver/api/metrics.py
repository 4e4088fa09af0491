"""Metrics over HTTP, in the formats of Prometheus and OpenMetrics."""

from starlette.responses import Response

from receiver.api.guard import NO_STORE, NOSNIFF, RequestContext


async def show(context: RequestContext) -> Response:
    """Show the metrics of this process. Without a database the gauges of the store are left out."""
    from receiver.metrics.exposition import exposition  # noqa: PLC0415  # its library takes long to load

    await context.services.gauges.refresh()
    body, content_type = exposition(context.services.metrics, context.request.headers.get("accept", ""))
    return Response(body, headers={**NOSNIFF, **NO_STORE, "content-type": content_type})
