"""Subscriptions: the reason why an endpoint takes an event or not."""

from receiver.domain.filter_reader import checked_filter
from receiver.domain.filters import Because
from receiver.domain.subscriptions import explain

PAID = checked_filter({"metadata.plan": "paid"}, ("job.*",))


def test_a_type_that_is_not_included() -> None:
    assert explain(("job.failed",), PAID, "job.succeeded", {}, "ep_1") == Because(
        False, (), "its event types do not include job.succeeded"
    )


def test_a_type_that_must_be_named() -> None:
    assert explain(("*",), None, "job.progressed", {}, "ep_1") == Because(
        False,
        (),
        "its event types do not include job.progressed (no pattern includes that type, so it must be named)",
    )


def test_without_a_filter_every_event_of_its_types_is_taken() -> None:
    assert explain(("job.*",), None, "job.failed", {}, "ep_1") == Because(
        True, (), "its event types include job.failed, and it has no filter"
    )


def test_the_filter_decides_on_an_included_type() -> None:
    assert explain(("job.*",), PAID, "job.failed", {"metadata": {"plan": "free"}}, "ep_1") == Because(
        False, ("metadata.plan",), '`metadata.plan` is "free", which does not meet `$eq` "paid"'
    )
    assert explain(("job.*",), PAID, "job.failed", {"metadata": {"plan": "paid"}}, "ep_1").matches


def test_an_event_that_never_goes_to_an_endpoint_is_told_as_such() -> None:
    test = explain(("endpoint.test",), None, "endpoint.test", {"id": "ep_2"}, "ep_1")
    assert test == Because(False, (), "a test goes to its own endpoint only")
    own, other = (
        explain(("endpoint.*",), None, "endpoint.disabled", {"id": name}, "ep_1") for name in ("ep_1", "ep_2")
    )
    assert own == Because(False, (), "an endpoint is not told about itself")
    assert other.matches
