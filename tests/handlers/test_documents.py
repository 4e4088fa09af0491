"""The documents that are made from the descriptions: tables of providers and settings, reference, schema."""

import json
import os
import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no types

from handlers import ALL, DESCRIBED
from handlers.description import summary
from handlers.description.reference import reference, schema
from tests.handlers.captures import HANDLERS

HERE = Path(__file__).parents[2]
PROVIDERS = summary.table(summary.COLUMNS, [summary.row(ALL[name], one) for name, one in HANDLERS.items()])
SETTINGS = summary.table(
    summary.SETTING_COLUMNS, [row for provider in ALL.values() for row in summary.settings(provider)]
)
MADE = {
    ("README.md", "providers"): PROVIDERS,
    ("handlers/README.md", "settings"): SETTINGS,
    ("handlers/described/README.md", "reference"): reference(),
}
"""The parts of documents that are made, by document and name."""
LINES = 35
"""The most lines of a description in the middle of all."""


def part(text: str, name: str) -> re.Match[str]:
    """Return the part of a document between the two comments of a name."""
    found = re.search(rf"<!-- {name} -->\n\n(.*?)\n<!-- end of {name} -->", text, re.DOTALL)
    assert found is not None, name
    return found


@pytest.mark.parametrize(("document", "name"), MADE)
def test_a_part_of_a_document_is_made_from_the_descriptions(document: str, name: str) -> None:
    path, made = HERE / document, MADE[document, name]
    text = path.read_text("utf-8")
    if os.environ.get("RINGBACK_WRITE_GOLDEN"):
        start, end = part(text, name).span(1)
        path.write_text(text := f"{text[:start]}{made}{text[end:]}", "utf-8")
    assert part(text, name)[1] == made, "RINGBACK_WRITE_GOLDEN=1 writes it"


def _as_json(value: Any) -> Any:
    """Return a value of TOML as editors hold it against a schema: dates as texts."""
    if isinstance(value, dict):
        return {name: _as_json(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_as_json(inner) for inner in value]
    return value.isoformat() if isinstance(value, date) else value


@pytest.mark.parametrize("path", sorted(DESCRIBED.glob("*.toml")), ids=lambda path: path.stem)
def test_the_schema_takes_every_shipped_description(path: Path) -> None:
    checked = Draft202012Validator(schema())
    told = _as_json(tomllib.loads(path.read_text("utf-8")))
    assert [error.message for error in checked.iter_errors(told)] == []
    assert list(checked.iter_errors(told | {"submitt": {}}))
    assert list(checked.iter_errors({"name": "acme"}))


def test_the_schema_is_that_of_the_vocabulary() -> None:
    path = DESCRIBED / "schema.json"
    made = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("RINGBACK_WRITE_GOLDEN"):
        path.write_text(made, "utf-8")
    assert path.read_text("utf-8") == made, "RINGBACK_WRITE_GOLDEN=1 writes it"


def test_a_description_is_short() -> None:
    lines = sorted(len(path.read_text("utf-8").splitlines()) for path in DESCRIBED.glob("*.toml"))
    assert lines[len(lines) // 2] <= LINES
    assert len(lines) >= 36
