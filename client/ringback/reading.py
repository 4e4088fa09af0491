"""Values out of JSON: frozen dataclasses are filled by the types of their fields.

A field that a newer service adds is left in `raw`; a field that an older one lacks takes its default.
"""

import dataclasses
import functools
import types
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Reader = Callable[[Any], Any]


class Unreadable(ValueError):
    """JSON that does not have the form of a value. The text names the field."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Raw:
    """The base of all values out of JSON: `raw` is the object as it came, with every field."""

    raw: Mapping[str, Any] = dataclasses.field(repr=False, compare=False)


Value = TypeVar("Value", bound=Raw)


def read(kind: type[Value], given: object) -> Value:
    """Return a value of a dataclass. Raises `Unreadable` with the name of the wrong field."""
    if not isinstance(given, Mapping):
        raise Unreadable("must be an object")
    made: dict[str, Any] = {}
    for name, (reader, needed) in _fields(kind).items():  # type: ignore[arg-type]  # a class is hashable
        if name in given:
            try:
                made[name] = reader(given[name])
            except Unreadable as error:
                raise Unreadable(f"{name}: {error}") from None
        elif needed:
            raise Unreadable(f"{name}: is missing")
    return kind(raw=given, **made)


def moment(given: object) -> datetime:
    """Return an aware datetime out of RFC 3339. Raises `Unreadable`."""
    if not isinstance(given, str):
        raise Unreadable("must be a moment")
    try:
        read_moment = datetime.fromisoformat(given)
    except ValueError:
        raise Unreadable("must be a moment") from None
    if read_moment.tzinfo is None:
        raise Unreadable("must have an offset")
    try:
        return read_moment.astimezone(UTC)
    except OverflowError:
        raise Unreadable("must be a moment") from None


def written(given: datetime) -> str:
    """Return a moment as RFC 3339. Raises `ValueError` for one without an offset."""
    if given.tzinfo is None:
        raise ValueError("a moment needs its time zone, such as datetime.now(UTC)")
    return given.astimezone(UTC).isoformat().replace("+00:00", "Z")


@functools.cache
def _fields(kind: type[Raw]) -> Mapping[str, tuple[Reader, bool]]:
    hints = get_type_hints(kind)
    return {
        field.name: (
            _reader(hints[field.name]),
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
        if field.name != "raw"
    }


def _reader(hint: Any) -> Reader:
    """Return the function that reads a field of this type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, Union):
        [some] = [one for one in inner if one is not type(None)]
        return functools.partial(_optional, _reader(some))
    if origin is tuple:
        return functools.partial(_list, _reader(inner[0]))
    # The only other generic type of a field is a mapping of texts.
    if origin is not None:
        return functools.partial(_mapping, _reader(inner[1]))
    if isinstance(hint, type) and issubclass(hint, Raw):
        return functools.partial(read, hint)
    return _PLAIN[hint]


def _optional(inner: Reader, given: Any) -> Any:
    return None if given is None else inner(given)


def _list(inner: Reader, given: Any) -> tuple[Any, ...]:
    if not isinstance(given, list):
        raise Unreadable("must be a list")
    return tuple(inner(one) for one in given)


def _mapping(inner: Reader, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise Unreadable("must be an object")
    return {name: inner(one) for name, one in given.items()}


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise Unreadable("must be a text")
    return given


def _yes_or_no(given: Any) -> bool:
    if not isinstance(given, bool):
        raise Unreadable("must be true or false")
    return given


def _whole(given: Any) -> int:
    # To Python, `True` is a whole number.
    if not isinstance(given, int) or isinstance(given, bool):
        raise Unreadable("must be a whole number")
    return given


def _number(given: Any) -> float:
    if not isinstance(given, int | float) or isinstance(given, bool):
        raise Unreadable("must be a number")
    try:
        return float(given)
    except OverflowError:
        raise Unreadable("must be a number of this size") from None


def _as_it_is(given: Any) -> Any:
    return given


_PLAIN: Mapping[Any, Reader] = {
    str: _text,
    bool: _yes_or_no,
    int: _whole,
    float: _number,
    datetime: moment,
    Any: _as_it_is,
}
