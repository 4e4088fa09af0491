"""The settings of an account that a description declares, and their effect on its tables."""

import base64
import binascii
import copy
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, create_model

from handlers import wire
from handlers.contract import Options
from handlers.description.texts import Header
from handlers.description.vocabulary import Description, Setting
from handlers.pointers import steps

WHSEC = "whsec_"
WHSEC_BYTES = 24
"""The fewest bytes of a signing secret, by the specification of Standard Webhooks."""


class BadPlace(ValueError):
    """An error for a setting without a place in the description for its value."""


def options_of(told: Description) -> type[Options]:
    """Return the class of the settings that an account of this provider takes."""
    if not told.settings:
        return Options
    fields: dict[str, Any] = {name: _field(one, told) for name, one in told.settings.items()}
    made: type[Options] = create_model(f"{told.name}-options", __base__=Options, **fields)
    return made


def applied(tables: Mapping[str, Any], told: Description, options: Options) -> Mapping[str, Any]:
    """Return the tables of a description with the values of an account's settings in their places.

    Raises `BadPlace`.
    """
    changed = copy.deepcopy(dict(tables))
    for name, setting in told.settings.items():
        value = getattr(options, name)
        if setting.kind == "secret" or value is None:
            continue
        if setting.keeps is not None:
            value = value.replace(f"{{{setting.keeps}}}", "{id}")
        for place in setting.sets:
            try:
                _set(changed, steps(place), list(value) if isinstance(value, tuple) else value)
            except (AttributeError, IndexError, TypeError, ValueError):
                raise BadPlace(f"settings.{name}.sets: the description has no place {place!r}") from None
    return tables if changed == tables else changed


def secrets_of(told: Description, options: Options) -> tuple[str, ...]:
    """Return the secrets of an account that prove callbacks."""
    values = [getattr(options, name) for name, one in told.settings.items() if one.kind == "secret"]
    return tuple(value.get_secret_value() for value in values if value)


def _field(setting: Setting, told: Description) -> tuple[Any, Any]:
    return _type(setting, told), Field(default=setting.default, description=setting.say)


def _type(setting: Setting, told: Description) -> Any:
    match setting.kind:
        case "path":
            return Annotated[wire.PathSetting, AfterValidator(_keeping(setting.keeps))]
        case "choice":
            return Literal[setting.choices]
        case "header":
            return Header
        case "headers":
            return tuple[Annotated[Header, BeforeValidator(_lower)], ...]
        case "secret":
            proof = told.callback.proof if told.callback else None
            check = _whsec if proof and proof.key == "whsec" else _same
            return Annotated[SecretStr, AfterValidator(check)] | None
        case _:
            return str | None


def _keeping(name: str | None) -> Any:
    def check(path: str) -> str:
        if name is not None and f"{{{name}}}" not in path:
            raise ValueError(f"the path needs {{{name}}}")
        return path

    return check


def _lower(name: object) -> object:
    return name.lower() if isinstance(name, str) else name


def _same(secret: SecretStr) -> SecretStr:
    return secret


def _whsec(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix(WHSEC), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(WHSEC) or len(key) < WHSEC_BYTES:
        raise ValueError(f"must be the account's `whsec_...` secret, of at least {WHSEC_BYTES} bytes")
    return secret


def _set(value: Any, path: list[str], new: Any) -> None:
    """Set the value at a path, making the tables on the way."""
    *outer, last = path
    for step in outer:
        value = value[int(step)] if isinstance(value, list) else value.setdefault(step, {})
    if isinstance(value, list):
        value[int(last)] = new
    else:
        value[last] = new
