"""Webhooks: the model that each event type selects, and the fields that only the feed adds."""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from receiver.api.event_examples import EXAMPLES, MEANINGS
from receiver.api.webhooks import (
    DisabledAnnounced,
    EventResponse,
    EventWithReasons,
    FailingAnnounced,
    JobAnnounced,
    JobEventWithReasons,
    ProviderAnnounced,
    SourceAnnounced,
    TrialAnnounced,
    Webhook,
)
from receiver.domain.event_types import SHOWN, TYPES
from receiver.domain.model import FINAL, State

MODELS: Mapping[str, type] = {
    "job": JobAnnounced,
    "provider": ProviderAnnounced,
    "endpoint.disabled": DisabledAnnounced,
    "endpoint.failing": FailingAnnounced,
    "endpoint.test": TrialAnnounced,
    "source": SourceAnnounced,
}
REASON = {"endpoint": None, "delivery": "dlv_1", "status": "pending", "reason": None}


def listed(name: str) -> dict[str, Any]:
    """Return the example of an event as the feed shows it."""
    return {"object": "event", **EXAMPLES[name]}


def test_every_event_type_has_one_example_and_one_meaning() -> None:
    assert list(EXAMPLES) == list(MEANINGS) == list(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_the_type_of_an_event_selects_its_model(name: str) -> None:
    expected = MODELS.get(name) or MODELS[name.partition(".")[0]]
    assert type(Webhook.model_validate(EXAMPLES[name]).root) is expected
    assert isinstance(EventResponse.model_validate(listed(name)).root, expected)
    explained = listed(name) | {"deliveries": [REASON]}
    assert isinstance(EventWithReasons.model_validate(explained).root, expected)


@pytest.mark.parametrize("name", SHOWN)
def test_an_event_with_the_data_of_another_kind_is_refused(name: str) -> None:
    other = "endpoint.test" if name != "endpoint.test" else "provider.blocked"
    with pytest.raises(ValidationError):
        Webhook.model_validate(EXAMPLES[name] | {"data": EXAMPLES[other]["data"]})


def test_an_unknown_type_is_refused_with_the_list_of_types() -> None:
    with pytest.raises(ValidationError, match=r"'job\.succeeded'.*'endpoint\.test'"):
        Webhook.model_validate(EXAMPLES["job.running"] | {"type": "job.started"})


def test_only_the_feed_calls_an_event_an_object() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Webhook.model_validate(listed("job.running"))
    with pytest.raises(ValidationError, match="Field required"):
        EventResponse.model_validate(EXAMPLES["job.running"])
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        EventResponse.model_validate(listed("job.running") | {"deliveries": []})
    with pytest.raises(ValidationError, match="Field required"):
        EventWithReasons.model_validate(listed("job.running"))


def test_the_reason_of_a_delivery_is_one_of_the_known_statuses() -> None:
    event = listed("job.running") | {"deliveries": [REASON | {"status": "lost"}]}
    with pytest.raises(ValidationError, match="'not-subscribed'"):
        EventWithReasons.model_validate(event)
    found = EventWithReasons.model_validate(event | {"deliveries": [REASON]}).root
    assert isinstance(found, JobEventWithReasons)
    assert found.deliveries[0].endpoint is None


def test_the_result_of_a_job_may_be_there_or_missing() -> None:
    example = EXAMPLES["job.succeeded"]
    without = Webhook.model_validate(example).root
    whole = Webhook.model_validate(example | {"data": example["data"] | {"result": {"seed": 7}}}).root
    assert isinstance(without, JobAnnounced)
    assert isinstance(whole, JobAnnounced)
    assert (without.data.result, whole.data.result) == (None, {"seed": 7})


@pytest.mark.parametrize("name", [name for name in TYPES if name.startswith("job.")])
def test_the_example_of_a_job_is_complete_exactly_where_its_state_is_final(name: str) -> None:
    data = EXAMPLES[name]["data"]
    final = State(data["state"]) in FINAL
    assert ((data["completed_at"] is not None), (data["completed_by"] is not None)) == (final, final)
