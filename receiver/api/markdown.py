"""A page in Markdown as HTML: the part of Markdown in which `receiving.md` is written. Pure.

Headings, paragraphs, lists of one line each, tables, fenced code, and within a line code, bold and links.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape

HEADING = re.compile(r"(#{1,4}) (.+)")
ITEM = re.compile(r"(?:-|\d+\.) (.+)")
ROW = re.compile(r"\|(.+)\|")
FENCE = re.compile(r"```(\w*)(?: \S+)?")
"""The first line of code: its language, and the name of the file that it belongs into."""
SPAN = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<bold>[^*]+)\*\*|\[(?P<text>[^\]]+)\]\((?P<url>[^)\s]+)\)")
NO_LINKS: Mapping[str, str] = {}
FOLDED = frozenset({"json"})
"""The languages of code that is folded away under the word "example"."""


def anchor(text: str) -> str:
    """Return the id of a heading, and of a call in the reference: its words in lower case, with hyphens."""
    plain = "".join(character if character.isalnum() else "-" for character in text.lower())
    return "-".join(part for part in plain.split("-") if part)


def html(text: str, links: Mapping[str, str]) -> str:
    """Return Markdown as HTML. Code that names one of `links` leads to its URL."""
    return "".join(_blocks(text.splitlines(), links))


def headings(text: str, level: int) -> list[str]:
    """Return the headings of a level, in their order."""
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    found = (HEADING.fullmatch(line) for line in outside.splitlines())
    return [match[2] for match in found if match is not None and len(match[1]) == level]


def inline(text: str, links: Mapping[str, str] = NO_LINKS) -> str:
    """Return one line as HTML."""
    parts, end = [], 0
    for span in SPAN.finditer(text):
        parts += [escape(text[end : span.start()], quote=False), _span(span, links)]
        end = span.end()
    return "".join([*parts, escape(text[end:], quote=False)])


def _span(span: re.Match[str], links: Mapping[str, str]) -> str:
    if span["code"]:
        code = f"<code>{escape(span['code'], quote=False)}</code>"
        # `GET /v1/events?after=` is the call `GET /v1/events`.
        url = links.get(span["code"].partition("?")[0])
        return f'<a href="{escape(url)}">{code}</a>' if url else code
    if span["bold"]:
        return f"<b>{inline(span['bold'], links)}</b>"
    return f'<a href="{escape(span["url"])}">{inline(span["text"])}</a>'


def _blocks(lines: Sequence[str], links: Mapping[str, str]) -> Iterator[str]:
    place = 0
    while place < len(lines):
        line = lines[place]
        end = place + 1
        if fence := FENCE.fullmatch(line):
            end = lines.index("```", end) + 1
            yield _code("\n".join(lines[place + 1 : end - 1]), fence[1])
        elif heading := HEADING.fullmatch(line):
            level = len(heading[1])
            yield f'<h{level} id="{anchor(heading[2])}">{inline(heading[2], links)}</h{level}>'
        elif line:
            end = _end_of_block(lines, place)
            yield _block(lines[place:end], links)
        place = end


def _end_of_block(lines: Sequence[str], place: int) -> int:
    """Return the place behind the lines that belong together: up to an empty line, a heading or a fence."""
    while place < len(lines) and lines[place] and not HEADING.fullmatch(lines[place]):
        if FENCE.fullmatch(lines[place]):
            break
        place += 1
    return place


def _block(lines: Sequence[str], links: Mapping[str, str]) -> str:
    if all(ROW.fullmatch(line) for line in lines):
        return _table(lines, links)
    if ITEM.fullmatch(lines[0]):
        kind = "ul" if lines[0].startswith("-") else "ol"
        items = (f"<li>{inline(item, links)}</li>" for item in _items(lines))
        return f"<{kind}>{''.join(items)}</{kind}>"
    return f"<p>{inline(' '.join(lines), links)}</p>"


def _items(lines: Sequence[str]) -> Iterator[str]:
    """Yield the items of a list. A line that begins none goes on with the one before it."""
    item = ""
    for line in lines:
        begins = ITEM.fullmatch(line)
        if begins and item:
            yield item
        item = begins[1] if begins else f"{item} {line.strip()}"
    yield item


def _table(lines: Sequence[str], links: Mapping[str, str]) -> str:
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    parts = [_row("th", head, links), *(_row("td", row, links) for row in rows)]
    return f"<table>{''.join(parts)}</table>"


def _row(tag: str, cells: Sequence[str], links: Mapping[str, str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{inline(cell, links)}</{tag}>' for cell in cells)}</tr>"


def _code(text: str, language: str) -> str:
    code = f"<pre><code>{escape(text, quote=False)}</code></pre>"
    return f"<details><summary>example</summary>{code}</details>" if language in FOLDED else code
