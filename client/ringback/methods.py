"""Methods out of descriptions: one of each kind for the blocking client, and one for the async client.

A description is a function that returns a `Call` or a `Flow`. The method has its parameters and its text.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar, get_args, overload

from ringback.core import Call, Result
from ringback.values import Item, Page
from ringback.waiting import Flow

Given = ParamSpec("Given")
Made = TypeVar("Made")


class Performs(Protocol):
    """A blocking client, as its methods see it."""

    def perform(self, plan: Call[Result] | Flow[Result]) -> Result:
        """Return the value of a call or a flow."""

    def pages(self, call: Call[Page[Item]]) -> Iterator[Item]:
        """Yield the items of all pages of a list."""


class AsyncPerforms(Protocol):
    """An async client, as its methods see it."""

    async def perform(self, plan: Call[Result] | Flow[Result]) -> Result:
        """Return the value of a call or a flow."""

    def pages(self, call: Call[Page[Item]]) -> AsyncIterator[Item]:
        """Yield the items of all pages of a list."""


class Resource:
    """A group of methods of a blocking client."""

    def __init__(self, client: Performs) -> None:
        self._client = client


class AsyncResource:
    """A group of methods of an async client."""

    def __init__(self, client: AsyncPerforms) -> None:
        self._client = client


class _Described(Generic[Given, Made]):
    """The base of the methods: a description, with its signature for `help`."""

    depth = 1
    """How deep in the type of a description its value lies: `Call[Job]`, `Call[Page[Job]]`."""

    def __init__(self, describe: Callable[Given, Made]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__
        shown = inspect.signature(describe)
        value = shown.return_annotation
        for _ in range(self.depth):
            [value] = get_args(value)
        self._signature = shown.replace(return_annotation=self.returns(value))

    def returns(self, value: Any) -> Any:
        """Return the annotation of the result."""
        return value

    def named(self, method: Callable[Given, Any]) -> Callable[Given, Any]:
        """Return a method with the text and the signature of its description."""
        method.__doc__ = self._describe.__doc__
        method.__signature__ = self._signature  # type: ignore[attr-defined]  # `inspect` reads it
        return method


class Method(_Described[Given, Call[Result] | Flow[Result]]):
    """A method that makes a call or a flow."""

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: Resource, kind: type) -> Callable[Given, Result]: ...
    def __get__(self, owner: Resource | None, kind: type) -> Self | Callable[Given, Result]:
        """Return the method of a client."""
        if owner is None:
            return self

        def method(*args: Given.args, **named: Given.kwargs) -> Result:
            return owner._client.perform(self._describe(*args, **named))

        return self.named(method)


# A description is called when the method is, so that a wrong argument is told there and not in the loop.
class Listed(_Described[Given, Call[Page[Item]]]):
    """A method that iterates over a list, page by page."""

    depth = 2

    def returns(self, value: Any) -> Any:
        """Return the annotation of the result."""
        return Iterator[value]

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: Resource, kind: type) -> Callable[Given, Iterator[Item]]: ...
    def __get__(self, owner: Resource | None, kind: type) -> Self | Callable[Given, Iterator[Item]]:
        """Return the method of a client."""
        if owner is None:
            return self

        def method(*args: Given.args, **named: Given.kwargs) -> Iterator[Item]:
            return owner._client.pages(self._describe(*args, **named))

        return self.named(method)


class AsyncMethod(_Described[Given, Call[Result] | Flow[Result]]):
    """A method that makes a call or a flow and is awaited."""

    def returns(self, value: Any) -> Any:
        """Return the annotation of the result."""
        return Awaitable[value]

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: AsyncResource, kind: type) -> Callable[Given, Coroutine[Any, Any, Result]]: ...
    def __get__(
        self, owner: AsyncResource | None, kind: type
    ) -> Self | Callable[Given, Coroutine[Any, Any, Result]]:
        """Return the method of a client."""
        if owner is None:
            return self

        def method(*args: Given.args, **named: Given.kwargs) -> Coroutine[Any, Any, Result]:
            return owner._client.perform(self._describe(*args, **named))

        return self.named(method)


class AsyncListed(_Described[Given, Call[Page[Item]]]):
    """A method that iterates asynchronously over a list, page by page."""

    depth = 2

    def returns(self, value: Any) -> Any:
        """Return the annotation of the result."""
        return AsyncIterator[value]

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: AsyncResource, kind: type) -> Callable[Given, AsyncIterator[Item]]: ...
    def __get__(self, owner: AsyncResource | None, kind: type) -> Self | Callable[Given, AsyncIterator[Item]]:
        """Return the method of a client."""
        if owner is None:
            return self

        def method(*args: Given.args, **named: Given.kwargs) -> AsyncIterator[Item]:
            return owner._client.pages(self._describe(*args, **named))

        return self.named(method)
