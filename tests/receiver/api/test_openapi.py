"""The OpenAPI document: schemas with public names, and the parameters, responses and errors of each route."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from pydantic import BaseModel, Field
from starlette.responses import Response

from receiver.api.event_examples import EXAMPLES
from receiver.api.guard import RequestContext
from receiver.api.openapi import TAGS, PublicNames, description, name_of, tag_of
from receiver.api.requests import QueryModel
from receiver.api.routes import ROUTES
from receiver.api.routing import Route
from receiver.domain.event_types import SHOWN, TYPES

DESCRIPTION = description(ROUTES, "1.2.3")
ALWAYS = {"400", "405", "413", "415", "422", "500", "503"}
"""Statuses of errors that every route may respond with."""


def schema(*path: str) -> Any:
    """Return a part of the OpenAPI document."""
    found: Any = DESCRIPTION
    for name in path:
        found = found[name]
    return found


def words(model: str, field: str) -> list[str]:
    """Return the values that a field of a model may have."""
    told = schema("components", "schemas", model, "properties", field)
    found: list[str] = next(one["enum"] for one in told.get("anyOf", [told]) if "enum" in one)
    return found


def schemas(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a part of the document, those inside of it included."""
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from schemas(inner)


def test_every_default_is_a_value_of_its_schema() -> None:
    found = [one for one in schemas(DESCRIPTION) if "default" in one and ("type" in one or "anyOf" in one)]
    assert len(found) > 10
    for one in found:
        whole = {**one, "components": DESCRIPTION["components"]}
        assert Draft202012Validator(whole).is_valid(one["default"]), one


def test_what_has_a_list_of_words_is_typed_by_it() -> None:
    assert words("Job", "state")[:3] == ["pending", "submitting", "unconfirmed"]
    assert words("Job", "completed_by") == ["callback", "poll", "submit", "deadline", "cancel", "operator"]
    assert "content_policy" in words("JobError", "code")
    assert words("Waiting", "reason")[0] == "unreachable"
    scopes = schema("components", "schemas", "Key", "properties", "scopes", "items", "enum")
    assert "endpoints:write" in scopes


def test_events_are_told_apart_by_their_type() -> None:
    for model in ("Webhook", "Event", "EventWithReasons"):
        own, of_source = schema("components", "schemas", model, "anyOf")
        assert own["discriminator"]["propertyName"] == "type"
        assert set(own["discriminator"]["mapping"]) == set(TYPES)
        assert of_source["$ref"].rpartition("/")[2].startswith("Source")


@pytest.mark.parametrize("name", SHOWN)
def test_the_delivery_of_every_type_is_described(name: str) -> None:
    posted = schema("webhooks", name, "post")
    assert [one["name"] for one in posted["parameters"]] == [
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    ]
    content = posted["requestBody"]["content"]["application/json"]
    assert content["example"]["type"] == name.replace("<name>", "shop_renders")
    document = {**content["schema"], "components": schema("components")}
    checked = Draft202012Validator(document)
    assert list(checked.iter_errors(content["example"])) == []
    other = EXAMPLES["job.failed" if name != "job.failed" else "job.expired"]
    assert list(checked.iter_errors(other)) != []


def parameters(path: str) -> Iterator[str]:
    """Return the names of the parameters of a GET route."""
    return (one["name"] for one in schema("paths", path, "get", "parameters"))


def test_a_filter_by_metadata_is_described() -> None:
    assert "metadata.*" in parameters("/v1/jobs")


def test_every_call_has_a_tag_that_is_described() -> None:
    known = {one["name"] for one in schema("tags")}
    for call in ROUTES:
        assert schema("paths", call.path, call.method.lower(), "tags") == [tag_of(call.path)]
        assert tag_of(call.path) in known


def test_every_summary_is_a_sentence_that_begins_with_a_verb() -> None:
    for call in ROUTES:
        told = schema("paths", call.path, call.method.lower(), "summary")
        assert re.fullmatch(r"[A-Z][a-z]+ .*\.", told), told


def call_of(method: str, path: str) -> dict[str, Any]:
    """Return a route of the document."""
    found: dict[str, Any] = schema("paths", path, method.lower())
    return found


def references(value: Any) -> Iterator[str]:
    """Yield every reference in a part of the document."""
    if isinstance(value, dict):
        yield from (inner for name, inner in value.items() if name == "$ref")
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_head_of_the_document_names_the_version_and_the_tags() -> None:
    assert (DESCRIPTION["openapi"], DESCRIPTION["info"]["version"]) == ("3.1.0", "1.2.3")
    assert {one["name"]: one["description"] for one in DESCRIPTION["tags"]} == TAGS
    assert schema("components", "securitySchemes") == {"key": {"type": "http", "scheme": "bearer"}}


def test_a_stream_is_described_as_one() -> None:
    for path in ("/v1/events/stream", "/v1/jobs/{id}/stream"):
        assert call_of("GET", path)["responses"]["200"]["content"] == {"text/event-stream": {"schema": {}}}
        assert "429" in call_of("GET", path)["responses"]


def test_no_schema_shows_the_suffix_of_its_class() -> None:
    schemas = schema("components", "schemas")
    assert {"Job", "NewJob", "Problem", "JobRequest", "Webhook", "Event"} <= set(schemas)
    assert [name for name in schemas if name.endswith("Response")] == []
    assert PublicNames().normalize_name("JobResponse") == "Job"


def test_every_reference_leads_to_a_schema() -> None:
    known = {f"#/components/schemas/{name}" for name in schema("components", "schemas")}
    found = set(references(DESCRIPTION))
    assert found <= known
    assert {"#/components/schemas/Problem", "#/components/schemas/Asset"} <= found


def test_the_field_in_of_an_error_is_shown_by_its_alias() -> None:
    assert "in" in schema("components", "schemas", "FieldProblem", "properties")


def test_every_operation_has_an_id_of_its_own() -> None:
    ids = [call_of(one.method, one.path)["operationId"] for one in ROUTES]
    assert len(set(ids)) == len(ROUTES)
    assert call_of("POST", "/v1/jobs/{id}/cancel")["operationId"] == "post_v1_jobs_by_id_cancel"


@pytest.mark.parametrize(
    ("path", "tag"),
    [
        ("/v1/jobs", "jobs"),
        ("/v1/jobs/{id}/timeline", "jobs"),
        ("/assets/{token}", "assets"),
        ("/", "service"),
        ("/readyz", "service"),
        ("/v1", "service"),
    ],
)
def test_the_tag_of_a_path_is_its_first_segment_where_there_is_such_a_tag(path: str, tag: str) -> None:
    assert tag_of(path) == tag


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_a_route_shows_its_scope_its_body_and_its_statuses(route: Route) -> None:
    call = call_of(route.method, route.path)
    assert call.get("x-scope") == route.scope
    assert ("security" in call) == (route.scope is not None)
    assert ("requestBody" in call) == (route.body is not None)
    good = {status for status in call["responses"] if status < "400"}
    assert good == {str(route.status), *(str(status) for status in route.also)}


@pytest.mark.parametrize(
    ("method", "path", "more"),
    [
        ("GET", "/healthz", set()),
        ("GET", "/v1/jobs", {"401", "403"}),
        ("GET", "/v1/keys", {"401", "403"}),
        ("GET", "/v1/jobs/{id}", {"401", "403", "404", "429"}),
        ("DELETE", "/v1/jobs/{id}", {"401", "403", "404", "409"}),
        ("PATCH", "/v1/endpoints/{id}", {"401", "403", "404", "409"}),
        ("GET", "/v1/endpoints/{id}", {"401", "403", "404"}),
        ("GET", "/v1/endpoints/{id}/secret", {"401", "403", "404", "409"}),
        ("GET", "/v1/events", {"401", "403", "410", "429"}),
        ("GET", "/assets/{token}", {"404", "410", "416"}),
    ],
)
def test_a_route_lists_the_errors_that_it_may_respond_with(method: str, path: str, more: set[str]) -> None:
    responses = call_of(method, path)["responses"]
    assert {status for status in responses if status >= "400"} == ALWAYS | more
    for status in ALWAYS | more:
        assert set(references(responses[status])) == {"#/components/schemas/Problem"}


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/endpoints", "/v1/providers", "/v1/jobs/{id}/timeline"])
def test_a_list_is_a_page_whose_cursor_may_be_null(path: str) -> None:
    content = call_of("GET", path)["responses"]["200"]["content"]["application/json"]
    page = content["schema"]
    assert page["properties"]["next_cursor"] == {"type": ["string", "null"]}
    assert page["required"] == ["data", "next_cursor"]
    assert set(content["example"]) == {"data", "next_cursor"}


def test_a_page_of_the_feed_always_has_a_cursor_and_says_whether_more_follow() -> None:
    content = call_of("GET", "/v1/events")["responses"]["200"]["content"]["application/json"]
    page = content["schema"]
    assert page["properties"]["next_cursor"] == {"type": "string"}
    assert page["required"] == ["data", "next_cursor", "has_more"]
    assert (content["example"]["next_cursor"], content["example"]["has_more"]) == ("42", False)


def test_parameters_come_from_the_path_the_query_and_the_headers() -> None:
    found = call_of("POST", "/v1/jobs")["parameters"]
    assert [(one["in"], one["name"], one["required"]) for one in found] == [
        ("header", "Idempotency-Key", False),
        ("header", "Prefer", False),
    ]
    assert found[0]["schema"] == {"type": "string", "pattern": "^[!-~]{1,255}$"}
    found = call_of("GET", "/v1/jobs/{id}")["parameters"]
    assert [(one["in"], one["name"], one["required"]) for one in found] == [
        ("path", "id", True),
        ("query", "token", False),
        ("query", "wait", False),
    ]
    assert (found[2]["schema"]["minimum"], found[2]["schema"]["maximum"]) == (0, 60)
    needed = [one["name"] for one in call_of("GET", "/v1/stats")["parameters"] if one["required"]]
    assert needed == ["metric"]


def test_a_filter_that_may_be_left_out_is_not_said_to_be_null() -> None:
    found = {one["name"]: one["schema"] for one in call_of("GET", "/v1/jobs")["parameters"]}
    assert found["state"]["enum"][0] == "pending"
    assert found["provider"] == {"type": "string"}
    assert found["created_after"]["format"] == "date-time"


def test_pages_for_people_are_html_and_the_document_is_json() -> None:
    for path, kind in (("/docs", "text/html"), ("/openapi.json", "application/json")):
        assert call_of("GET", path)["responses"]["200"]["content"] == {kind: {"schema": {}}}
    assert call_of("GET", "/")["responses"]["200"]["content"] == {"text/html": {"schema": {}}}


class LampResponse(BaseModel):
    """A lamp."""

    on: bool


class LampQuery(QueryModel):
    """The colour of a lamp."""

    colour: str | None = None
    watts: int = Field(default=5, description="its power")


async def _lamp(_context: RequestContext) -> Response:
    return Response()


def test_a_document_of_other_routes_has_their_schemas_and_the_common_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("receiver.api.openapi.ANSWERS", {"GET /v1/keys/{id}": {"on": True}})
    route = Route(
        method="GET",
        path="/v1/keys/{id}",
        handle=_lamp,
        summary="Show a lamp.",
        scope="admin",
        response=LampResponse,
        status=200,
    ).asks(LampQuery)
    made = description([route], "0")
    assert list(made["paths"]) == ["/v1/keys/{id}"]
    assert {"Lamp", "Problem", "FieldProblem", "Webhook"} <= set(made["components"]["schemas"])
    assert "Job" not in made["components"]["schemas"]
    call = made["paths"]["/v1/keys/{id}"]["get"]
    assert call["responses"]["200"]["content"]["application/json"] == {
        "schema": {"$ref": "#/components/schemas/Lamp"},
        "example": {"on": True},
    }
    assert [(one["name"], one.get("description")) for one in call["parameters"]] == [
        ("id", None),
        ("colour", None),
        ("watts", "its power"),
    ]


def test_the_schema_of_a_request_has_its_limits() -> None:
    fields = schema("components", "schemas", "EndpointRequest", "properties")
    assert (fields["max_in_flight"]["minimum"], fields["max_in_flight"]["maximum"]) == (1, 1000)
    assert schema("components", "schemas", "JobRequest", "required") == ["provider", "input"]
    assert schema("components", "schemas", "Resolution", "properties", "fail", "anyOf")[0] == {"const": True}
    assert schema("components", "schemas", "JobRequest", "additionalProperties") is False
