"""The client against the service: every field, parameter and operation of its API is there."""

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel

import ringback
from receiver.api import messages
from receiver.api import requests as a
from receiver.api import responses as s
from receiver.api import statistics as service_statistics
from receiver.api import webhooks as w
from receiver.api.event_examples import EXAMPLES
from receiver.api.routes import ROUTES
from receiver.domain.event_types import SOURCE_TYPE
from ringback import blocking, events, values
from ringback import statistics as client_statistics
from ringback.calls import administration, deliveries, endpoints, jobs
from ringback.calls import events as event_calls
from ringback.core import Call
from ringback.methods import AsyncListed, AsyncMethod, Listed, Method, Resource

VALUES: dict[type, type[BaseModel]] = {
    values.Asset: s.AssetResponse,
    values.JobError: s.JobErrorResponse,
    values.Waiting: s.WaitingResponse,
    values.TimelineEntry: s.EntryResponse,
    values.JobToken: s.JobTokenResponse,
    values.ProviderMessage: messages.MessageResponse,
    client_statistics.Statistic: service_statistics.StatsResponse,
    client_statistics.StatisticSeries: service_statistics.StatsSeries,
    client_statistics.StatisticPoint: service_statistics.StatsPoint,
    client_statistics.StatisticBucket: service_statistics.StatsBucket,
    values.Endpoint: s.EndpointResponse,
    values.EndpointWithHealth: s.EndpointWithHealth,
    values.NewEndpoint: s.NewEndpoint,
    values.EndpointSecret: s.EndpointSecret,
    values.LastAttempt: s.LastAttempt,
    values.Explanation: s.ExplanationResponse,
    values.Replay: s.ReplayResponse,
    values.Attempt: s.AttemptResponse,
    values.Delivery: s.DeliveryResponse,
    values.DeliveryWithAttempts: s.DeliveryWithAttempts,
    values.Whereabouts: s.WhereaboutsResponse,
    values.ApiKey: s.Key,
    values.NewApiKey: s.NewKey,
    values.Operation: s.OperationResponse,
    values.Provider: s.ProviderResponse,
    values.Source: s.SourceResponse,
    values.SigningKey: s.SigningKey,
    events.AccountState: w.ProviderData,
}


def names(kind: type) -> set[str]:
    """Return the fields of a value of the client."""
    return {field.name for field in dataclasses.fields(kind)} - {"raw"}


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_a_value_has_the_fields_of_the_service_s_model(kind: type) -> None:
    assert names(kind) == VALUES[kind].model_fields.keys() - {"object"}


def test_a_job_has_the_fields_of_every_form_of_a_job() -> None:
    forms = (s.JobResponse, s.NewJobResponse, s.WholeJob, w.JobData)
    assert names(values.Job) == set().union(*(form.model_fields for form in forms)) - {"object"}


def test_an_endpoint_in_an_event_has_the_fields_of_every_such_event() -> None:
    forms = (w.FailingData, w.DisabledData, w.TrialData)
    assert names(events.EndpointState) == set().union(*(form.model_fields for form in forms)) - {"object"}


def test_a_source_s_event_has_the_fields_of_its_message() -> None:
    shown = {field.name for field in dataclasses.fields(events.SourceReceived)} | {"body_base64"}
    assert w.SourceData.model_fields.keys() - {"object", "id", "sequence"} <= shown


def test_every_type_of_event_has_its_class() -> None:
    assert EXAMPLES.keys() == {*events.KINDS, SOURCE_TYPE}
    assert len({kind for kind, _, _ in events.KINDS.values()}) == len(events.KINDS)


BODIES: list[tuple[Any, type[BaseModel], set[str]]] = [
    (endpoints.rotate_secret, a.RotationRequest, {"endpoint_id"}),
    (endpoints.explain, a.ExplanationRequest, {"endpoint_id"}),
    (endpoints.replay, a.ReplayRequest, {"endpoint_id"}),
    (jobs.resolve, a.Resolution, {"job_id"}),
    (administration.key_create, a.KeyRequest, set()),
    (administration.statistics, service_statistics.StatsQuery, set()),
    (jobs.show, a.WaitQuery, {"job_id"}),
]


@pytest.mark.parametrize(("describe", "model", "own"), BODIES, ids=lambda one: getattr(one, "__name__", ""))
def test_a_call_has_the_parameters_of_the_service(
    describe: Any, model: type[BaseModel], own: set[str]
) -> None:
    assert inspect.signature(describe).parameters.keys() - own == model.model_fields.keys()


LISTS: list[tuple[Any, type[BaseModel], set[str]]] = [
    (jobs.pages, a.JobQuery, {"metadata"}),
    (deliveries.pages, a.DeliveryQuery, set()),
    (endpoints.pages, a.PageQuery, set()),
]


@pytest.mark.parametrize(("describe", "model", "own"), LISTS, ids=lambda one: getattr(one, "__module__", ""))
def test_a_list_has_the_filters_of_the_service(describe: Any, model: type[BaseModel], own: set[str]) -> None:
    given = inspect.signature(describe).parameters.keys() - own - {"page_size"}
    assert given == model.model_fields.keys() - {"limit", "cursor"}


def test_the_feed_and_the_options_of_submissions_and_endpoints_are_complete() -> None:
    feed = inspect.signature(event_calls.page).parameters.keys()
    assert feed == a.FeedQuery.model_fields.keys() - {"cursor"}
    submission = {"provider", "input", *jobs.JobOptions.__annotations__} - {"idempotency_key", "wait"}
    assert submission == a.JobRequest.model_fields.keys()
    assert {"url", *endpoints.EndpointOptions.__annotations__} == a.EndpointRequest.model_fields.keys()
    assert endpoints.EndpointChanges.__annotations__.keys() == a.EndpointPatch.model_fields.keys()


STREAMS = {("GET", "/v1/jobs/{id}/stream"), ("GET", "/v1/events/stream")}
"""Calls that the client does not make: it waits for a job and follows the feed by calls that wait."""
CALLS: Sequence[Call[Any]] = (
    jobs.submit("apiframe", {}),
    jobs.show("ID"),
    jobs.pages(),
    jobs.cancel("ID"),
    jobs.resolve("ID", fail=True),
    jobs.erase("ID"),
    jobs.revoke_assets("ID"),
    jobs.token("ID"),
    jobs.timeline("ID"),
    jobs.messages("ID"),
    event_calls.page(),
    event_calls.show("ID"),
    endpoints.create("https://app.example.com"),
    endpoints.show("ID"),
    endpoints.pages(),
    endpoints.update("ID"),
    endpoints.delete("ID"),
    endpoints.secret("ID"),
    endpoints.test("ID"),
    endpoints.pause("ID"),
    endpoints.resume("ID"),
    endpoints.rotate_secret("ID"),
    endpoints.explain("ID"),
    endpoints.replay("ID"),
    endpoints.replay_show("ID"),
    endpoints.replay_pages(),
    endpoints.replay_cancel("ID"),
    deliveries.pages(),
    deliveries.show("ID"),
    deliveries.retry("ID"),
    deliveries.cancel("ID"),
    administration.key_pages(),
    administration.key_create("name", ["admin"]),
    administration.key_delete("ID"),
    administration.provider_pages(),
    administration.source_pages(),
    administration.signing_keys(),
    administration.statistics("jobs"),
)


def test_every_operation_of_the_service_has_its_call_and_no_call_is_without_one() -> None:
    offered = {(one.method, one.path) for one in ROUTES if one.scope or "well-known" in one.path}
    described = {(call.method, call.path.replace("/ID", "/{id}")) for call in CALLS}
    # Prometheus reads the metrics, in a format of its own.
    assert described == offered - STREAMS - {("GET", "/metrics")}


def test_both_clients_have_the_same_methods() -> None:
    for name, group in vars(blocking).items():
        if not inspect.isclass(group) or not issubclass(group, Resource) or name == "Resource":
            continue
        other = getattr(ringback.awaiting, f"Async{name}")
        for method, described_once in vars(group).items():
            if isinstance(described_once, Method | Listed):
                twin = vars(other)[method]
                assert twin._describe is described_once._describe, method
                assert isinstance(twin, AsyncMethod) == isinstance(described_once, Method)
                assert isinstance(twin, AsyncListed) == isinstance(described_once, Listed)
        public = {one for one in vars(group) if not one.startswith("_")}
        assert public == {one for one in vars(other) if not one.startswith("_")}


def test_the_help_of_a_method_names_its_options() -> None:
    text = inspect.getdoc(jobs.submit) or ""
    assert all(f"`{name}`" in text for name in jobs.JobOptions.__annotations__)


def test_everything_public_is_named() -> None:
    for name in ringback.__all__:
        assert hasattr(ringback, name), name
    for kind in (*VALUES, *(kind for kind, _, _ in events.KINDS.values())):
        assert kind.__name__ in ringback.__all__
