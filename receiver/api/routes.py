"""The routes: every call of the API with its summary, scope, models and status."""

from collections.abc import Sequence
from dataclasses import replace

from receiver.api import (
    assets,
    deliveries,
    endpoints,
    events,
    jobs,
    keys,
    messages,
    providers,
    replays,
    signing_keys,
    sources,
    streams,
)
from receiver.api import requests as a
from receiver.api import responses as s
from receiver.api import webhooks as w
from receiver.api.guard import JOB_LIMIT
from receiver.api.operation_routes import OPERATION_ROUTES
from receiver.api.routing import Route, listing, route

ASSET = "Redirect an asset link to the current URL of its file, or pass the file on. It needs no API key."
ROUTES: Sequence[Route] = (
    route("POST", "/v1/jobs", jobs.create, "Submit a job.", "jobs:write", s.NewJobResponse, 202).takes(
        a.JobRequest,
        limit=JOB_LIMIT,
        also=(200,),
        headers=("Idempotency-Key", "Prefer"),
        reads=jobs.read_wish,
    ),
    listing(
        "/v1/jobs", jobs.list_, "List jobs, newest first.", "jobs:read", s.JobResponse, a.JobQuery
    ).labelled(),
    route(
        "GET",
        "/v1/jobs/{id}",
        jobs.show,
        "Show a job with its input. With `wait`, respond once the job is final or the time is up.",
        "jobs:read",
        s.WholeJob,
    )
    .asks(a.JobReadQuery)
    .for_browsers(),
    route(
        "DELETE",
        "/v1/jobs/{id}",
        jobs.delete,
        "Erase a final job with its events and attempts.",
        "jobs:write",
        None,
        204,
    ),
    route("POST", "/v1/jobs/{id}/cancel", jobs.cancel, "Cancel a job.", "jobs:write", s.JobResponse),
    route(
        "POST",
        "/v1/jobs/{id}/revoke-assets",
        jobs.revoke_assets,
        "Revoke the stable links to a job's files, those handed out before included.",
        "jobs:write",
        s.JobResponse,
    ),
    route(
        "POST",
        "/v1/jobs/{id}/resolve",
        jobs.resolve,
        "Resolve an unconfirmed job. The body has exactly one of the three fields.",
        "jobs:write",
        s.JobResponse,
    ).takes(a.Resolution),
    listing(
        "/v1/jobs/{id}/timeline",
        jobs.timeline_,
        "Show a job's timeline, oldest first.",
        "jobs:read",
        s.EntryResponse,
        a.PageQuery,
    ),
    listing(
        "/v1/jobs/{id}/messages",
        messages.list_,
        "List the raw messages that are kept of a job, oldest first, without secrets.",
        "jobs:read",
        messages.MessageResponse,
        messages.MessageQuery,
    ),
    route(
        "POST",
        "/v1/jobs/{id}/token",
        jobs.token,
        "Create a token with which a browser reads this job and its stream, nothing else.",
        "jobs:read",
        s.JobTokenResponse,
        201,
    ).takes(a.TokenRequest, optional=True),
    route(
        "GET",
        "/v1/jobs/{id}/stream",
        streams.job,
        "Stream the events of a job as server-sent events until it is final.",
        "jobs:read",
        None,
    )
    .asks(a.TokenQuery)
    .sends("Last-Event-ID")
    .for_browsers(),
    listing(
        "/v1/events",
        events.feed,
        "List events, oldest first. With `wait`, respond once there is an event or the time is up.",
        "events:read",
        w.EventResponse,
        a.FeedQuery,
    ).fed(),
    route(
        "GET",
        "/v1/events/stream",
        streams.feed,
        "Stream events as server-sent events, from now on or from a place in the feed.",
        "events:read",
        None,
    )
    .asks(a.StreamQuery)
    .sends("Last-Event-ID"),
    route(
        "GET",
        "/v1/events/{id}",
        events.show,
        "Show an event and, for each endpoint, its delivery status and the reason.",
        "events:read",
        w.EventWithReasons,
    ),
    route(
        "POST",
        "/v1/endpoints",
        endpoints.create,
        "Create an endpoint. Only this response and `/secret` show its secret.",
        "endpoints:write",
        s.NewEndpoint,
        201,
    ).takes(a.EndpointRequest),
    listing(
        "/v1/endpoints",
        endpoints.list_,
        "List endpoints, newest first.",
        "endpoints:read",
        s.EndpointResponse,
        a.PageQuery,
    ),
    route(
        "GET",
        "/v1/endpoints/{id}",
        endpoints.show,
        "Show an endpoint, how it does, and the deliveries that it is owed.",
        "endpoints:read",
        s.EndpointWithHealth,
    ),
    route(
        "PATCH",
        "/v1/endpoints/{id}",
        endpoints.update,
        "Change an endpoint by JSON merge patch (RFC 7396). A null resets a field to its default.",
        "endpoints:write",
        s.EndpointResponse,
    ).takes(a.EndpointPatch),
    route(
        "DELETE",
        "/v1/endpoints/{id}",
        endpoints.delete,
        "Delete an endpoint and cancel its pending deliveries.",
        "endpoints:write",
        None,
        204,
    ),
    route(
        "GET",
        "/v1/endpoints/{id}/secret",
        endpoints.secret,
        "Show the secret that signs the deliveries to an endpoint.",
        "endpoints:write",
        s.EndpointSecret,
    ),
    route(
        "POST",
        "/v1/endpoints/{id}/test",
        endpoints.test,
        "Send an `endpoint.test` event to an endpoint now and show the attempt.",
        "endpoints:write",
        s.AttemptResponse,
    ),
    route(
        "POST",
        "/v1/endpoints/{id}/resume",
        endpoints.resume,
        "Resume a paused or disabled endpoint. Its pending deliveries are sent.",
        "endpoints:write",
        s.EndpointResponse,
    ),
    route(
        "POST",
        "/v1/endpoints/{id}/pause",
        endpoints.pause,
        "Pause an endpoint. Its deliveries wait until it is resumed.",
        "endpoints:write",
        s.EndpointResponse,
    ),
    route(
        "POST",
        "/v1/endpoints/{id}/rotate-secret",
        endpoints.rotate_secret,
        "Give an endpoint a new secret. The present one signs as well until the overlap ends.",
        "endpoints:write",
        s.NewEndpoint,
    ).takes(a.RotationRequest, optional=True),
    route(
        "POST",
        "/v1/endpoints/{id}/explain",
        endpoints.explain,
        "Explain whether an endpoint takes an event, and which clause of its filter decides it.",
        "endpoints:read",
        s.ExplanationResponse,
    ).takes(a.ExplanationRequest),
    route(
        "POST",
        "/v1/endpoints/{id}/replay",
        replays.create,
        "Send old events to an endpoint again. With `dry_run` they are only counted.",
        "endpoints:write",
        s.ReplayResponse,
        202,
    ).takes(a.ReplayRequest, also=(200,)),
    listing(
        "/v1/replays",
        replays.list_,
        "List replays, newest first.",
        "endpoints:read",
        s.ReplayResponse,
        a.ReplayQuery,
    ),
    route(
        "GET",
        "/v1/replays/{id}",
        replays.show,
        "Show a replay and its progress.",
        "endpoints:read",
        s.ReplayResponse,
    ),
    route(
        "POST",
        "/v1/replays/{id}/cancel",
        replays.cancel,
        "Cancel a replay and its pending deliveries.",
        "endpoints:write",
        s.ReplayResponse,
    ),
    listing(
        "/v1/deliveries",
        deliveries.list_,
        "List deliveries, newest first.",
        "endpoints:read",
        s.DeliveryResponse,
        a.DeliveryQuery,
    ),
    route(
        "GET",
        "/v1/deliveries/{id}",
        deliveries.show,
        "Show a delivery with its attempts.",
        "endpoints:read",
        s.DeliveryWithAttempts,
    ),
    route(
        "POST",
        "/v1/deliveries/{id}/retry",
        deliveries.retry,
        "Retry a delivery now, in any state.",
        "endpoints:write",
        s.DeliveryResponse,
        202,
    ),
    route(
        "POST",
        "/v1/deliveries/{id}/cancel",
        deliveries.cancel,
        "Cancel a pending delivery.",
        "endpoints:write",
        s.DeliveryResponse,
    ),
    route(
        "POST",
        "/v1/keys",
        keys.create,
        "Create an API key. Only this response shows the key itself.",
        "admin",
        s.NewKey,
        201,
    ).takes(a.KeyRequest),
    listing("/v1/keys", keys.list_, "List API keys, newest first.", "admin", s.Key, a.PageQuery),
    route("DELETE", "/v1/keys/{id}", keys.delete, "Revoke an API key.", "admin", None, 204),
    listing(
        "/v1/providers",
        providers.list_,
        "List the configured accounts with their operations, health and blocked state.",
        "jobs:read",
        s.ProviderResponse,
        a.PageQuery,
    ),
    listing(
        "/v1/sources",
        sources.list_,
        "List the sources of the settings, with the URL that receives their messages.",
        "endpoints:read",
        s.SourceResponse,
        a.PageQuery,
    ),
    *[
        replace(
            route(method, "/assets/{token}", assets.follow, ASSET, None, None, 307), also=(200, 206)
        ).asks(a.AssetQuery)
        for method in ("GET", "HEAD")
    ],
    route(
        "GET",
        "/.well-known/ringback-keys.json",
        signing_keys.show,
        "Show the public keys that verify `v1a` signatures, as a JSON Web Key Set.",
        None,
        s.SigningKeys,
    ),
    *OPERATION_ROUTES,
)
"""Every route but `POST /callbacks/{account}/{token}` and `/sources/{name}`: they are plain ASGI, which
`receiver.api` serves, and `http_server` answers small callbacks below ASGI.
"""
