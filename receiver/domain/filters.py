"""Filters: conditions on an event's data, by which an endpoint takes only some events of its types. Pure.

A filter is JSON: `{"provider": "apiframe", "metadata.order": {"$in": ["42", "43"]}}`. It has no regular
expressions and does not look into lists, so the time of a comparison is linear in the size of the filter.
`receiver/domain/filter_reader.py` makes filters.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from handlers import json
from handlers.values import immutable
from receiver.domain.filter_operators import Test

ALL_HOLD = "every clause of the filter holds"
NONE_HOLDS = "no alternative of `$or` holds"
MEETS = {True: "meets", False: "does not meet"}
SHOWN = 100
"""The characters of a value that a reason shows."""


@immutable
class Because:
    """The outcome of a filter for an event: whether it matches, and the keys of the deciding clause."""

    matches: bool
    keys: tuple[str, ...]
    reason: str


@immutable
class Clause:
    """A condition on one field."""

    keys: tuple[str, ...]
    path: tuple[str, ...]
    operator: str
    value: Any
    test: Test = field(repr=False, compare=False)

    def found(self, data: Any) -> Any:
        """Return the value of the field, None where the data does not have it."""
        for key in self.path:
            data = data.get(key) if isinstance(data, dict) else None
        return data

    def holds(self, data: Any) -> bool:
        """Return whether the condition holds."""
        return self.test(self.found(data))

    def because(self, data: Any) -> Because:
        """Return whether the condition holds, with the value that it found."""
        found, holds = self.found(data), self.holds(data)
        condition = f"`{self.operator}` {_shown(self.value)}"
        reason = f"`{'.'.join(self.path)}` is {_shown(found)}, which {MEETS[holds]} {condition}"
        return Because(holds, self.keys, reason)


@immutable
class ClauseGroup:
    """Conditions of which all (`$and`), any (`$or`), or the only one not (`$not`) must hold."""

    keys: tuple[str, ...]
    operator: str
    parts: "tuple[Clause | ClauseGroup, ...]"

    def holds(self, data: Any) -> bool:
        """Return whether the conditions hold together."""
        if self.operator == "$not":
            return not self.parts[0].holds(data)
        decisive = self.operator == "$or"
        for part in self.parts:
            if part.holds(data) is decisive:
                return decisive
        return not decisive

    def because(self, data: Any) -> Because:
        """Return whether the conditions hold together, and the clause that decided it."""
        outcomes = [part.because(data) for part in self.parts]
        if self.operator == "$not":
            return Because(not outcomes[0].matches, outcomes[0].keys, outcomes[0].reason)
        decisive = self.operator == "$or"
        for one in outcomes:
            # One failure decides `$and`, one success `$or`.
            if one.matches is decisive or len(outcomes) == 1:
                return one
        return Because(not decisive, self.keys, NONE_HOLDS if decisive else ALL_HOLD)


def _shown(value: Any) -> str:
    text = json.write(value).decode()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


@immutable
class Filter:
    """A filter. Two with the same JSON `text` are equal."""

    text: str
    root: ClauseGroup = field(repr=False, compare=False)

    def matches(self, data: Mapping[str, Any]) -> bool:
        """Return whether an event with this data passes."""
        return self.root.holds(data)

    def explain(self, data: Mapping[str, Any]) -> Because:
        """Return whether an event with this data passes, and the clause that decided it."""
        return self.root.because(data)
