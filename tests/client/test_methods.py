"""Methods out of descriptions: their text and their signature."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import TYPE_CHECKING, assert_type

from ringback import AsyncRingback, Job, Ringback
from ringback.blocking import Jobs
from ringback.calls import jobs
from ringback.methods import Method
from ringback.waiting import wait

KEY = "rb_" + "k" * 32


def test_a_method_has_the_text_and_the_parameters_of_its_description() -> None:
    with Ringback("http://127.0.0.1:1", KEY) as client:
        assert client.jobs.wait.__doc__ == wait.__doc__
        shown = inspect.signature(client.jobs.cancel)
        assert (list(shown.parameters), shown.return_annotation) == (["job_id"], Job)
        assert inspect.signature(client.jobs.wait).return_annotation == Job
        listed = inspect.signature(client.jobs.list)
        assert listed.parameters.keys() == inspect.signature(jobs.pages).parameters.keys()
        assert listed.return_annotation == Iterator[Job]


async def test_an_async_method_tells_that_it_is_awaited() -> None:
    async with AsyncRingback("http://127.0.0.1:1", KEY) as client:
        assert client.jobs.get.__doc__ == jobs.show.__doc__
        assert inspect.signature(client.jobs.get).return_annotation == Awaitable[Job]
        assert inspect.signature(client.jobs.list).return_annotation == AsyncIterator[Job]


async def test_types_reach_the_user() -> None:
    with Ringback("http://127.0.0.1:1", KEY) as client:
        assert_type(client.jobs.list(state="failed"), Iterator[Job])
        if TYPE_CHECKING:
            assert_type(client.jobs.submit("p", {}, metadata={"a": "b"}), Job)
            assert_type(client.jobs.run("p", {}, timeout=1.0), Job)
            assert_type(client.jobs.erase("job_1"), None)
    async with AsyncRingback("http://127.0.0.1:1", KEY) as other:
        assert_type(other.jobs.list(), AsyncIterator[Job])
        if TYPE_CHECKING:
            assert_type(await other.jobs.wait("job_1", timeout=1.0), Job)


def test_the_class_shows_the_description() -> None:
    assert isinstance(Jobs.cancel, Method)
    assert Jobs.cancel.__doc__ == jobs.cancel.__doc__
