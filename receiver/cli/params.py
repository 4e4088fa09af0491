"""Arguments and options that several commands share."""

import difflib
import json
import math
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from receiver.domain.errors import no_file
from receiver.domain.event_types import SHOWN, is_pattern, nearest_type

# Written out here: importing the model would import the providers' contract, which makes commands that only
# call a service slower to start.
STATES = (
    "pending",
    "submitting",
    "unconfirmed",
    "queued",
    "running",
    "succeeded",
    "failed",
    "canceled",
    "expired",
)
DELIVERY_STATES = ("pending", "delivered", "exhausted", "canceled")
SCOPES = (
    "jobs:read",
    "jobs:write",
    "events:read",
    "endpoints:read",
    "endpoints:write",
    "metrics:read",
    "admin",
)
FORMATS = ("standard", "cloudevents", "cloudevents-binary", "slack", "discord", "teams", "template")
START = "0"
"""The place of the start of the feed."""
FIRST = 2000
"""The year before which no event was: an earlier time is the start of the feed."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
AGO = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
"""A time before now, such as `10m`."""
LARGEST_INPUT = 32 * 1024 * 1024
"""The most bytes of a job's request body, the same as in the API."""
CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False, readable=False),
    help="The TOML file; default ./ringback.toml.",
)
"""The option of every command that reads the settings."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known word, empty when none is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


class NearestChoice(click.Choice[str]):
    """A choice of words. The error for a typo names the nearest word."""

    def get_invalid_choice_message(
        self,
        value: Any,
        ctx: click.Context | None,  # noqa: ARG002  # click's
    ) -> str:
        """Return an error message with all words, and the nearest one."""
        return f"{value!r} is none of {', '.join(self.choices)}{nearest(str(value), self.choices)}"


class Pattern(click.ParamType[str]):
    """An event type, or a pattern of event types."""

    name = "type"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the pattern. Raises `click.BadParameter` when it matches no event type."""
        text = str(value)
        if not is_pattern(text):
            near = nearest_type(text)
            self.fail(
                f"{text!r} is no event type{f'; did you mean {near}?' if near else ''} "
                f"(types: {', '.join(SHOWN)}; patterns: *, job.*)",
                param,
                ctx,
            )
        return text


class Whole(click.IntRange):
    """A whole number within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number. Raises `click.BadParameter` with the bounds."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            raise _outside("a whole number", self.min, self.max, value, param) from None


class Real(click.FloatRange):
    """A number within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number. Raises `click.BadParameter` with the bounds."""
        try:
            found = super().convert(value, param, ctx)
        except click.BadParameter:
            found = math.nan
        # A comparison with NaN, and so each bound, holds.
        if not math.isfinite(found):
            raise _outside("a number", self.min, self.max, value, param)
        return found


def _outside(
    kind: str, least: float | None, most: float | None, value: Any, param: click.Parameter | None
) -> click.BadParameter:
    bounds = f" from {least:g}" if least is not None else ""
    bounds += f" to {most:.0f}" if most is not None else ""
    return click.BadParameter(f"{value!r} must be {kind}{bounds}", param=param)


cursor = click.option("--cursor", help="Go on where the last list ended.")
limit = click.option("--limit", type=Whole(1, 200), default=20, show_default=True, help="Rows of the list.")


class Id(click.ParamType[str]):
    """An id, in the form that lists print."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the id. Raises `click.BadParameter` when it cannot be one."""
        text = str(value)
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", text, re.ASCII):
            self.fail(f"{text!r} is no id; lists show them", param, ctx)
        return text


class Since(click.ParamType[str]):
    """A moment in the past: a time before now, such as 10m, or RFC 3339, or the start of the feed."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the place in the feed, as the API takes it. Raises `click.BadParameter`."""
        text = str(value).strip()
        if text == "start":
            return START
        try:
            if found := AGO.fullmatch(text):
                ago = timedelta(seconds=int(found[1]) * UNITS[found[2]])
                return (datetime.now(UTC) - ago).isoformat()
            # Without an offset it is the time of this machine, as people write it.
            at = datetime.fromisoformat(text).astimezone()
            return at.isoformat() if at.year >= FIRST else START
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is no time; write 10m, 2h, 3d, 2026-11-21T10:00:00Z or start", param, ctx)


def read_input(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Any:
    """Return the JSON object in `text`, in the file of `@file`, or on standard input for `-`.

    Raises `click.BadParameter` when it cannot be read, is too large or is no JSON object.
    """
    if text is None:
        return None
    # One byte more than allowed is enough to see that an input is too large.
    if text == "-":
        return _object(_decoded(sys.stdin.buffer.read(LARGEST_INPUT + 1), "standard input"), "standard input")
    if text.startswith("@"):
        try:
            with Path(text[1:]).open("rb") as file:
                raw = file.read(LARGEST_INPUT + 1)
        except OSError as error:
            raise click.BadParameter(f"cannot read {text[1:]}: {no_file(error)}") from None
        return _object(_decoded(raw, text[1:]), text[1:])
    return _object(text, "it")


def _decoded(raw: bytes, named: str) -> str:
    if len(raw) > LARGEST_INPUT:
        raise click.BadParameter(f"{named} holds more than 32 MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise click.BadParameter(f"{named} is not UTF-8") from None


def _object(text: str, named: str) -> dict[str, Any]:
    # The API refuses duplicate keys and NaN; here the error names the file.
    try:
        value = json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        place = f"{error.msg}, line {error.lineno} column {error.colno}"
        raise click.BadParameter(
            f"{named} is not valid JSON ({place}); write an object, @file, or - for standard input"
        ) from None
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{named} is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise click.BadParameter(f"{named} must be a JSON object")
    return value


def _without_doubles(found: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(found)
    if len(value) != len(found):
        raise ValueError("a key is there twice")
    return value


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def pairs(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Return a dict of several `key=value`. Raises `click.BadParameter` when one has no `=`."""
    if any("=" not in text for text in texts):
        raise click.BadParameter("write key=value")
    return dict(text.split("=", 1) for text in texts)


def numbers(_context: click.Context, _parameter: click.Parameter, text: str | None) -> list[float] | None:
    """Return the numbers of a text with commas between them. Raises `click.BadParameter` for any other."""
    if text is None:
        return None
    try:
        found = [float(one) for one in text.split(",")]
    except ValueError:
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise click.BadParameter(f"{text!r} must be numbers with commas between them")
    return found


def once(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> str | None:
    """Return the one value of an option. Raises `click.BadParameter` for several; click takes the last."""
    if len(values) > 1:
        raise click.BadParameter(
            "give it once; a pattern such as job.* stands for several", context, parameter
        )
    return values[0] if values else None


TYPE = click.option(
    "--type",
    "type",
    type=Pattern(),
    multiple=True,
    callback=once,
    help="An event type, or a pattern such as job.*.",
)
"""The option of commands that read the feed."""


def given(**parameters: Any) -> dict[str, Any]:
    """Return the parameters without those that are None or empty."""
    return {name: value for name, value in parameters.items() if value not in (None, (), [], {}, "")}
