"""Response models: public names of schemas, closed lists of words, and agreement with rendered objects."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from handlers import json
from handlers.contract import Asset, FailureCode, Kind
from receiver.api import responses as module
from receiver.api.examples import ANSWERS
from receiver.api.guard import problem
from receiver.api.responses import (
    AssetResponse,
    AttemptResponse,
    EntryResponse,
    FieldProblem,
    JobErrorResponse,
    JobFields,
    JobResponse,
    NewEndpoint,
    NewJobResponse,
    ProblemResponse,
    ProviderResponse,
    ResponseModel,
    WaitingResponse,
    public_name,
)
from receiver.domain.errors import FieldError, Invalid, TooLarge
from receiver.domain.model import By, Job, JobError, State, Waiting, WaitReason
from receiver.domain.rendering import asset_view, job_view, waiting_view

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
MODELS = [
    one
    for one in vars(module).values()
    if isinstance(one, type) and issubclass(one, ResponseModel) and one is not ResponseModel
]
ASSET = Asset(kind=Kind.VIDEO, url="https://cdn.example/1.mp4", deletes_at=AT, duration=5.0)


@pytest.mark.parametrize(
    ("model", "public"),
    [("JobResponse", "Job"), ("WholeJob", "WholeJob"), ("ResponseTime", "ResponseTime"), ("Response", "")],
)
def test_only_the_suffix_is_missing_from_a_public_name(model: str, public: str) -> None:
    assert public_name(model) == public


def test_no_two_models_share_a_public_name() -> None:
    names = [public_name(one.__name__) for one in MODELS]
    assert len(names) == len(set(names))
    assert not [name for name in names if name.endswith("Response")]


@pytest.mark.parametrize("model", MODELS)
def test_the_title_of_a_schema_is_the_public_name_of_its_model(model: type[BaseModel]) -> None:
    assert model.model_json_schema(by_alias=True)["title"] == public_name(model.__name__)


@pytest.mark.parametrize(
    ("model", "field", "words"),
    [
        (JobFields, "state", State),
        (JobFields, "completed_by", By),
        (JobErrorResponse, "code", FailureCode),
        (WaitingResponse, "reason", WaitReason),
    ],
)
def test_a_field_with_a_list_of_words_has_all_of_them(
    model: type[BaseModel], field: str, words: type[StrEnum]
) -> None:
    schema = TypeAdapter(model).json_schema()["properties"][field]
    choices = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    assert [one["enum"] for one in choices] == [[word.value for word in words]]


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (NewJobResponse, ANSWERS["POST /v1/jobs"]),
        (NewEndpoint, ANSWERS["POST /v1/endpoints"]),
        (AttemptResponse, ANSWERS["POST /v1/endpoints/{id}/test"]),
        (AssetResponse, ANSWERS["GET /v1/jobs"][0]["assets"][0]),
    ],
)
def test_a_response_has_all_of_its_fields_and_no_others(
    model: type[BaseModel], example: dict[str, Any]
) -> None:
    model.model_validate(example)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        model.model_validate(example | {"unheard_of": 1})
    with pytest.raises(ValidationError, match="Field required"):
        model.model_validate({name: value for name, value in example.items() if name not in {"id", "url"}})


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (EntryResponse, ANSWERS["GET /v1/jobs/{id}/timeline"][0]),
        (ProviderResponse, ANSWERS["GET /v1/providers"][0]),
    ],
)
def test_an_open_object_may_have_further_fields(model: type[BaseModel], example: dict[str, Any]) -> None:
    found = model.model_validate(example | {"unheard_of": 1})
    assert found.model_extra is not None
    assert found.model_extra["unheard_of"] == 1


def test_the_kind_of_a_timeline_entry_is_a_known_word() -> None:
    with pytest.raises(ValidationError, match="'note'"):
        EntryResponse.model_validate({"at": "2026-11-21T10:00:00.000Z", "kind": "rumour"})


def test_a_rendered_job_fits_its_model() -> None:
    job = Job(
        id="job_1",
        account="apiframe",
        operation="imagine",
        state=State.FAILED,
        created_at=AT,
        updated_at=AT,
        deadline_at=AT,
        completed_at=AT,
        completed_by=By.POLL,
        error=JobError(FailureCode.REJECTED, "refused", "400"),
        metadata={"order": "42"},
        usage={"credits": 2},
        waiting=Waiting(WaitReason.THROTTLED, "throttled", AT, AT),
    )
    rendered = job_view(job, [asset_view(0, ASSET, "https://hooks.example/assets/x")])
    found = JobResponse.model_validate(rendered | {"result": {"status": "failed"}})
    assert (found.state, found.completed_by) == (State.FAILED, By.POLL)
    assert (found.error and found.error.code, found.assets[0].provider_url) == (
        FailureCode.REJECTED,
        ASSET.url,
    )
    assert found.model_dump(mode="json") == rendered | {"result": {"status": "failed"}}


def test_a_wait_without_an_end_fits_its_model() -> None:
    rendered = waiting_view(Waiting(WaitReason.ACCOUNT_FULL, "full", AT))
    assert WaitingResponse.model_validate(rendered).until is None


def test_an_error_fits_its_model_with_and_without_fields() -> None:
    wrong = Invalid(errors=[FieldError("header", "prefer", "prefer", "must be one")])
    told = ProblemResponse.model_validate(json.read(bytes(problem(wrong, "req_1").body)))
    assert told.errors == [
        FieldProblem.model_validate(
            {"in": "header", "pointer": "prefer", "name": "prefer", "detail": "must be one"}
        )
    ]
    plain = ProblemResponse.model_validate(json.read(bytes(problem(TooLarge(), "req_2").body)))
    assert (plain.code, plain.request_id, plain.errors) == ("too-large", "req_2", None)


def test_the_place_of_a_field_error_is_called_in() -> None:
    assert "in" in FieldProblem.model_json_schema(by_alias=True)["properties"]
    with pytest.raises(ValidationError):
        FieldProblem.model_validate({"in_": "body", "pointer": "", "name": "", "detail": ""})
