"""Examples of requests and responses: one for each route, and each fits its model."""

import pytest

from receiver.api.event_examples import EXAMPLES
from receiver.api.examples import ANSWERS, BODIES, DONE
from receiver.api.openapi import name_of
from receiver.api.routes import ROUTES
from receiver.api.webhooks import JobAnnounced, Webhook
from receiver.domain.model import State


def test_every_call_that_takes_or_answers_something_has_an_example_that_fits() -> None:
    assert {name_of(call) for call in ROUTES if call.body} == set(BODIES)
    assert {name_of(call) for call in ROUTES if call.response} == set(ANSWERS)
    for call in ROUTES:
        if call.body is not None:
            call.body.model_validate(BODIES[name_of(call)])
        if call.response is not None:
            example = ANSWERS[name_of(call)]
            for one in example if call.paged else [example]:
                call.response.model_validate(one)


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("POST /v1/jobs", State.PENDING),
        ("GET /v1/jobs/{id}", State.SUCCEEDED),
        ("POST /v1/jobs/{id}/cancel", State.CANCELED),
        ("POST /v1/jobs/{id}/resolve", State.QUEUED),
    ],
)
def test_the_example_of_a_call_shows_the_state_that_the_call_leads_to(name: str, state: State) -> None:
    example = ANSWERS[name]
    assert example["state"] == state
    assert (example["completed_at"] is not None) == state.final


def test_the_examples_tell_of_one_job() -> None:
    announced = Webhook.model_validate(EXAMPLES["job.succeeded"]).root
    assert isinstance(announced, JobAnnounced)
    assert DONE["id"] == announced.data.id == ANSWERS["GET /v1/events"][0]["data"]["id"]
    assert ANSWERS["GET /v1/deliveries"][0]["event"] == ANSWERS["GET /v1/events"][0]["id"]
    assert ANSWERS["GET /v1/jobs/{id}"]["input"] == BODIES["POST /v1/jobs"]["input"]
