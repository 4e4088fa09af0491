"""The loader of descriptions: a TOML file, the one it extends, and errors that name file, line and fix."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from handlers import DESCRIBED
from handlers.description.lines import line_of
from handlers.description.texts import FORMS
from handlers.description.vocabulary import Description
from handlers.values import immutable

LARGEST = 64 * 1024
"""The most bytes of a description: the longest one that is shipped has a tenth."""
DEEPEST = 4
"""The most descriptions that extend each other."""
PROBLEMS = 8
"""The most mistakes that one error names."""


class BadDescription(ValueError):
    """An error for a description that cannot be used: a sentence for each mistake, with its line and fix."""

    def __init__(self, *lines: str) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


@immutable
class LoadedDescription:
    """A description: the tables that it is made of, and the checked form of them."""

    tables: Mapping[str, Any]
    told: Description


@immutable
class _File:
    """A file of a description: its own tables, without those that it extends."""

    path: Path
    text: str
    own: Mapping[str, Any]


def load(path: Path) -> LoadedDescription:
    """Return the description in a file. Raises `BadDescription` with all of its mistakes."""
    tables, files = _tables(path, ())
    try:
        return LoadedDescription(tables, Description.model_validate(tables))
    except ValidationError as error:
        found = [
            f"{_origin(files, _place(one))}: {complaint(one, Description)}"
            for one in error.errors(include_url=False, include_input=False)
        ]
        raise BadDescription(*dict.fromkeys(found[:PROBLEMS])) from None


def _origin(files: Sequence[_File], place: Sequence[str | int]) -> str:
    """Return the file and the line in which a value stands, or the nearest table around it."""
    for length in range(len(place), 0, -1):
        for file in files:
            if _has(file.own, place[:length]):
                return f"{file.path}:{line_of(file.text, place)}"
    return f"{files[0].path}:1"


def _has(node: Any, place: Sequence[str | int]) -> bool:
    """Return whether a value stands in these tables; a list is taken over as a whole."""
    for step in place:
        if isinstance(node, list):
            return True
        if not isinstance(node, dict) or step not in node:
            return False
        node = node[step]
    return True


def shipped() -> list[str]:
    """Return the names of the shipped descriptions, sorted."""
    return sorted(path.stem for path in DESCRIBED.glob("*.toml"))


def _tables(path: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], list[_File]]:
    """Return the tables of a file over those that it extends, and these files, itself first."""
    try:
        place = path.resolve()
    except (OSError, RuntimeError):
        raise BadDescription(f"{path}: is a link that leads back to itself") from None
    if place in seen:
        raise BadDescription(
            f"{path}: extends itself: {' extends '.join(one.name for one in (*seen, place))}"
        )
    if len(seen) == DEEPEST:
        raise BadDescription(f"{path}: more than {DEEPEST} descriptions extend each other")
    text = _text(path)
    try:
        own = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadDescription(f"{path}: is not valid TOML (texts stand in quotes): {error}") from None
    except RecursionError:
        raise BadDescription(f"{path}: is nested too deeply") from None
    file = _File(path, text, own)
    base = own.get("extends")
    if base is None:
        return own, [file]
    if not isinstance(base, str) or (not base.endswith(".toml") and base not in shipped()):
        line = line_of(text, ("extends",))
        raise BadDescription(
            f"{path}:{line}: extends: must be a shipped description ({', '.join(shipped())}) or a file .toml"
        )
    other = path.parent / base if base.endswith(".toml") else DESCRIBED / f"{base}.toml"
    outer, files = _tables(other, (*seen, place))
    dropped = _dropped(file, outer)
    # A mistake about a table that was left out is none of the file that has it.
    files = [replace(one, own=_left(one.own, dropped)) for one in files]
    return merged(_left(outer, dropped), own), [file, *files]


def _dropped(file: _File, outer: Mapping[str, Any]) -> Sequence[str]:
    """Return the tables that a file leaves out of the one that it extends. Raises `BadDescription`."""
    dropped: Any = file.own.get("without", [])
    place = f"{file.path}:{line_of(file.text, ('without',))}: without"
    if not isinstance(dropped, list):
        raise BadDescription(f"{place}: must be a list of tables")
    for name in dropped:
        if name not in outer:
            raise BadDescription(
                f"{place}: there is no table {name!r} to leave out; known: {', '.join(outer)}"
            )
    found: Sequence[str] = dropped
    return found


def _left(tables: Mapping[str, Any], dropped: Sequence[str]) -> Mapping[str, Any]:
    return {name: one for name, one in tables.items() if name not in dropped}


def _text(path: Path) -> str:
    try:
        # A pipe would be waited for without an end.
        if path.exists() and not path.is_file():
            raise BadDescription(f"{path}: is no file")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise BadDescription(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > LARGEST:
        raise BadDescription(f"{path}: has more than {LARGEST // 1024} KiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadDescription(f"{path}: is not UTF-8; save it as UTF-8") from None


def merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `own` over it: tables are merged, anything else is replaced."""
    found = dict(base)
    for name, value in own.items():
        old = found.get(name)
        found[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found


def complaint(found: ErrorDetails, model: type[BaseModel]) -> str:
    """Return an error of pydantic as a sentence: the place in the description, and the fix."""
    place = [str(one) for one in found["loc"] if "[" not in str(one)]
    where = ".".join(place)
    if found["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], list(_known(model, place[:-1])), 1)
        return f"{where}: unknown key" + (f"; did you mean {near[0]}?" if near else "")
    if found["type"] == "missing":
        return f"{where}: is needed"
    form = FORMS.get(found.get("ctx", {}).get("pattern", ""))
    if form is not None:
        return f"{where}: must be {form}"
    message = found["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{where}: {message}" if where else message


def _place(found: ErrorDetails) -> Sequence[str | int]:
    """Return the place of a mistake; a contradiction names its own at the beginning."""
    own = found["msg"].removeprefix("Value error, ").partition(":")[0]
    return found["loc"] or own.split(".")


def _known(model: type[BaseModel], place: Sequence[str]) -> Iterator[str]:
    """Yield the keys of the table at a place of a description."""
    current: type[BaseModel] | None = model
    for step in place:
        if current is not None and step in current.model_fields:
            current = next(_models(current.model_fields[step].annotation), None)
    if current is not None:
        yield from current.model_fields


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
