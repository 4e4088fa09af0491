"""The reader of filters: JSON into conditions, with every fault named by its place. Pure."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from handlers import json
from handlers.values import immutable
from receiver.domain.errors import did_you_mean
from receiver.domain.event_fields import FIELDS, HOLDING, families, fields_of, split, words_of
from receiver.domain.filter_operators import EXACT, LONGEST, OPERATORS, FieldKind
from receiver.domain.filters import Clause, ClauseGroup, Filter, filter_of

MOST_CLAUSES = 64
"""The most conditions of a filter, those inside of `$and`, `$or` and `$not` included."""
MOST_VALUES = 200
"""The most values in all `$in` and `$nin` of a filter."""
DEEPEST = 8
"""The deepest nesting of `$and`, `$or` and `$not`."""
GROUPS = ("$and", "$or", "$not")
Condition = Clause | ClauseGroup


@immutable
class FilterProblem:
    """A fault of a filter: the keys that lead to it from the filter's root, and the fix."""

    keys: tuple[str, ...]
    detail: str


class BadFilter(ValueError):
    """An error for a filter with faults."""

    def __init__(self, problems: list[FilterProblem]) -> None:
        super().__init__("the filter has faults")
        self.problems = problems


def checked_filter(value: Any, patterns: tuple[str, ...]) -> Filter:
    """Return the filter that `value` describes, for an endpoint that subscribes to `patterns`.

    Raises `BadFilter` with every fault: an unknown operator or field, a path through a list, a value of
    another type than its field, a word that its field never holds, too many clauses.
    """
    reader = _Reader(families(patterns))
    root = reader.group(value, (), 0)
    if reader.problems:
        raise BadFilter(reader.problems)
    return filter_of(json.write(value).decode(), root)


@functools.lru_cache(maxsize=4096)
def stored_filter(text: str) -> Filter:
    """Return the filter of a stored text, which was checked when it came in."""
    return filter_of(text, _Reader(tuple(FIELDS)).group(json.read(text.encode()), (), 0))


class _Reader:
    """A reader of one filter. It goes on after a fault, so that all faults are found at once."""

    def __init__(self, names: Sequence[str]) -> None:
        self._fields: Mapping[str, FieldKind] = fields_of(names)
        self._words: Mapping[str, Sequence[str]] = words_of(names)
        self._clauses = self._values = 0
        self.problems: list[FilterProblem] = []

    def group(self, value: Any, keys: tuple[str, ...], depth: int) -> ClauseGroup:
        """Return the conditions of an object, all of which must hold."""
        parts: list[Condition] = []
        if not isinstance(value, dict) or not value:
            self._wrong(keys, f"must be an object with at least one field, or {', '.join(GROUPS)}")
        elif depth > DEEPEST:
            self._wrong(keys, f"is nested more than {DEEPEST} deep")
        elif self._counted(len(value), keys):
            for name, inner in value.items():
                parts.extend(self._entry(name, inner, (*keys, name), depth))
        return ClauseGroup(keys, "$and", tuple(parts))

    def _wrong(self, keys: tuple[str, ...], detail: str) -> None:
        self.problems.append(FilterProblem(keys, detail))

    def _counted(self, clauses: int, keys: tuple[str, ...]) -> bool:
        """Count clauses. Returns False, with a fault for the whole filter, once there are too many."""
        before, self._clauses = self._clauses, self._clauses + clauses
        if before <= MOST_CLAUSES < self._clauses:
            self._wrong(keys[:0], f"must have at most {MOST_CLAUSES} clauses")
        return self._clauses <= MOST_CLAUSES

    def _entry(self, name: str, value: Any, keys: tuple[str, ...], depth: int) -> Iterator[Condition]:
        if name in {"$and", "$or"}:
            if not isinstance(value, list) or not value:
                self._wrong(keys, "must be a list of at least one filter")
            elif self._counted(len(value), keys):
                parts = [self.group(one, (*keys, str(at)), depth + 1) for at, one in enumerate(value)]
                yield ClauseGroup(keys, name, tuple(parts))
        elif name == "$not":
            yield ClauseGroup(keys, name, (self.group(value, keys, depth + 1),))
        elif name.startswith("$"):
            self._wrong(keys, f"is not one of {', '.join(GROUPS)}, or a field{did_you_mean(name, GROUPS)}")
        else:
            yield from self._field(name, value, keys)

    def _field(self, path: str, condition: Any, keys: tuple[str, ...]) -> Iterator[Condition]:
        kind = self._kind(path, keys)
        if not isinstance(condition, dict):
            if isinstance(condition, list):
                self._wrong(keys, 'is a list; write {"$in": [...]} for one of several values')
            else:
                yield self._clause(path, kind, "$eq", condition, keys)
        elif not condition:
            self._wrong(keys, f"must be a value, or an object of {', '.join(OPERATORS)}")
        elif self._counted(len(condition) - 1, keys):  # the field was counted
            for name, value in condition.items():
                yield from self._operator(path, kind, name, value, (*keys, name))

    def _operator(
        self, path: str, kind: FieldKind | None, name: str, value: Any, keys: tuple[str, ...]
    ) -> Iterator[Condition]:
        if name in OPERATORS:
            yield self._clause(path, kind, name, value, keys)
        elif name == "$not" and isinstance(value, dict) and value and "$not" not in value:
            inner = [
                one for op, at in value.items() for one in self._operator(path, kind, op, at, (*keys, op))
            ]
            yield ClauseGroup(keys, name, (ClauseGroup(keys, "$and", tuple(inner)),))
        elif name == "$not":
            self._wrong(keys, 'must be an object of operators, such as {"$eq": "value"}')
        elif name.startswith("$"):
            known = [*OPERATORS, "$not"]
            self._wrong(keys, f"is no operator; there are {', '.join(known)}{did_you_mean(name, known)}")
        else:
            self._wrong(keys, f"is no operator; write `{path}.{name}` for a field of it")

    def _clause(
        self, path: str, kind: FieldKind | None, operator: str, value: Any, keys: tuple[str, ...]
    ) -> Condition:
        names = split(path, self._fields)
        fault = None if kind is None else OPERATORS[operator].fault(value, kind)
        if fault is None and kind is not None:
            fault = self._never(path, operator, value)
        self._values += len(value) if isinstance(value, list) else 0
        if fault is None and self._values > MOST_VALUES:
            fault = f"makes more than {MOST_VALUES} values in one filter"
        if fault is not None:
            self._wrong(keys, fault)
        if fault is not None or kind is None:
            # Not evaluated: a filter with a fault is refused.
            return Clause(keys, names, operator, value, bool)
        return Clause(keys, names, operator, value, OPERATORS[operator].test(value))

    def _never(self, path: str, operator: str, value: Any) -> str | None:
        """Return the fault of a word that the field never holds, None where there is none."""
        words = self._words.get(path)
        if words is None or operator not in EXACT:
            return None
        for one in value if isinstance(value, list) else [value]:
            if one is not None and one not in words:
                near = did_you_mean(str(one), words)
                return f"is never {json.write(one).decode()}, but one of {', '.join(words)}{near}"
        return None

    def _kind(self, path: str, keys: tuple[str, ...]) -> FieldKind | None:
        """Return the kind of a field, None with a fault where there is no such field."""
        kind = self._fields.get(path)
        names = split(path, self._fields)
        above = [".".join(names[:length]) for length in range(len(names) - 1, 0, -1)]
        if kind is FieldKind.LIST or any(self._fields.get(one) is FieldKind.LIST for one in above):
            self._wrong(keys, "leads through a list, which filters do not look into")
            return None
        if names[0] == "headers" and path != path.lower():
            self._wrong(keys, f"is never there: names of headers are in lower case, `{path.lower()}`")
            return None
        if kind is not None:
            return kind
        if len(path) > LONGEST or not all(names):
            self._wrong(keys, f"must be field names joined by dots, at most {LONGEST} characters")
            return None
        holder = next((self._fields[one] for one in above if one in self._fields), None)
        if holder in HOLDING:
            return HOLDING[holder]
        known = [name for name, of in self._fields.items() if of is not FieldKind.LIST]
        self._wrong(keys, f"is no field of the events of this endpoint{did_you_mean(path, known)}")
        return None
