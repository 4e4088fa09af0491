"""Subscriptions: the reason why an endpoint takes an event or not."""

from receiver.domain.filter_reader import checked_filter
from receiver.domain.filters import Because
from receiver.domain.subscriptions import explain

PAID = checked_filter({"metadata.plan": "paid"}, ("job.*",))


def test_a_type_that_is_not_included() -> None:
    assert explain(("job.failed",), PAID, "job.succeeded", {}) == Because(
        False, (), "its event types do not include job.succeeded"
    )


def test_a_type_that_must_be_named() -> None:
    assert explain(("*",), None, "job.progressed", {}) == Because(
        False,
        (),
        "its event types do not include job.progressed (no pattern includes that type, so it must be named)",
    )


def test_without_a_filter_every_event_of_its_types_is_taken() -> None:
    assert explain(("job.*",), None, "job.failed", {}) == Because(
        True, (), "its event types include job.failed, and it has no filter"
    )


def test_the_filter_decides_on_an_included_type() -> None:
    assert explain(("job.*",), PAID, "job.failed", {"metadata": {"plan": "free"}}) == Because(
        False, ("metadata.plan",), '`metadata.plan` is "free", which does not meet `$eq` "paid"'
    )
    assert explain(("job.*",), PAID, "job.failed", {"metadata": {"plan": "paid"}}).matches
