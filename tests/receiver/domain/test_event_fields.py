"""The fields of events that filters name: exactly those of the public models."""

from collections.abc import Iterator
from typing import Any

import pytest

from receiver.api.event_examples import EXAMPLES
from receiver.api.webhooks import DisabledData, FailingData, JobData, ProviderData, SourceData, TrialData
from receiver.domain.event_fields import FIELDS, WORDS, families, split, words_of
from receiver.domain.event_types import LITERAL_ONLY, SHOWN
from receiver.domain.filter_operators import FieldKind
from receiver.domain.model import EndpointState, State

KINDS = {
    "string": FieldKind.TEXT,
    "number": FieldKind.NUMBER,
    "integer": FieldKind.NUMBER,
    "boolean": FieldKind.FLAG,
}


def walked(schema: dict[str, Any], top: dict[str, Any], before: str = "") -> Iterator[tuple[str, FieldKind]]:
    """Yield each field of a JSON schema with its kind, those of objects below it included."""
    for name, one in schema["properties"].items():
        choices = [choice for choice in one.get("anyOf", [one]) if choice.get("type") != "null"]
        found = choices[0]
        if "$ref" in found:
            found = top["$defs"][found["$ref"].rsplit("/", 1)[-1]]
        path = f"{before}{name}"
        if found.get("type") == "array":
            yield path, FieldKind.LIST
        elif "properties" in found:
            yield path, FieldKind.OBJECT
            yield from walked(found, top, f"{path}.")
        elif found.get("type") == "object":
            texts = found.get("additionalProperties") == {"type": "string"}
            yield path, FieldKind.TEXTS if texts else FieldKind.OPEN
        elif found.get("format") == "date-time":
            yield path, FieldKind.MOMENT
        else:
            yield path, KINDS[found["type"]]


@pytest.mark.parametrize(
    ("family", "models"),
    [("job", [JobData]), ("provider", [ProviderData]), ("endpoint", [DisabledData, TrialData, FailingData])],
)
def test_the_fields_are_those_of_the_public_models(family: str, models: list[Any]) -> None:
    public = {
        path: kind
        for model in models
        for path, kind in walked(model.model_json_schema(), model.model_json_schema())
    }
    public.pop("result", None)
    assert dict(FIELDS[family]) == public


def test_the_fields_of_a_message_are_those_of_its_model() -> None:
    assert FIELDS["source"].keys() == SourceData.model_fields.keys()
    assert FIELDS["source"]["body"] is FIELDS["source"]["update"] is FieldKind.OPEN
    assert FIELDS["source"]["headers"] is FieldKind.TEXTS


def test_every_event_type_is_of_a_family() -> None:
    assert {name.partition(".")[0] for name in SHOWN} == FIELDS.keys()


def test_each_list_of_words_belongs_to_a_text() -> None:
    assert WORDS.keys() == FIELDS.keys()
    for family, words in WORDS.items():
        assert {FIELDS[family][path] for path in words} == {FieldKind.TEXT}


def test_the_objects_of_events_are_the_words_of_their_families() -> None:
    for family, words in WORDS.items():
        examples = [one for name, one in EXAMPLES.items() if name.startswith(f"{family}.")]
        assert {one["data"]["object"] for one in examples} == set(words["object"])


def test_words_count_where_every_family_with_the_field_has_them() -> None:
    assert words_of(["job"])["state"] == [state.value for state in State]
    assert words_of(["endpoint"])["state"] == ["active", "paused", "disabled"]
    assert set(words_of(["job", "endpoint"])["state"]) == {*State, *EndpointState}
    # A provider's and an endpoint's `reason` is any text.
    assert words_of(["provider"]) == {"object": ["provider"]}


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (("*",), ["job", "provider", "endpoint", "source"]),
        (("job.failed",), ["job"]),
        (("provider.*", "job.progressed"), ["job", "provider"]),
        (tuple(sorted(LITERAL_ONLY)), ["job", "endpoint"]),
        (("endpoint.*",), ["endpoint"]),
        (("source.*",), ["source"]),
        (("job.failed", "source.shop.received"), ["job", "source"]),
    ],
)
def test_patterns_lead_to_families(patterns: tuple[str, ...], found: list[str]) -> None:
    assert families(patterns) == found


def test_only_the_keys_of_texts_may_have_dots() -> None:
    assert split("metadata.order.id", FIELDS["job"]) == ("metadata", "order.id")
    assert split("usage.cost.amount", FIELDS["job"]) == ("usage", "cost", "amount")
    assert split("state", FIELDS["job"]) == ("state",)
