"""JSON pointers: the values they find, texts that are no pointer, and fields given twice."""

from typing import Any

import pytest

from handlers import fields, json
from handlers.pointers import STEPS, Ambiguous, BadPointer, every, first, put, steps

BODY: dict[str, Any] = {
    "id": 7,
    "a/b": "slash",
    "m~n": "tilde",
    "": "empty",
    "data": {"task": {"id": "t1"}, "none": None, "list": [{"url": "u1"}, {"url": "u2"}, "x", {}]},
    "text": '{"urls": ["v1", "v2"]}',
    "broken": "{",
    "plain": "word",
    "0": "zero",
}


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("", [BODY]),
        ("/id", [7]),
        ("/a~1b", ["slash"]),
        ("/m~0n", ["tilde"]),
        ("/", ["empty"]),
        ("/0", ["zero"]),
        ("/data/task/id", ["t1"]),
        ("/data/none", []),
        ("/data/nothing/id", []),
        ("/data/list/*/url", ["u1", "u2"]),
        ("/data/list/1/url", ["u2"]),
        ("/data/list/9/url", []),
        ("/data/task/*", [{"id": "t1"}]),
        ("/plain/*", ["word"]),
        ("/text/json:/urls/*", ["v1", "v2"]),
        ("/broken/json:/urls", []),
        ("/plain/json:/urls", []),
        ("/data/json:/task/id", ["t1"]),
        ("/id/json:/x", []),
    ],
)
def test_a_pointer_finds_every_value_at_its_place(pointer: str, found: list[Any]) -> None:
    assert list(every(pointer)(BODY)) == found


@pytest.mark.parametrize("body", [None, 7, "text", [], [1], {}])
@pytest.mark.parametrize("pointer", ["/id", "/data/task", "/data/*/x", "/x/json:/y", "/0"])
def test_a_pointer_that_leads_nowhere_finds_nothing(pointer: str, body: Any) -> None:
    assert list(every(pointer)(body)) in ([], [1])


@pytest.mark.parametrize(
    ("pointer", "said"),
    [
        ("id", "begin it with /"),
        ("data/id", "begin it with /"),
        ("$.data", "begin it with /"),
        ("/a~b", "~ is written ~0"),
        ("/a~2", "~ is written ~0"),
        ("/x/json:/y/json:/z", "`json:` may stand once"),
        ("/a" * (STEPS + 1), f"more than {STEPS} steps"),
    ],
)
def test_a_text_that_is_no_pointer_is_refused_with_the_fix(pointer: str, said: str) -> None:
    with pytest.raises(BadPointer, match=said.replace("~", "~")):
        steps(pointer)


def test_the_first_value_that_is_read_counts() -> None:
    find = first(("/data/none", "/id", "/plain"), fields.identity)
    assert find(BODY) == "7"
    assert first(("/nothing",), fields.identity)(BODY) is None
    assert first(("/empty", "/code"), fields.code)({"empty": "", "code": "x"}) == "x"
    assert first(("/empty", "/code"), fields.code, blank=True)({"empty": "", "code": "x"}) == ""


@pytest.mark.parametrize("pointer", ["/id", "/data/id", "/list/*/id", "/data/task/id"])
def test_a_field_that_was_given_twice_is_ambiguous_where_it_is_read(pointer: str) -> None:
    told = '{"id": 1, "id": 2}'
    body = json.forgive(
        f'{{"id": 1, "id": 2, "data": {{"id": 1, "id": 2, "task": {told}}}, "list": [{told}]}}'.encode()
    )
    with pytest.raises(Ambiguous):
        list(every(pointer)(body))
    same = json.forgive(b'{"id": 1, "id": 1, "other": 1, "other": 2}')
    assert list(every("/id")(same)) == [1]


def test_a_text_of_json_is_read_within_the_limits_of_any_body() -> None:
    deep = {"text": "[" * 100 + "]" * 100}
    wide = {"text": "[" + "1," * 200_000 + "1]"}
    assert list(every("/text/json:")(deep)) == []
    assert list(every("/text/json:/*")(wide)) == []


def test_a_value_is_put_without_changing_the_objects_on_the_way() -> None:
    inner = {"kept": 1}
    body: dict[str, Any] = {"config": inner}
    put(body, ["config", "webhook", "url"], "u")
    assert body == {"config": {"kept": 1, "webhook": {"url": "u"}}}
    assert inner == {"kept": 1}
    put(body, ["config"], 5)
    put(body, ["config", "x"], 6)
    assert body == {"config": {"x": 6}}
