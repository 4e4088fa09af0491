"""Filters: conditions on an event's data, by which an endpoint takes only some events of its types. Pure.

A filter is JSON: `{"provider": "apiframe", "metadata.order": {"$in": ["42", "43"]}}`. It has no regular
expressions and does not look into lists, so the time of a comparison is linear in the size of the filter.
`receiver/domain/filter_reader.py` makes filters.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from handlers import json
from handlers.values import immutable
from receiver.domain.filter_operators import EXACT, Test

ALL_HOLD = "every clause of the filter holds"
NONE_HOLDS = "no alternative of `$or` holds"
MEETS = {True: "meets", False: "does not meet"}
SHOWN = 100
"""The characters of a value that a reason shows."""
SHARED = 8192
"""The most conditions, and paths, that filters share."""
Path = tuple[str, ...]


class EventTexts(dict[Path, str | None]):
    """The texts in an event's data by path, each found once for all filters; None where no text is."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__()
        self.data = data

    def __missing__(self, path: Path) -> str | None:
        """Find the text at a path. Returns it."""
        found = _value_at(self.data, path)
        text = self[path] = found if isinstance(found, str) else None
        return text


def _value_at(data: Any, path: Path) -> Any:
    """Return the value at a path, None where the data does not have it."""
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


TextCheck = tuple[Path, frozenset[str], bool]
"""A condition on the text at a path: whether it is among a few texts, as it is wanted or not."""


@functools.lru_cache(maxsize=SHARED)
def _shared_path(path: Path) -> Path:
    return path


@functools.lru_cache(maxsize=SHARED)
def _text_check(path: Path, among: frozenset[str], *, wanted: bool) -> TextCheck:
    """Return a condition. Equal ones are one object, as are their paths.

    Compared by identity and in the processor's cache, the conditions of 1,000 filters take a third of the
    time.
    """
    return _shared_path(path), among, wanted


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
    path: Path
    operator: str
    value: Any
    test: Test = field(repr=False, compare=False)

    @property
    def of_texts(self) -> TextCheck | None:
        """Return the same condition as a check of a text, None where it compares with anything else."""
        values = self.value if isinstance(self.value, list) else [self.value]
        if self.operator not in EXACT or not all(isinstance(one, str) for one in values):
            return None
        return _text_check(self.path, frozenset(values), wanted=self.operator in {"$eq", "$in"})

    def holds(self, data: Any) -> bool:
        """Return whether the condition holds."""
        return self.test(_value_at(data, self.path))

    def because(self, data: Any) -> Because:
        """Return whether the condition holds, with the value that it found."""
        found, holds = _value_at(data, self.path), self.holds(data)
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


def _conditions(root: ClauseGroup) -> Iterator[Clause | ClauseGroup]:
    """Yield the conditions that must all hold, without the groups that only join them."""
    for part in root.parts:
        if isinstance(part, ClauseGroup) and part.operator == "$and":
            yield from _conditions(part)
        else:
            yield part


@immutable
class Filter:
    """A filter. Two with the same JSON `text` are equal.

    An event is held against the filter of every endpoint. So the conditions on texts, nearly all that there
    are, are checked first and in one loop; `others` are the rest.
    """

    text: str
    root: ClauseGroup = field(repr=False, compare=False)
    texts: tuple[TextCheck, ...] = field(repr=False, compare=False)
    others: tuple[Clause | ClauseGroup, ...] = field(repr=False, compare=False)

    def matches(self, found: EventTexts) -> bool:
        """Return whether the event with these texts passes."""
        for path, among, wanted in self.texts:
            if (found[path] in among) is not wanted:
                return False
        return not self.others or all(one.holds(found.data) for one in self.others)

    def explain(self, data: Mapping[str, Any]) -> Because:
        """Return whether an event with this data passes, and the clause that decided it."""
        return self.root.because(data)


def filter_of(text: str, root: ClauseGroup) -> Filter:
    """Return the filter with this JSON and these conditions."""
    conditions = list(_conditions(root))
    checks = [one.of_texts if isinstance(one, Clause) else None for one in conditions]
    return Filter(
        text=text,
        root=root,
        texts=tuple(check for check in checks if check is not None),
        others=tuple(one for one, check in zip(conditions, checks, strict=True) if check is None),
    )
