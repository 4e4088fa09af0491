"""`/openapi.json`, made from the calls and the models that check them."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from receiver.api import schemas
from receiver.api.calls import Call

REF = "#/components/schemas/{model}"
PATH_PART = re.compile(r"\{(\w+)\}")
PROBLEM = {"$ref": "#/components/schemas/Problem"}
HEADER_TEXTS = {
    "Idempotency-Key": (
        "the same key and body give the same job",
        {"type": "string", "pattern": "^[!-~]{1,255}$"},
    ),
    "Prefer": ("`wait=N` waits up to N seconds for the provider's acceptance", {"type": "string"}),
}
TEXTS = {"/docs": "text/html", "/problems/{code}": "text/html", "/openapi.json": "application/json"}


def description(calls: Sequence[Call], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these calls."""
    models = _models(calls)
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], by_alias=True, ref_template=REF
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
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _models(calls: Sequence[Call]) -> list[type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {"Problem": schemas.Problem}
    for call in calls:
        for model in (call.body, call.told):
            if model is not None:
                found[model.__name__] = model
    return list(found.values())


def _call(call: Call) -> dict[str, Any]:
    named = PATH_PART.sub("by_\\1", call.path).replace("/", "_")
    summary = (call.handle.__doc__ or "").strip().split("\n")[0]
    told: dict[str, Any] = {
        "summary": summary,
        "operationId": f"{call.method.lower()}{named}",
        "parameters": [*_path_parameters(call), *_query_parameters(call), *_header_parameters(call)],
        "responses": _responses(call),
    }
    if call.scope is not None:
        told |= {"security": [{"key": []}], "x-scope": call.scope}
    if call.body is not None:
        content = {"application/json": {"schema": {"$ref": REF.format(model=call.body.__name__)}}}
        told["requestBody"] = {"required": True, "content": content}
    return told


def _path_parameters(call: Call) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in PATH_PART.findall(call.path)
    ]


def _query_parameters(call: Call) -> list[dict[str, Any]]:
    properties = call.query.model_json_schema()["properties"] if call.query.model_fields else {}
    found = []
    for name, schema in properties.items():
        choices = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
        parameter = {"name": name, "in": "query", "required": False, "schema": choices[0]}
        if "description" in schema:
            parameter["description"] = schema["description"]
        found.append(parameter)
    return found


def _header_parameters(call: Call) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "required": False, "description": text, "schema": schema}
        for name in call.headers
        for text, schema in [HEADER_TEXTS[name]]
    ]


def _responses(call: Call) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "success"}
    if call.told is not None:
        schema: dict[str, Any] = {"$ref": REF.format(model=call.told.__name__)}
        success["content"] = {"application/json": {"schema": _page(call, schema) if call.paged else schema}}
    elif call.path in TEXTS:
        success["content"] = {TEXTS[call.path]: {"schema": {}}}
    found = {str(status): success for status in (call.status, *call.also)}
    for status in _errors(call):
        found[str(status)] = {
            "description": "an error",
            "content": {"application/problem+json": {"schema": PROBLEM}},
        }
    return found


def _errors(call: Call) -> list[int]:
    errors = [400, 405, 413, 415, 422, 500, 503]
    if call.scope is not None:
        errors += [401, 403]
    if "{" in call.path:
        errors.append(404)
    if "{" in call.path and call.method in {"POST", "PATCH", "DELETE"}:
        errors.append(409)
    if call.path.endswith("/secret"):
        errors.append(409)
    if "wait" in call.query.model_fields:
        errors.append(429)
    if call.path.startswith("/assets/") or call.feed:
        errors.append(410)
    return sorted(errors)


def _page(call: Call, item: dict[str, Any]) -> dict[str, Any]:
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
