"""The rules of a description about inputs, compiled: they name the fields that a provider would refuse."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from handlers import rules
from handlers.contract import Problem, Submission
from handlers.description.vocabulary import Rule
from handlers.pointers import EACH, steps

Place = tuple[str, Any]
"""A place of an input: its pointer and its value."""
KINDS: Mapping[str, str] = {
    "text": rules.TEXT,
    "number": rules.NUMBER,
    "whole": rules.WHOLE,
    "flag": rules.FLAG,
    "list": rules.LIST,
    "table": rules.TABLE,
}
ITEMS = 256
"""The most items of a list that are checked."""


def checker(listed: Sequence[Rule]) -> Callable[[Submission], Sequence[Problem]]:
    """Return the check of an input by these rules."""
    compiled = [_Compiled(rule) for rule in listed]

    def check(submission: Submission) -> Sequence[Problem]:
        found: dict[str, Problem] = {}
        for rule in compiled:
            for problem in rule.problems(submission):
                # The first problem of a place is the clearest: later rules may only follow from it.
                kept = found.setdefault(problem.pointer, problem)
                if kept.warning and not problem.warning:
                    found[problem.pointer] = problem
        return list(found.values())

    return check


class _Compiled:
    """One rule, with its word lists split and its place as steps."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._operations = frozenset(rule.operations.split()) if rule.operations else None
        self._path = steps(rule.at)
        self._types = {name: KINDS[kind] for kind, listed in rule.types.items() for name in listed.split()}

    def problems(self, submission: Submission) -> Sequence[Problem]:
        """Return the problems of an input under this rule."""
        rule = self._rule
        if self._operations is not None and submission.operation not in self._operations:
            return ()
        places = _places(submission.input, self._path)
        if rule.needs or rule.excludes:
            return self._among([value for _, value in places])
        return [problem for at, value in places for problem in self._of(at, value)]

    def _of(self, at: str, given: Any) -> Sequence[Problem]:
        if not isinstance(given, dict):
            # An item that is no object cannot have the fields that the rule is about.
            return [self._problem(at, "must be an object")] if self._path and not self._rule.when else ()
        rule = self._rule
        if any(given.get(name) not in values for name, values in rule.when.items()):
            return ()
        if rule.present is not None and _empty(given, rule.present):
            return ()
        return [
            *self._typed(at, given),
            *self._missing(at, given),
            *self._unknown(at, given),
            *self._too_long(at, given),
        ]

    def _typed(self, at: str, given: Mapping[str, Any]) -> Sequence[Problem]:
        return rules.typed(given, self._types, at)

    def _missing(self, at: str, given: Mapping[str, Any]) -> Sequence[Problem]:
        rule = self._rule
        found = [
            self._problem(f"{at}/{name}", f"{name} is needed")
            for name in rule.required
            if _empty(given, name)
        ]
        there = sum(not _empty(given, name) for name in rule.one_of)
        if rule.one_of and there != 1:
            found.append(
                self._problem(f"{at}/{rule.one_of[0]}", f"give exactly one of {' and '.join(rule.one_of)}")
            )
        if rule.any_of and all(_empty(given, name) for name in rule.any_of):
            found.append(
                self._problem(f"{at}/{rule.any_of[0]}", f"one of {' and '.join(rule.any_of)} is needed")
            )
        return found

    def _unknown(self, at: str, given: Mapping[str, Any]) -> Sequence[Problem]:
        return [
            self._problem(f"{at}/{name}", f"{name} must be one of {', '.join(map(str, listed))}")
            for name, listed in self._rule.known.items()
            if given.get(name) is not None and not _among(given[name], listed)
        ]

    def _too_long(self, at: str, given: Mapping[str, Any]) -> Sequence[Problem]:
        return [
            self._problem(f"{at}/{name}", f"{name} may have at most {most} characters")
            for name, most in self._rule.longest.items()
            if isinstance(given.get(name), str) and len(given[name]) > most
        ]

    def _among(self, values: Sequence[Any]) -> Sequence[Problem]:
        """Return the problems of values in a list that need or exclude each other."""
        there = {one for one in values if isinstance(one, str)}
        at = self._rule.at.partition(f"/{EACH}")[0]
        lacking = [
            self._problem(at, f"{one} needs {other}")
            for one, other in self._rule.needs.items()
            if one in there and other not in there
        ]
        against = [
            self._problem(at, f"{one} does not go with {other}")
            for one, other in self._rule.excludes.items()
            if one in there and other in there
        ]
        return [*lacking, *against]

    def _problem(self, pointer: str, otherwise: str) -> Problem:
        return Problem(pointer, self._rule.say or otherwise, warning=self._rule.warning)


def _empty(given: Mapping[str, Any], name: str) -> bool:
    value: Any = given
    for step in name.split("/"):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value is None or value is False or value == [] or (isinstance(value, str) and not value.strip())


def _among(value: Any, listed: Sequence[str | int]) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    return value in listed or str(value) in listed


def _places(given: Any, path: Sequence[str]) -> list[Place]:
    """Return the places at a path with `*` for every item of a list."""
    places: list[Place] = [("", given)]
    for step in path:
        inner: list[Place] = []
        for at, value in places:
            if step == EACH and isinstance(value, list):
                inner += [(f"{at}/{index}", one) for index, one in enumerate(value[:ITEMS])]
            elif isinstance(value, dict) and step in value:
                inner.append((f"{at}/{step}", value[step]))
        places = inner
    return places
