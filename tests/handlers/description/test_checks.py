"""Rules of a description: the problems of an input, with the place and the fix."""

from typing import Any

import pytest

from handlers.contract import Problem, Submission
from handlers.description.checks import ITEMS, checker
from handlers.description.vocabulary import Rule


def problems(
    given: dict[str, Any], *rules: dict[str, Any], operation: str = "video"
) -> list[tuple[str, str]]:
    """Return the problems of an input under rules: places and sentences."""
    check = checker([Rule.model_validate(rule) for rule in rules])
    return [(one.pointer, one.detail) for one in check(Submission("job_1", operation, given))]


IMAGES = {"images": [{"role": "first"}, {"role": "last"}, "x", {"url": "u"}]}


@pytest.mark.parametrize(
    ("rule", "given", "found"),
    [
        ({"types": {"text": "prompt", "whole": "n"}}, {"prompt": 5, "n": 1.5}, ["/prompt", "/n"]),
        (
            {"types": {"flag": "on", "list": "a", "table": "b", "number": "c"}},
            {"on": True, "a": [], "b": {}},
            [],
        ),
        ({"types": {"number": "c"}}, {"c": True}, ["/c"]),
        ({"required": ["prompt"]}, {}, ["/prompt"]),
        ({"required": ["prompt"]}, {"prompt": "  "}, ["/prompt"]),
        ({"required": ["prompt"]}, {"prompt": 0}, []),
        ({"required": ["image/url"]}, {"image": {"url": "u"}}, []),
        ({"required": ["image/url"]}, {"image": "u"}, ["/image/url"]),
        ({"any_of": ["a", "b"]}, {}, ["/a"]),
        ({"any_of": ["a", "b"]}, {"b": 1}, []),
        ({"one_of": ["a", "b"]}, {}, ["/a"]),
        ({"one_of": ["a", "b"]}, {"a": 1, "b": 2}, ["/a"]),
        ({"one_of": ["a", "b"]}, {"a": 1}, []),
        ({"known": {"n": [5, 10]}}, {"n": 7}, ["/n"]),
        ({"known": {"n": [5, 10]}}, {"n": 5}, []),
        ({"known": {"n": ["5", "10"]}}, {"n": 5}, []),
        ({"known": {"n": [1]}}, {"n": True}, ["/n"]),
        ({"known": {"n": ["a"]}}, {"n": ["a"]}, ["/n"]),
        ({"longest": {"prompt": 3}}, {"prompt": "abcd"}, ["/prompt"]),
        ({"longest": {"prompt": 3}}, {"prompt": ["a"] * 5}, []),
        ({"when": {"kind": "image"}, "required": ["url"]}, {"kind": "image"}, ["/url"]),
        ({"when": {"kind": ["image", "video"]}, "required": ["url"]}, {"kind": "audio"}, []),
        ({"present": "last", "required": ["first"]}, {"last": "u"}, ["/first"]),
        ({"present": "last", "required": ["first"]}, {"last": ""}, []),
        ({"operations": "image", "required": ["x"]}, {}, []),
        ({"operations": "audio video", "required": ["x"]}, {}, ["/x"]),
        ({"at": "/images/*", "required": ["url"]}, IMAGES, ["/images/0/url", "/images/1/url", "/images/2"]),
        ({"at": "/images/*/role", "needs": {"last": "first"}}, IMAGES, []),
        ({"at": "/images/*/role", "needs": {"last": "middle"}}, IMAGES, ["/images"]),
        ({"at": "/images/*/role", "excludes": {"last": "first"}}, IMAGES, ["/images"]),
        ({"at": "/images/*", "required": ["url"]}, {"images": "x"}, []),
        ({"at": "/options", "types": {"text": "mode"}}, {"options": {"mode": 1}}, ["/options/mode"]),
    ],
)
def test_a_rule_names_the_places_that_break_it(
    rule: dict[str, Any], given: dict[str, Any], found: list[str]
) -> None:
    assert [place for place, _ in problems(given, rule)] == found


def test_the_first_problem_of_a_place_is_told_and_a_warning_gives_way() -> None:
    rules = (
        {"longest": {"prompt": 1}, "say": "short, please", "warning": True},
        {"types": {"text": "prompt"}},
        {"required": ["prompt"]},
    )
    assert problems({"prompt": "ab"}, *rules) == [("/prompt", "short, please")]
    assert problems({"prompt": []}, *rules) == [("/prompt", "prompt must be text")]
    strict = ({"longest": {"prompt": 1}, "say": "warned", "warning": True}, {"known": {"prompt": ["x"]}})
    assert problems({"prompt": "ab"}, *strict) == [("/prompt", "prompt must be one of x")]


def test_a_warning_refuses_nothing() -> None:
    check = checker([Rule(required=("url",), say="it needs a url", warning=True)])
    assert check(Submission("job_1", "video", {})) == [Problem("/url", "it needs a url", warning=True)]


def test_so_many_items_are_checked() -> None:
    many: dict[str, Any] = {"images": [{}] * (ITEMS + 10)}
    assert len(problems(many, {"at": "/images/*", "required": ["url"]})) == ITEMS
