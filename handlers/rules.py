"""The checks of an input before money is spent: the types of known fields."""

from collections.abc import Mapping
from typing import Any

from handlers.contract import Problem

TEXT, NUMBER, WHOLE, FLAG, LIST, TABLE = (
    "text",
    "a number",
    "a whole number",
    "true or false",
    "a list",
    "an object",
)
_TYPES: Mapping[str, tuple[type, ...]] = {
    TEXT: (str,),
    NUMBER: (int, float),
    WHOLE: (int,),
    FLAG: (bool,),
    LIST: (list,),
    TABLE: (dict,),
}


def typed(given: Mapping[str, Any], fields: Mapping[str, str], at: str = "") -> list[Problem]:
    """Return a problem for each known field with a value of another type. Null counts as a missing field."""
    return [
        Problem(f"{at}/{name}", f"{name} must be {kind}")
        for name, kind in fields.items()
        if given.get(name) is not None and not _is(given[name], kind)
    ]


def _is(value: object, kind: str) -> bool:
    # In Python a bool is an int, but `true` is not a number in JSON.
    return isinstance(value, _TYPES[kind]) and (kind == FLAG or not isinstance(value, bool))
