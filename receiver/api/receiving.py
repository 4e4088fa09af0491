"""The page "Receiving events" as Markdown: the text of `receiving.md`, with the figures of a deployment."""

import functools
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from handlers.values import immutable
from receiver.api.event_examples import EXAMPLES, JOB_ERRORS, MEANINGS
from receiver.api.requests import RotationRequest
from receiver.config.settings import Settings
from receiver.domain.endpoint_health import ANNOUNCED_AT, OPENS_AFTER
from receiver.domain.event_types import JOB_FINAL, LITERAL_ONLY, SOURCE_TYPE, of_source
from receiver.domain.retry_policy import HINT_CEILING, SLOW_DOWN

PLACE = re.compile(r"\{\{(\w+)\}\}")
UNITS = ((86400, 2, "day"), (3600, 1, "hour"), (60, 1, "minute"))
"""The units of a time in words: the seconds of one, the fewest that are told in it, its name."""
WIDTH = 130
"""Characters of a line of the text."""
TITLE = "Receiving events"


@immutable
class EventText:
    """The description of an event type: when it is sent, whether patterns include it, and an example."""

    name: str
    meaning: str
    starred: bool
    example: Mapping[str, object]


def event_texts(settings: Settings) -> Iterator[EventText]:
    """Yield the description of each event type that a deployment sends, for each of its sources as well."""
    for name, meaning in MEANINGS.items():
        if name != SOURCE_TYPE or not settings.sources:
            yield EventText(name, meaning, name not in LITERAL_ONLY, EXAMPLES[name])
            continue
        for source in settings.source_names:
            example = EXAMPLES[name] | {
                "type": of_source(source),
                "data": EXAMPLES[name]["data"] | {"source": source},
            }
            yield EventText(of_source(source), meaning, True, example)


def in_words(seconds: float) -> str:
    """Return a time in the largest unit of which it is a whole number, such as `5 minutes`."""
    for size, fewest, unit in UNITS:
        if seconds >= fewest * size and seconds % size == 0:
            return _counted(seconds / size, unit)
    return _counted(seconds, "second")


def listed(words: Sequence[str], last: str = "and") -> str:
    """Return words with commas, and `last` before the last of them."""
    *first, end = words
    return f"{', '.join(first)} {last} {end}" if first else end


def receiving(settings: Settings) -> str:
    """Return the page in Markdown, with the figures of these settings."""
    return _folded(PLACE.sub(lambda place: FIGURES[place[1]](settings), _text()))


def _folded(text: str) -> str:
    """Return a text with its long lines broken, but for those of tables and of code."""
    lines, code = [], False
    for line in text.splitlines():
        code ^= line.startswith("```")
        short = code or line.startswith("|") or len(line) <= WIDTH
        lines += [line] if short else textwrap.wrap(line, WIDTH, break_on_hyphens=False)
    return "\n".join([*lines, ""])


@functools.cache
def _text() -> str:
    return Path(__file__).with_name("receiving.md").read_text("utf-8")


def _counted(number: float, noun: str) -> str:
    number = int(number) if number == int(number) else number
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _types(settings: Settings) -> str:
    rows = (
        f"| `{one.name}` | {one.meaning} | {'yes' if one.starred else 'no'} |"
        for one in event_texts(settings)
    )
    return "\n".join(["| type | when | `*` includes it |", "|---|---|---|", *rows])


def _examples(settings: Settings) -> str:
    parts = []
    for one in event_texts(settings):
        only = "" if one.starred else " It goes only to endpoints that name it in full."
        example = json.dumps(one.example, indent=2, ensure_ascii=False)
        parts.append(f"### {one.name}\n\n{one.meaning}{only}\n\n```json\n{example}\n```")
    return "\n\n".join(parts)


def _errors(_settings: Settings) -> str:
    rows = (f"| `{code.value}` | {meaning} |" for code, meaning in JOB_ERRORS.items())
    return "\n".join(["| code | meaning |", "|---|---|", *rows])


def _retries(settings: Settings) -> str:
    pauses = [in_words(pause) for pause in settings.retry_schedule]
    if not pauses:
        return "A failed delivery is not tried again: it is `exhausted` at once."
    attempts = _counted(len(pauses) + 1, "attempt")
    return (
        f"A failed delivery is tried again after {listed(pauses)}, each counted from the attempt before, a "
        f"little later at random and never earlier. After {attempts} it is `exhausted`."
    )


def _giving_up(settings: Settings) -> str:
    end = settings.endpoint_disable_after
    if not end:
        return "It is never disabled for that."
    return (
        f"It is disabled after {in_words(end)} of nothing but failure; `endpoint.failing` tells your other "
        f"endpoints after {in_words(end * ANNOUNCED_AT)}."
    )


FIGURES: Mapping[str, Callable[[Settings], str]] = {
    "types": _types,
    "examples": _examples,
    "errors": _errors,
    "retries": _retries,
    "giving_up": _giving_up,
    "final": lambda _: listed([f"`{name}`" for name in JOB_FINAL]),
    "literal": lambda _: listed([f"`{name}`" for name in sorted(LITERAL_ONLY)]),
    "slow_down": lambda _: ", ".join(str(status) for status in sorted(SLOW_DOWN)),
    "longest_hint": lambda _: in_words(HINT_CEILING.total_seconds()),
    "timeout": lambda settings: in_words(settings.delivery_timeout),
    "link_days": lambda settings: in_words(settings.asset_link_days * 86400),
    "retention": lambda settings: in_words(settings.retention_days * 86400),
    "retention_seconds": lambda settings: f"{settings.retention_days * 86400:.0f}",
    "overlap": lambda _: in_words(RotationRequest.model_fields["overlap_seconds"].default),
    "failures": lambda _: str(OPENS_AFTER),
}
"""The figures of the page, by the names of their places in its text."""
