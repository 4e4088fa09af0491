"""Reading the settings: a TOML file, the environment over it, errors that name the setting and the fix."""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ValidationError,
)

import handlers
from handlers.contract import Handler
from handlers.values import immutable
from receiver.errors import Misconfigured
from receiver.settings import AccountSettings, EndpointSettings, Settings

PREFIX = "RINGBACK_"
NOT_SETTINGS = frozenset({"RINGBACK_CONFIG", "RINGBACK_URL"})
JSON_FORMS = {"tuple_type": "a list", "list_type": "a list", "dict_type": "a table", "model_type": "a table"}
ACCOUNT_NAME = r"^[a-z0-9][a-z0-9_-]{0,39}$"


@immutable
class AccountSetup:
    """An account as the service uses it."""

    name: str
    handler: Handler
    settings: AccountSettings = field(repr=False)
    base_url: str
    on: bool


@immutable
class Loaded:
    """Settings, the accounts they make, and where each setting came from."""

    settings: Settings
    accounts: Mapping[str, AccountSetup]
    origins: Mapping[str, str]


def load(config: Path | None = None, environment: Mapping[str, str] | None = None) -> Loaded:
    """The effective settings, or `Misconfigured` in one line."""
    environment = os.environ if environment is None else environment
    named = config or (Path(environment["RINGBACK_CONFIG"]) if environment.get("RINGBACK_CONFIG") else None)
    values, origins = _from_file(named)
    for path, text, variable in _from_environment(environment, values):
        _put(values, path, text, variable)
        origins[".".join(path)] = f"environment {variable}"
    _separate_options(values)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise _misconfigured(error) from None
    accounts = {name: _account(name, account) for name, account in settings.providers.items()}
    ids = [endpoint.id for endpoint in settings.endpoints]
    if len(set(ids)) != len(ids):
        raise Misconfigured("endpoints", "two endpoints have the same id")
    return Loaded(settings, accounts, origins)


def _from_file(path: Path | None) -> tuple[dict[str, Any], dict[str, str]]:
    chosen = path or Path("ringback.toml")
    if path is None and not chosen.exists():
        return {}, {}
    try:
        values = tomllib.loads(chosen.read_text("utf-8"))
    except FileNotFoundError:
        raise Misconfigured("--config", f"there is no file {chosen}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Misconfigured("--config", f"cannot read {chosen}: {reason}") from None
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured("--config", f"{chosen} is not valid TOML: {error}") from None
    except RecursionError:
        raise Misconfigured("--config", f"{chosen} is nested too deeply") from None
    return values, dict.fromkeys(_leaves(values, ()), f"file {chosen}")


def _leaves(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, name))
        else:
            yield ".".join((*path, name))


def _from_environment(
    environment: Mapping[str, str], values: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable in NOT_SETTINGS:
            continue
        text, name = environment[variable], variable
        if variable.endswith("_FILE") and not _is_setting(variable):
            name = variable.removesuffix("_FILE")
            try:
                text = Path(text).read_text("utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError):
                raise Misconfigured(variable, "names a file that cannot be read") from None
        path = _path(name.removeprefix(PREFIX).lower().split("__"), values)
        yield path, _value(text, variable), variable


def _is_setting(variable: str) -> bool:
    return variable.removeprefix(PREFIX).lower() in Settings.model_fields


def _path(parts: list[str], values: Mapping[str, Any]) -> tuple[str, ...]:
    if parts[0] == "providers" and len(parts) > 1:
        configured = values.get("providers")
        known = [*(configured if isinstance(configured, dict) else ()), *handlers.ALL]
        parts[1] = next((name for name in known if name.replace("-", "_") == parts[1]), parts[1])
    return tuple(parts)


def _value(text: str, variable: str) -> Any:
    if text[:1] not in {"[", "{"}:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Misconfigured(variable, "is not valid JSON") from None


def _put(values: dict[str, Any], path: tuple[str, ...], value: Any, variable: str) -> None:
    for name in path[:-1]:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            raise Misconfigured(variable, f"{name} is no table")
        values = inner
    values[path[-1]] = value


def _separate_options(values: Mapping[str, Any]) -> None:
    """Move a handler's own keys of each account aside, where `AccountSettings` does not know them."""
    providers = values.get("providers")
    if not isinstance(providers, dict):
        return
    known = AccountSettings.model_fields.keys() - {"options"}
    for name, account in providers.items():
        if not isinstance(account, dict):
            raise Misconfigured(f"providers.{name}", "must be a table")
        if "options" in account:
            raise Misconfigured(f"providers.{name}.options", "is no setting; the keys stand beside it")
        provider = handlers.ALL.get(str(account.get("handler") or name))
        own = provider.options.model_fields.keys() if provider else ()
        account["options"] = {key: account.pop(key) for key in list(account) if key in own}
        for key in account.keys() - known - {"options"}:
            raise Misconfigured(f"providers.{name}.{key}", _nearest(key, [*known, *own]))


def _account(name: str, settings: AccountSettings) -> AccountSetup:
    place = f"providers.{name}"
    if not re.fullmatch(ACCOUNT_NAME, name):
        raise Misconfigured(place, "an account's name is 1 to 40 of a-z, 0-9, - and _")
    handler_name = settings.handler or name
    provider = handlers.ALL.get(handler_name)
    if provider is None:
        raise Misconfigured(
            f"{place}.handler", f"no handler {handler_name!r}; known: {', '.join(handlers.ALL)}"
        )
    try:
        handler = provider.configure(provider.options.model_validate(settings.options))
    except ValidationError as error:
        raise _misconfigured(error, f"{place}.") from None
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    if not key.isascii() or any(character.isspace() for character in key):
        raise Misconfigured(f"{place}.api_key", "must be plain ASCII without blanks")
    base_url = settings.base_url or handler.base_url
    if key and not base_url:
        raise Misconfigured(
            f"{place}.base_url", "is needed: this provider does not publish its API's address"
        )
    return AccountSetup(name, handler, settings, base_url, on=bool(key))


def _misconfigured(error: ValidationError, prefix: str = "") -> Misconfigured:
    first = error.errors(include_url=False, include_input=False)[0]
    place = [str(part) for part in first["loc"] if not str(part).startswith(("function-", "constrained-"))]
    setting = prefix + ".".join(place)
    if first["type"] == "extra_forbidden":
        return Misconfigured(setting, _nearest(place[-1], _siblings(place)))
    if first["type"] in JSON_FORMS:
        return Misconfigured(setting, f"must be {JSON_FORMS[first['type']]}; in the environment as JSON")
    message = first["msg"].removeprefix("Value error, ")
    return Misconfigured(setting, message[:1].lower() + message[1:])


def _siblings(place: list[str]) -> list[str]:
    model: type[BaseModel] = EndpointSettings if place[0] == "endpoints" else Settings
    return list(model.model_fields if len(place) > 1 or model is Settings else ())


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"is no setting; the nearest one is `{close[0]}`" if close else "is no setting"
