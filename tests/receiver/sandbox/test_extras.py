"""Tests of the fields that only the vendors' own clients read."""

import itertools
from typing import Any

import pytest

import handlers
from handlers.contract import Phase
from receiver.sandbox.extras import EXTRAS, INPUT, added
from receiver.sandbox.providers import SPEAKERS
from tests.receiver.sandbox.simulated import made, read

CALLS = {"submit", "poll", "result", "cancel"}
PHASES = {
    "queued": Phase.QUEUED,
    "running": Phase.RUNNING,
    "succeeded": Phase.SUCCEEDED,
    "failed": Phase.FAILED,
}
OPEN = dict.fromkeys(("leonardo", "zhipu"), Phase.RUNNING)
"""The phase of all open jobs, where the provider has one word for them."""


def test_each_provider_with_extras_is_simulated_and_its_calls_and_phases_are_known() -> None:
    assert handlers.ALL.keys() >= EXTRAS.keys()
    for extra in itertools.chain(*EXTRAS.values()):
        assert set(extra.calls) <= CALLS
        assert set(extra.phases) <= PHASES.keys()


def test_a_provider_without_extras_keeps_its_answers() -> None:
    body = {"id": "1"}
    assert added(body, "poll", made("aiml"), "running") == body == {"id": "1"}


def test_extras_repeat_the_request_and_name_the_job() -> None:
    job = made("zhipu", input={"model": "cogvideox-3"})
    assert added({"id": job.id}, "poll", job, "running") == {
        "id": "zhipu-1",
        "model": "cogvideox-3",
        "request_id": "zhipu-1",
    }
    assert added({}, "poll", made("zhipu"), "running")["model"] is None


def test_fal_names_three_urls_of_a_job_when_it_accepts_it() -> None:
    job = made("fal")
    app = job.operation.removesuffix("/dev")
    base = f"http://127.0.0.1:9090/fal/{app}/requests/fal-1"
    body = added(SPEAKERS["fal"].submitted(job), "submit", job, "queued")
    assert [body[f"{name}_url"] for name in ("status", "response", "cancel")] == [
        f"{base}/status",
        base,
        f"{base}/cancel",
    ]


@pytest.mark.parametrize(
    ("call", "phase", "fields"),
    [
        ("submit", "queued", {"queue_position"}),
        ("poll", "queued", {"queue_position", "logs"}),
        ("poll", "running", {"logs"}),
        ("poll", "succeeded", {"logs", "metrics"}),
        ("poll", "failed", {"logs"}),
    ],
)
def test_a_field_is_there_in_its_calls_and_phases_alone(call: str, phase: str, fields: set[str]) -> None:
    body = added({}, call, made("fal"), phase)
    assert {"queue_position", "logs", "metrics"} & body.keys() == fields


def test_an_extra_may_be_the_whole_answer() -> None:
    body = added({"payload": "else"}, "result", made("fal"), "succeeded")
    assert body.keys() == {"images", "seed"}
    assert added({"payload": "else"}, "result", made("fal"), "failed") == {"payload": "else"}


def test_a_field_belongs_to_its_operations_alone() -> None:
    response, batch = (made("openai", operation=path) for path in ("v1/responses", "v1/batches"))
    assert added({}, "poll", response, "running")["object"] == "response"
    assert added({}, "poll", batch, "running") == {}


def test_an_empty_success_has_no_result() -> None:
    body = added({}, "poll", made("openai", "empty", operation="v1/responses"), "succeeded")
    assert body["output"] == []
    assert added({}, "poll", made("openai", operation="v1/responses"), "succeeded")["output"]


@pytest.mark.parametrize("name", sorted(EXTRAS))
@pytest.mark.parametrize("phase", PHASES)
def test_the_handlers_read_an_answer_alike_with_and_without_its_extras(name: str, phase: str) -> None:
    job = made(name, input={"model": "m", "audio_url": "https://files.example/tide.mp3"})
    plain: dict[str, Any] = SPEAKERS[name].polled(job, phase, 40)
    updates = [read(name, body) for body in (plain, added(plain, "poll", job, phase))]
    [facts, others] = [
        (
            one.provider_job_id,
            one.phase,
            one.failure and one.failure.message,
            [file.url for file in one.assets],
        )
        for one in updates
    ]
    assert facts == others
    assert facts[:2] == (job.id, OPEN.get(name, PHASES[phase]) if phase == "queued" else PHASES[phase])


def test_every_repeated_value_has_its_place_in_a_request() -> None:
    texts = [value for extra in itertools.chain(*EXTRAS.values()) for value in extra.fields.values()]
    places = {text for text in texts if isinstance(text, str) and text.startswith(INPUT)}
    assert places == {"input:/audio_url", "input:/model", "input:/prompt"}
