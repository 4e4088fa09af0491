"""The base of every table of the settings."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

NO_VALUE = object()
"""A value that no type accepts, so that its field fails validation."""


class Section(BaseModel):
    """A table of the settings: without unknown keys, unchangeable, with errors that repeat no input."""

    # An error must not repeat its input, which may be a secret.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _no_numbers_by_chance(cls, values: Any) -> Any:
        """Make a boolean fail where none is expected: pydantic would accept `true` as the number 1."""
        if not isinstance(values, dict):
            return values
        fields = cls.model_fields
        return {
            name: value if name not in fields or fields[name].annotation is bool else _without_truth(value)
            for name, value in values.items()
        }


def _without_truth(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_truth(inner) for inner in value]
    return NO_VALUE if isinstance(value, bool) else value
