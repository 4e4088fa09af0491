"""The OpenAPI document (`/openapi.json`), generated from the routes and their models."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from receiver.api import responses, webhooks
from receiver.api.event_examples import EXAMPLES
from receiver.api.event_examples import MEANINGS as EVENT_MEANINGS
from receiver.api.examples import ANSWERS, BODIES
from receiver.api.responses import public_name
from receiver.api.routing import Route
from receiver.domain.event_types import SHOWN, TYPES

REF = "#/components/schemas/{model}"
_NO_WORD = re.compile(r"\W+")
PATH_PART = re.compile(r"\{(\w+)\}")
NO_CONTENT = 204
SESSION = "/session"
"""The path of the session calls: they need no scope, and 401 and 403 are among their answers."""
PROBLEM = {"$ref": "#/components/schemas/Problem"}
HEADER_TEXTS = {
    "/v1/events/stream": "text/event-stream",
    "/v1/jobs/{id}/stream": "text/event-stream",
    "Idempotency-Key": (
        "the same key and body give the same job",
        {"type": "string", "pattern": "^[!-~]{1,255}$"},
    ),
    "Last-Event-ID": (
        "the id of the last event that the client has; it wins over `after`",
        {"type": "string"},
    ),
    "Prefer": ("`wait=N` waits up to N seconds for the provider's acceptance", {"type": "string"}),
}
TEXTS = {
    "/v1/events/stream": "text/event-stream",
    "/v1/jobs/{id}/stream": "text/event-stream",
    "/docs": "text/html",
    "/docs/events": "text/html",
    "/problems": "text/html",
    "/problems/{code}": "text/html",
    "/openapi.json": "application/json",
    "/": "text/html",
    "/metrics": "text/plain",
}
TAGS = {
    "jobs": "Submit jobs, follow them, decide about them.",
    "events": "Read what happened, in order.",
    "endpoints": "Say where events are posted.",
    "deliveries": "See and retry what is posted.",
    "providers": "See which accounts are configured and how they fare.",
    "sources": "See which senders of webhooks are configured.",
    "keys": "Create and revoke API keys.",
    "assets": "Follow the stable links of generated files, or download them.",
    "service": "Health, and these documents.",
}
LABEL = {
    "name": "metadata.*",
    "in": "query",
    "required": False,
    "description": "only jobs with this metadata: `metadata.order=42`; several keys may be given",
    "schema": {"type": "string"},
}
MEANINGS = {
    400: "the body is no JSON",
    401: "no valid API key",
    403: "the API key lacks the scope",
    404: "nothing with this id",
    405: "the path does not take this method",
    409: "the state does not allow it; `detail` names it",
    410: "it was here once",
    413: "the body is too large",
    415: "the body is not plain JSON",
    416: "the range lies behind the end of the file",
    422: "a field or a parameter is wrong; `errors` lists each",
    429: "too many calls wait under this key",
    500: "a fault of the service, logged under `request_id`",
    503: "not now; try again after `Retry-After`",
}
DELIVERY_HEADERS = {
    "webhook-id": "the event's id, the same on every attempt",
    "webhook-timestamp": "the moment of this attempt, in seconds",
    "webhook-signature": "`v1,<base64>`, during a rotation several, separated by blanks",
}


class PublicNames(GenerateJsonSchema):
    """A generator of JSON schemas with public names."""

    def normalize_name(self, name: str) -> str:
        """Return the public name of a schema, made from the name of its model."""
        return public_name(super().normalize_name(name))


def description(calls: Sequence[Route], version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of these routes."""
    _, definitions = models_json_schema(
        [(model, "validation") for model in _models(calls)],
        by_alias=True,
        ref_template=REF,
        schema_generator=PublicNames,
    )
    paths: dict[str, dict[str, Any]] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _call(call)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ringback",
            "version": version,
            "description": "Submit slow, paid generation jobs once; get one signed terminal event per job.",
        },
        "tags": [{"name": name, "description": said} for name, said in TAGS.items()],
        "paths": paths,
        "webhooks": {name: {"post": _webhook(name)} for name in SHOWN},
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _models(calls: Sequence[Route]) -> list[type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {"Problem": responses.ProblemResponse, "Webhook": webhooks.Webhook}
    for call in calls:
        for model in (call.body, call.response):
            if model is not None:
                found[public_name(model.__name__)] = model
    return list(found.values())


def _call(call: Route) -> dict[str, Any]:
    named = PATH_PART.sub("by_\\1", call.path).replace("/", "_")
    told: dict[str, Any] = {
        "tags": [tag_of(call.path)],
        "summary": call.summary,
        "operationId": f"{call.method.lower()}{named}",
        "parameters": [*_path_parameters(call), *_query_parameters(call), *_header_parameters(call)],
        "responses": _responses(call),
    }
    if call.scope is not None:
        told |= {"security": [{"key": []}], "x-scope": call.scope}
    if call.body is not None:
        body = {"schema": _reference(call.body), "example": BODIES[name_of(call)]}
        told["requestBody"] = {"required": not call.optional, "content": {"application/json": body}}
    return told


def name_of(call: Route) -> str:
    """Return the method and path of a route, its key in the tables of examples."""
    return f"{call.method} {call.path}"


def tag_of(path: str) -> str:
    """Return the tag of a path: its first segment, after `/v1`, where that is a tag, else `service`."""
    word = path.removeprefix("/v1").strip("/").partition("/")[0]
    return word if word in TAGS else "service"


def _webhook(name: str) -> dict[str, Any]:
    """Return the delivery of an event of one type, to an endpoint or to a job's callback URL."""
    body = EXAMPLES[name]
    model = type(webhooks.Webhook.model_validate(body).root)
    schema: dict[str, Any] = {"allOf": [_reference(model)]}
    if name in TYPES:
        schema["properties"] = {"type": {"const": name}}
    content = {"schema": schema, "example": body}
    return {
        "tags": ["events"],
        "summary": EVENT_MEANINGS[name],
        "operationId": f"webhook_{_NO_WORD.sub('_', name)}",
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": said,
                "schema": {"type": "string"},
            }
            for name, said in DELIVERY_HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "2XX": {"description": "delivered"},
            "410": {"description": "disables the endpoint"},
            "default": {"description": "retried by the schedule"},
        },
    }


def _path_parameters(call: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in PATH_PART.findall(call.path)
    ]


def _query_parameters(call: Route) -> list[dict[str, Any]]:
    told = call.query.model_json_schema()
    needed, found = told.get("required", []), []
    for name, schema in told.get("properties", {}).items():
        # Null is no choice in a query: it only stands for a parameter that is left out.
        choices = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
        parameter = {"name": name, "in": "query", "required": name in needed, "schema": choices[0]}
        if "description" in schema:
            parameter["description"] = schema["description"]
        found.append(parameter)
    return [*found, LABEL] if call.with_labels else found


def _header_parameters(call: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "required": False, "description": text, "schema": schema}
        for name in call.headers
        for text, schema in [HEADER_TEXTS[name]]
    ]


def _responses(call: Route) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "success"}
    if call.response is not None:
        success["content"] = {"application/json": _told(call, _reference(call.response))}
    elif call.path in TEXTS:
        success["content"] = {TEXTS[call.path]: {"schema": {}}}
    found = {str(status): success for status in (call.status, *call.also)}
    if NO_CONTENT in call.also:
        found[str(NO_CONTENT)] = {"description": "there is none"}
    for status in _errors(call):
        found[str(status)] = {
            "description": MEANINGS[status],
            "content": {"application/problem+json": {"schema": PROBLEM}},
        }
    return found


def _errors(call: Route) -> list[int]:
    errors = [400, 405, 413, 415, 422, 500, 503]
    if call.scope is not None:
        errors += [401, 403]
    if call.path == SESSION:
        errors += [401, 403, 404]
    if "{" in call.path:
        errors.append(404)
    if "{" in call.path and call.method in {"POST", "PATCH", "DELETE"}:
        errors.append(409)
    # A secret that no configured master key decrypts is a conflict, too.
    if call.path.endswith("/secret"):
        errors.append(409)
    if "wait" in call.query.model_fields or call.path.endswith("/stream"):
        errors.append(429)
    if call.path.startswith("/assets/") or call.feed:
        errors.append(410)
    if call.path.startswith("/assets/"):
        errors.append(416)
    return sorted(errors)


def _reference(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": REF.format(model=public_name(model.__name__))}


def _told(call: Route, schema: dict[str, Any]) -> dict[str, Any]:
    example = ANSWERS[name_of(call)]
    if not call.paged:
        return {"schema": schema, "example": example}
    end = {"has_more": False} if call.feed else {}
    page = {"data": example, "next_cursor": "42" if call.feed else None, **end}
    return {"schema": _page(call, schema), "example": page}


def _page(call: Route, item: dict[str, Any]) -> dict[str, Any]:
    cursor = {"type": "string"} if call.feed else {"type": ["string", "null"]}
    properties: dict[str, Any] = {"data": {"type": "array", "items": item}, "next_cursor": cursor}
    if call.feed:
        properties["has_more"] = {"type": "boolean"}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
