"""The reference of the vocabulary, made from its models: a Markdown text, and a JSON Schema for editors."""

import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticUndefined, core_schema

from handlers.contract import Kind
from handlers.description import texts
from handlers.description.callbacks import CallbackTable, ProofScheme, ProofTable
from handlers.description.calls import Call, Kept, Resolve, Submit
from handlers.description.summary import table
from handlers.description.terms import Consequence, Fact, Fields, Meaning
from handlers.description.vocabulary import (
    CadenceTable,
    Confidence,
    Description,
    FailureTable,
    Files,
    Judgement,
    Operations,
    Rule,
    Setting,
)

TABLES: Sequence[tuple[str, type[BaseModel]]] = (
    ("the description", Description),
    ("`fields`", Fields),
    ("`ok`", Judgement),
    ("`submit`", Submit),
    ("`submit.kept`", Kept),
    ("`poll`, `result`, `cancel`", Call),
    ("`resolve`", Resolve),
    ("`callback`", CallbackTable),
    ("`callback.proof`", ProofTable),
    ("`files`", Files),
    ("`failure`", FailureTable),
    ("`operations`", Operations),
    ("`rules`", Rule),
    ("`settings`", Setting),
    ("`cadence`", CadenceTable),
)
"""The tables of a description, in the order of the reference, by the place where they stand."""
FORMS: Sequence[tuple[Any, str]] = (
    (texts.Pointers, "pointers"),
    (texts.Pointer, "pointer"),
    (texts.Path, "path"),
    (texts.Place, "place"),
    (texts.Span, "span"),
    (texts.Header, "header"),
    (texts.SentHeader, "header"),
    (texts.NestedField, "field"),
    (texts.Origin, "origin"),
    (texts.Word, "word"),
    (Meaning, "meaning"),
    (Consequence, "consequence"),
    (Fact, "fact"),
    (Confidence, "confidence"),
    (Kind, "kind of file"),
    (ProofScheme, "scheme"),
)
"""The kinds of texts by name."""
TERMS: Sequence[tuple[str, Iterable[str], str]] = (
    (
        "meaning",
        Meaning,
        "of a status word; `missing`: not known (yet); ten such answers over a minute lose the job",
    ),
    (
        "consequence",
        Consequence,
        "of a code; `account` pauses the account, `unclear` may hide a job, `accepted`: it is there already",
    ),
    ("kind of file", Kind, ""),
    ("scheme", ProofScheme, "of a proof"),
    ("fact", Fact, "with a confidence of its own, beside that of `all`"),
    ("confidence", get_args(Confidence), ""),
)
"""The words with a meaning, by kind."""
PLAIN = {str: "text", int: "number", float: "number", bool: "true or false", date: "date"}
"""The forms of plain values."""


def reference() -> str:
    """Return the tables of the vocabulary as Markdown."""
    parts = [_terms()]
    for place, model in TABLES:
        said = " ".join((model.__doc__ or "").split("\n\n")[0].split())
        parts.append(f"### {place}\n\n{said}\n\n{table(('key', 'form', 'default', 'meaning'), _rows(model))}")
    return "\n".join(parts)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a description, with which editors complete and check one."""
    made = Description.model_json_schema(schema_generator=_Schema)
    # A file that extends another has only what differs.
    either = [{"required": made.pop("required")}, {"required": ["name", "extends"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "anyOf": either}


class _Schema(GenerateJsonSchema):
    """The schema of files: a list of one text may be the text alone, as `listed` reads it."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> dict[str, Any]:
        """Return the schema of a value that is changed before it is checked."""
        made = super().function_before_schema(schema)
        if schema["function"]["function"] is not texts.listed:
            return made
        return {"anyOf": [made, made["items"]]}


def _terms() -> str:
    rows = [(name, ", ".join(f"`{one}`" for one in words), said) for name, words, said in TERMS]
    return table(("word", "values", "meaning"), rows)


def _rows(model: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    hints = get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        yield f"`{name}`", form(hints[name]), _default(field.default), field.description or ""


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "needed"
    if value is None or value in ((), {}, "") or isinstance(value, BaseModel):
        return ""
    if isinstance(value, timedelta):
        return f"`{value.total_seconds():.0f}s`"
    if isinstance(value, bool):
        return str(value).lower()
    return f"`{value:g}`" if isinstance(value, int | float) else f"`{value}`"


def form(annotation: Any) -> str:
    """Return the form of a value in a few words."""
    named = next((name for known, name in FORMS if known == annotation), None)
    if named is not None:
        return named
    make = COMPOSED.get(get_origin(annotation))
    if make is not None:
        return make(get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a table, below"
    return PLAIN.get(annotation, "any value")


def _either(parts: Sequence[Any]) -> str:
    return " or ".join(dict.fromkeys(form(one) for one in parts if one is not type(None)))


COMPOSED: Mapping[Any, Callable[[Sequence[Any]], str]] = {
    Annotated: lambda parts: form(parts[0]),
    Literal: lambda parts: " or ".join(f"`{one}`" for one in parts),
    Union: _either,
    types.UnionType: _either,
    tuple: lambda parts: f"list of {form(parts[0])}",
    list: lambda parts: f"list of {form(parts[0])}",
    dict: lambda parts: f"table: {form(parts[0])} = {form(parts[1])}",
}
"""The forms of values that are made of others, by their origin."""
