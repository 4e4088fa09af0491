"""Examples of requests and responses, for `/openapi.json` and `/docs`."""

from collections.abc import Mapping
from typing import Any

from receiver.api.event_examples import ASSET, AT, ENDPOINT, EXAMPLES, JOB

INPUT = {"prompt": "a tide coming in", "generation_type": "text2video", "duration": 5}
ASKED = {
    "provider": "apiframe",
    "operation": "runway-imagine",
    "input": INPUT,
    "metadata": {"order": "42"},
    "deadline_seconds": 1800,
}
_NEW: Mapping[str, Any] = {
    "object": "job",
    "id": JOB,
    "provider": "apiframe",
    "operation": "runway-imagine",
    "state": "pending",
    "provider_job_id": None,
    "progress": None,
    "metadata": {"order": "42"},
    "assets": [],
    "result": None,
    "error": None,
    "usage": None,
    "waiting": None,
    "completed_by": None,
    "created_at": "2026-11-21T09:58:12.004Z",
    "updated_at": "2026-11-21T09:58:12.004Z",
    "completed_at": None,
    "deadline_at": "2026-11-21T10:28:12.004Z",
}
DONE: Mapping[str, Any] = {
    **_NEW,
    "state": "succeeded",
    "provider_job_id": "29e983ca-7e86-4017-a9e3-ef6fe9cd5f2a",
    "progress": 100,
    "assets": [dict(ASSET)],
    "result": {"status": "finished", "video_url": "https://cdn.provider.example/29e983ca.mp4"},
    "completed_by": "callback",
    "updated_at": AT,
    "completed_at": AT,
}
_UNTOUCHED: Mapping[str, Any] = {"created_at": AT, "updated_at": AT}
_ENDPOINT: Mapping[str, Any] = {
    "object": "endpoint",
    "id": ENDPOINT,
    "url": "https://app.example.com/hooks",
    "events": ["job.*"],
    "description": "orders",
    "headers": {},
    "max_in_flight": 64,
    "include": [],
    "filter": {"metadata.order": {"$in": ["42", "43"]}},
    "signatures": ["v1"],
    "retry_schedule": None,
    "timeout": None,
    "rate_limit": None,
    "format": "standard",
    "template": None,
    "previous_secrets_until": [],
    "state": "active",
    "disabled_reason": None,
    "from_file": False,
    **_UNTOUCHED,
}
SECRET = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="  # noqa: S105  # an example
_DELIVERY: Mapping[str, Any] = {
    "object": "delivery",
    "id": "dlv_06fm3k2v9qg8r1t5n7w4x0yz2d",
    "event": "evt_5f0e6c1d2b3a4958",
    "type": "job.succeeded",
    "endpoint": ENDPOINT,
    "url": None,
    "job": JOB,
    "state": "pending",
    "attempts_made": 1,
    "reason": None,
    "last_status": 500,
    "last_error": None,
    **_UNTOUCHED,
    "next_attempt_at": "2026-11-21T10:00:05.610Z",
}
_ATTEMPT: Mapping[str, Any] = {
    "object": "attempt",
    "id": "att_06fm3k2v9qg8r1t5n7w4x0yz2e",
    "delivery": _DELIVERY["id"],
    "at": AT,
    "status": 500,
    "latency_ms": 41.7,
    "error": None,
    "answer": "Internal Server Error",
}
_KEY: Mapping[str, Any] = {
    "object": "key",
    "id": "key_06fm3k1a2b3c4d5e6f7g8h9j0k",
    "name": "orders",
    "scopes": ["jobs:read", "jobs:write"],
    "created_at": AT,
    "expires_at": None,
}
_SESSION: Mapping[str, Any] = {
    "object": "session",
    "key": "key_019a5c1f2b7d4c5e8f9a0b1c2d3e4f5a",
    "scopes": ["jobs:read", "jobs:write"],
    "expires_at": "2026-11-21T22:00:00.000Z",
}
_PROVIDER: Mapping[str, Any] = {
    "object": "provider",
    "id": "apiframe",
    "handler": "apiframe",
    "on": True,
    "base_url": "https://api.provider.example",
    "blocked": False,
    "blocked_at": None,
    "blocked_reason": None,
    "default_operation": "imagine",
    "example": {"prompt": "a tide"},
    "operations": [{"name": "runway-imagine", "kind": "video", "callback": True, "poll": True}],
    "can": {"callback": True, "poll": True, "cancel": False, "resolve": False},
    "limits": {"max_in_flight": 16, "rate_limit": None, "max_jobs": 20},
    "in_flight": 2,
    "health": {
        "submissions": 12,
        "callbacks": 11,
        "callbacks_refused": 0,
        "callbacks_missed": 1,
        "polls": 4,
        "error_rate": 0.0,
        "seconds_to_finish": {"p50": 71.2, "p95": 140.8},
    },
}
_EVENT: Mapping[str, Any] = {"object": "event", **EXAMPLES["job.succeeded"]}
_WHERE: Mapping[str, Any] = {
    "endpoint": ENDPOINT,
    "delivery": _DELIVERY["id"],
    "status": "delivered",
    "reason": None,
}
_ENTRIES = [
    {"at": "2026-11-21T09:58:12.310Z", "kind": "submission", "outcome": "applied", "status": 200},
    {"at": AT, "kind": "callback", "outcome": "applied", "bytes": 412},
    {"at": AT, "kind": "update", "from": "running", "to": "succeeded", "by": "callback"},
]
_REPLAY: Mapping[str, Any] = {
    "object": "replay",
    "id": "rpl_06fm3k2v9qg8r1t5n7w4x0yz2e",
    "endpoint": ENDPOINT,
    "state": "running",
    "only": "failed",
    "since": "2026-11-20T00:00:00.000Z",
    "until": None,
    "events": None,
    "total": 1200,
    "made": 640,
    "pending": 40,
    "delivered": 598,
    "failed": 2,
    "canceled": 0,
    "created_at": AT,
    "ended_at": None,
}
BODIES: Mapping[str, Any] = {
    "POST /v1/jobs": ASKED,
    "POST /v1/jobs/{id}/resolve": {"provider_job_id": "29e983ca-7e86-4017-a9e3-ef6fe9cd5f2a"},
    "POST /v1/jobs/{id}/token": {"seconds": 900},
    "POST /v1/endpoints": {"url": "https://app.example.com/hooks", "events": ["job.*"]},
    "PATCH /v1/endpoints/{id}": {"events": ["job.succeeded", "job.failed"]},
    "POST /v1/endpoints/{id}/rotate-secret": {"overlap_seconds": 86400},
    "POST /v1/endpoints/{id}/replay": {"since": "2026-11-20T00:00:00Z", "only": "failed"},
    "POST /v1/endpoints/{id}/explain": {"event": "evt_5f0e6c1d2b3a4958"},
    "POST /session": {"key": "rb_kR0..."},
    "POST /v1/keys": {"name": "orders", "scopes": ["jobs:read", "jobs:write"]},
}
"""The request body of each route, by method and path."""
ANSWERS: Mapping[str, Any] = {
    "POST /v1/jobs": dict(_NEW),
    "GET /v1/jobs": [dict(DONE)],
    "GET /v1/jobs/{id}": {**DONE, "input": INPUT},
    "POST /v1/jobs/{id}/cancel": {**_NEW, "state": "canceled", "completed_by": "cancel", "completed_at": AT},
    "POST /v1/jobs/{id}/revoke-assets": {**DONE, "assets": [{**ASSET, "url": None}]},
    "POST /v1/jobs/{id}/resolve": {**DONE, "state": "queued", "completed_by": None, "completed_at": None},
    "GET /v1/jobs/{id}/timeline": _ENTRIES,
    "GET /v1/jobs/{id}/messages": [
        {
            "object": "raw_message",
            "id": "evd_019a5c1f2b7d4c5e8f9a0b1c2d3e4f5a",
            "at": "2026-11-21T10:00:00.120Z",
            "kind": "callback",
            "outcome": "applied",
            "headers": {"content-type": "application/json", "user-agent": "Apiframe/1.0"},
            "body": '{"task_id":"29e983ca-7e86-4017-a9e3-ef6fe9cd5f2a","status":"finished"}',
            "bytes": 72,
            "cut": False,
        }
    ],
    "POST /v1/jobs/{id}/token": {
        "object": "job_token",
        "job": JOB,
        "token": "rbj_5f0e6c1d.job_019aa5f2...",
        "expires_at": "2026-11-21T10:15:00.000Z",
    },
    "GET /v1/events": [_EVENT],
    "GET /v1/events/{id}": {**_EVENT, "deliveries": [_WHERE]},
    "POST /v1/endpoints": {**_ENDPOINT, "secret": SECRET},
    "GET /v1/endpoints": [dict(_ENDPOINT)],
    "GET /v1/endpoints/{id}": {
        **_ENDPOINT,
        "failing_since": AT,
        "last_attempt": {"at": AT, "status": None, "error": "connect: refused"},
        "owed": 3,
        "oldest_owed_at": AT,
        "breaker": "closed",
    },
    "PATCH /v1/endpoints/{id}": dict(_ENDPOINT),
    "GET /v1/endpoints/{id}/secret": {"secret": SECRET},
    "POST /v1/endpoints/{id}/test": {**_ATTEMPT, "status": 200, "answer": "ok"},
    "POST /v1/endpoints/{id}/resume": dict(_ENDPOINT),
    "POST /v1/endpoints/{id}/pause": {**_ENDPOINT, "state": "paused"},
    "POST /v1/endpoints/{id}/rotate-secret": {**_ENDPOINT, "previous_secrets_until": [AT], "secret": SECRET},
    "POST /v1/endpoints/{id}/explain": {
        "matches": False,
        "because": '`metadata.order` is "41", which does not meet `$in` ["42","43"]',
        "clause": "/metadata.order/$in",
    },
    "POST /v1/endpoints/{id}/replay": {**_REPLAY, "made": 0, "pending": 0, "delivered": 0, "failed": 0},
    "GET /v1/replays": [dict(_REPLAY)],
    "GET /v1/replays/{id}": dict(_REPLAY),
    "POST /v1/replays/{id}/cancel": {**_REPLAY, "state": "canceled", "pending": 0, "ended_at": AT},
    "GET /.well-known/ringback-keys.json": {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "alg": "EdDSA",
                "use": "sig",
                "kid": "5f0e6c1d",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                "public_key": "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
            }
        ]
    },
    "GET /v1/deliveries": [dict(_DELIVERY)],
    "GET /v1/deliveries/{id}": {**_DELIVERY, "attempts": [dict(_ATTEMPT)]},
    "POST /v1/deliveries/{id}/retry": dict(_DELIVERY),
    "POST /v1/deliveries/{id}/cancel": {**_DELIVERY, "state": "canceled", "next_attempt_at": None},
    "POST /v1/keys": {**_KEY, "key": "rb_kR0..."},
    "GET /v1/keys": [dict(_KEY)],
    "GET /v1/providers": [dict(_PROVIDER)],
    "GET /v1/sources": [
        {
            "object": "source",
            "id": "shop_renders",
            "url": "https://hooks.example.com/sources/shop_renders",
            "event": "source.shop_renders.received",
            "scheme": "hmac-sha256",
            "handler": None,
            "tolerance": 300,
            "challenge": None,
        }
    ],
    "GET /v1/stats": {
        "object": "stats",
        "metric": "jobs",
        "meaning": "jobs that ended, by their final state and the way in which it became known",
        "by": ["outcome"],
        "since": "2026-11-21T10:00:00.000Z",
        "until": "2026-11-21T11:00:00.000Z",
        "step": 600,
        "data": [
            {
                "labels": {"outcome": "succeeded"},
                "count": 31,
                "points": [
                    {"at": "2026-11-21T10:00:00.000Z", "count": 12},
                    {"at": "2026-11-21T10:10:00.000Z", "count": 19},
                ],
            }
        ],
    },
    "POST /session": dict(_SESSION),
    "GET /session": dict(_SESSION),
    "GET /healthz": {"status": "ok"},
    "GET /readyz": {"status": "ok"},
}
"""The response of each route, by method and path. A list holds the items of a page."""
