"""Immutable values: dataclasses that do not change once they are made.

The type checker enforces this, not the interpreter: `frozen=True` sets every field through a call, which
tripled the cost of the values of one callback.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, dataclass_transform, overload

Made = TypeVar("Made")


@overload
def immutable(cls: type[Made], /) -> type[Made]: ...
@overload
def immutable(*, kw_only: bool = False, order: bool = False) -> Callable[[type[Made]], type[Made]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def immutable(cls: type[Any] | None = None, /, *, kw_only: bool = False, order: bool = False) -> Any:
    """Make a class of values: compared and hashed by its fields, which lie in slots."""

    def made(one: type[Made]) -> type[Made]:
        # Not `frozen=True`, for speed. Why: receiver/README.md#values-are-not-frozen
        return dataclass(one, slots=True, unsafe_hash=True, kw_only=kw_only, order=order)

    return made if cls is None else made(cls)
