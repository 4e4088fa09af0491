"""Markdown as HTML, by markdown-it: anchors at headings, links at the calls that code names, folded examples.

HTML within the Markdown is text.
"""

import functools
import itertools
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token

FOLDED = frozenset({"json"})
"""The languages of code that is folded away under the word "example"."""


def anchor(text: str) -> str:
    """Return the id of a heading, and of a call in the reference: its words in lower case, with hyphens."""
    plain = "".join(character if character.isalnum() else "-" for character in text.lower())
    return "-".join(part for part in plain.split("-") if part)


def html(text: str, links: Mapping[str, str]) -> str:
    """Return Markdown as HTML. Code that names one of `links` leads to its URL."""
    return _html(text, tuple(links.items()))


@functools.lru_cache(maxsize=4)
def headings(text: str, level: int) -> tuple[str, ...]:
    """Return the headings of a level, in their order, as Markdown."""
    tokens = _markdown().parse(text)
    return tuple(
        inside.content
        for opening, inside in itertools.pairwise(tokens)
        if opening.type == "heading_open" and opening.tag == f"h{level}"
    )


@functools.lru_cache(maxsize=512)
def inline(text: str) -> str:
    """Return one line as HTML."""
    made: str = _markdown().renderInline(text, {"links": {}})
    return made


# A page takes ten milliseconds in which the process does nothing else, and a deployment has one text.
@functools.lru_cache(maxsize=4)
def _html(text: str, links: tuple[tuple[str, str], ...]) -> str:
    made: str = _markdown().render(text, {"links": dict(links)})
    return made


@functools.cache
def _markdown() -> "MarkdownIt":
    from markdown_it import MarkdownIt  # noqa: PLC0415  # it takes long, and most services show no page

    made = MarkdownIt("commonmark", {"html": False}).enable("table")
    for kind, rule in RULES.items():
        made.add_render_rule(kind, rule)
    return made


def _heading(renderer: "RendererHTML", tokens: "Sequence[Token]", place: int, options: Any, env: Any) -> str:
    tokens[place].attrSet("id", anchor(tokens[place + 1].content))
    return renderer.renderToken(tokens, place, options, env)


def _code(renderer: "RendererHTML", tokens: "Sequence[Token]", place: int, options: Any, env: Any) -> str:
    code = renderer.code_inline(tokens, place, options, env)
    # `GET /v1/events?after=` is the call `GET /v1/events`.
    url = env["links"].get(tokens[place].content.partition("?")[0])
    return f'<a href="{escape(url)}">{code}</a>' if url else code


def _fence(renderer: "RendererHTML", tokens: "Sequence[Token]", place: int, options: Any, env: Any) -> str:
    code = renderer.fence(tokens, place, options, env)
    language = tokens[place].info.partition(" ")[0]
    return f"<details><summary>example</summary>{code}</details>" if language in FOLDED else code


RULES = {"heading_open": _heading, "code_inline": _code, "fence": _fence}
"""The kinds of tokens that are not shown as markdown-it does it."""
