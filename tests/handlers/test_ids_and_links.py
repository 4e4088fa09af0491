"""Requirements for every provider's ids and links before a job may carry them: ids name, links lead."""

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from handlers.contract import Asset, Handler, HttpMessage
from handlers.errors import BadPayload, Garbled, Rejected
from tests.handlers.captures import HANDLERS, Capture, captures, exchanges, proved

NO_IDS: tuple[Any, ...] = ("", "\x00", "\x1f\x00", None, True, False, [], {}, ["id"], {"id": "x"})
DIRTY_LINKS = (
    "https://cdn.example/a\x00b",
    "https://cdn.example/\x1b[2J",
    "https://cdn.ä.example/a",
    "https://x/" + "y" * 9000,
)
NO_LINKS: tuple[Any, ...] = (
    None,
    7,
    True,
    [],
    {},
    "",
    "/a.mp4",
    "//cdn.example/a.mp4",
    "ftp://cdn.example/a",
    "javascript:alert(1)",
)

named = pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS.keys())


def exchanged(value: Any, old: object, new: object) -> Any:
    """Return `value` with every value in it that equals `old` replaced, also in a text that is JSON."""
    if value == old:
        return new
    if isinstance(value, dict):
        return {name: exchanged(inner, old, new) for name, inner in value.items()}
    if isinstance(value, list):
        return [exchanged(inner, old, new) for inner in value]
    if isinstance(value, str) and value[:1] == "{" and json.dumps(old) in value:
        return json.dumps(exchanged(json.loads(value), old, new))
    return value


def retold(capture: Capture, old: object, new: object) -> HttpMessage:
    """Return the message of a capture with every value that equals `old` replaced, in its headers too."""
    body = exchanged(json.loads(capture.message.body or b"{}"), old, new)
    heads = [(name, new if value == old else value) for name, value in capture.message.headers]
    kept = tuple((name, value) for name, value in heads if isinstance(value, str))
    return replace(capture.message, headers=kept, body=json.dumps(body).encode())


def accepting(name: str) -> list[tuple[Capture, str]]:
    """Return the responses that accept a job, each with the id that it gives.

    A response with a finished job is left out: it may come without an id.
    """
    found = [
        capture
        for capture in captures(name, "submit")
        if "update" in capture.outcomes and "succeeded" not in capture.outcomes
    ]
    return [(capture, capture.expected["update"]["provider_job_id"]) for capture in found]


@named
def test_an_accepted_job_has_an_id(handler: Handler) -> None:
    assert accepting(handler.name)
    for capture, identity in accepting(handler.name):
        for nothing in NO_IDS:
            with pytest.raises((Garbled, Rejected)):
                handler.submit.parse(retold(capture, identity, nothing))


@named
def test_an_id_is_told_as_it_is(handler: Handler) -> None:
    for capture, identity in accepting(handler.name):
        for other in ("a", "0", "../x", "a b", "ä灯", "x" * 500):
            told = handler.submit.parse(retold(capture, identity, other))
            assert told.provider_job_id == other
        told = handler.submit.parse(retold(capture, identity, 2**63))
        assert told.provider_job_id == str(2**63)


def linked(name: str) -> list[tuple[Capture, str]]:
    """Return the captures that result in links of assets, once with each link."""
    found = [*captures(name, "submit", "poll", "result", "resolve"), *proved(name)]
    return [
        (capture, asset["url"])
        for capture in found
        for asset in [
            *capture.expected.get("update", {}).get("assets", []),
            capture.expected.get("asset", {}),
        ]
        if "url" in asset
    ]


def links(name: str, capture: Capture, message: HttpMessage) -> list[str | None]:
    """Return the links of the assets that are read from a message; none where it is refused."""
    handler = HANDLERS[name]
    parses = {door: exchange.parse for door, exchange in exchanges(handler).items()}
    if handler.callback is not None:
        parses["callback"] = handler.callback.parse
    try:
        told = parses[capture.door](message)
    except (Garbled, BadPayload):
        return []
    return [told.url] if isinstance(told, Asset) else [asset.url for asset in told.assets]


def leads(name: str, wrong: object) -> bool:
    """Return whether `wrong` becomes the link of an asset anywhere."""
    return any(
        wrong in links(name, capture, retold(capture, right, wrong)) for capture, right in linked(name)
    )


@named
def test_what_is_no_link_leads_nowhere(handler: Handler) -> None:
    for wrong, (capture, right) in itertools.product(NO_LINKS, linked(handler.name)):
        found = links(handler.name, capture, retold(capture, right, wrong))
        assert right not in found
        assert all(link is None or link.startswith("https://") for link in found)


@pytest.mark.parametrize("wrong", DIRTY_LINKS, ids=lambda wrong: ascii(wrong[:24]))
@named
def test_a_dirty_link_leads_nowhere(handler: Handler, wrong: str) -> None:
    assert not leads(handler.name, wrong)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("https://cdn.example/ä.mp4", "https://cdn.example/%C3%A4.mp4"),
        (" HTTPS://cdn.example/a b.mp4\n", "https://cdn.example/a%20b.mp4"),
    ],
)
@named
def test_a_link_that_browsers_follow_is_mended(handler: Handler, sent: str, read: str) -> None:
    for capture, right in linked(handler.name):
        # A source is the handler's own value, which is kept as it was sent.
        found = links(handler.name, capture, retold(capture, right, sent))
        assert right not in found
        assert read in found


@named
def test_a_clean_link_leads_on(handler: Handler) -> None:
    assert leads(handler.name, "https://cdn.example/x?y=%20z&w=1#f") == bool(linked(handler.name))
