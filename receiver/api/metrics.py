"""Metrics over HTTP, in the formats of Prometheus and OpenMetrics."""

from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from receiver.api.guard import NO_STORE, NOSNIFF, RequestContext


async def show(context: RequestContext) -> Response:
    """Show the metrics of this process. Without a database the gauges of the store are left out."""
    await context.services.gauges.refresh()
    encode, content_type = choose_encoder(context.request.headers.get("accept", ""))
    body = encode(context.services.metrics.registry)
    return Response(body, headers={**NOSNIFF, **NO_STORE, "content-type": content_type})
