"""The loader of settings: a TOML file, overridden by the environment. Errors name the setting and the fix."""

import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

import handlers
from handlers.contract import Handler
from handlers.description.loading import BadDescription
from handlers.values import immutable
from receiver.config.provider_handlers import options_of, provider_of
from receiver.config.settings import AccountSettings, EndpointSettings, Settings
from receiver.config.source_handlers import Read, reader_of
from receiver.config.sources import ChallengeSettings, ProofSettings, SourceSettings
from receiver.domain.errors import Misconfigured, missing, nearest, no_file, several

PREFIX = "RINGBACK_"
NOT_SETTINGS = frozenset(
    {"RINGBACK_CONFIG", "RINGBACK_URL", "RINGBACK_API_KEY", "RINGBACK_API_KEY_FILE", "RINGBACK_INBOX"},
)
"""Variables that are no settings: the path of the file, and those for commands that call a service."""
LINK = re.compile(
    r"RINGBACK_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)",
    re.ASCII,
)
LINK_VALUE = re.compile(r"(tcp|udp|sctp)://\S*", re.ASCII)
"""Kubernetes sets such variables for a Service: `RINGBACK_PORT=tcp://...` for one named `ringback`."""
RENAMED = {"api_key": "admin_key"}
"""Old names of settings, with the new ones."""
BYTE_ORDER_MARK = "\ufeff"
SHAPES = {"a list": """'["a", "b"]'""", "a table": """'{"a": "b"}'"""}
JSON_FORMS = {"tuple_type": "a list", "list_type": "a list", "dict_type": "a table", "model_type": "a table"}
NUMBERS = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "a text",
}
"""The expected kind of value by type of pydantic's error."""
ACCOUNT_NAME = r"^[a-z0-9][a-z0-9_-]{0,39}$"
"""The form of an account's name, which is a part of its callback URLs."""


@immutable(kw_only=True)
class AccountSetup:
    """A configured account, with its handler. `on` means that it has an API key."""

    name: str
    handler: Handler
    settings: AccountSettings = field(repr=False)
    base_url: str
    on: bool


@immutable
class Loaded:
    """The loaded settings, their accounts, the origin of each setting, and the file if there is one.

    `sources` are the sources, each with the reader of its handler.
    """

    settings: Settings
    accounts: Mapping[str, AccountSetup]
    origins: Mapping[str, str]
    file: Path | None = None
    sources: Sequence[tuple[SourceSettings, Read | None]] = ()

    def secrets(self) -> tuple[str, ...]:
        """Return all configured secrets, to be hidden in logs: keys, secrets and the database password."""
        options = [
            value
            for account in self.settings.providers.values()
            for key, value in account.options.items()
            if is_secret(key)
        ]
        proxy = self.settings.egress_proxy
        urls = (self.settings.database_url, proxy.get_secret_value() if proxy else "")
        found = (*_secrets(self.settings.model_dump()), *_texts(options), *map(_password, urls))
        return tuple(one for one in found if one)


def load(config: Path | None = None, environment: Mapping[str, str] | None = None) -> Loaded:
    """Return the effective settings. Raises `Misconfigured` with every mistake and its origin."""
    environment = os.environ if environment is None else environment
    values, origins = _from_file(config, environment)
    problems: list[Misconfigured] = []
    # Sorted, so that RINGBACK_PROVIDERS is read before the RINGBACK_PROVIDERS__... that change parts of it.
    for variable in sorted(environment):
        if not _is_for_us(variable, environment[variable]):
            continue
        try:
            _refuse_both(variable, environment)
            path, value = _from_variable(variable, environment[variable], values)
            _put(values, path, value, variable)
        except Misconfigured as error:
            problems.append(error)
        else:
            origins[".".join(path)] = f"environment {variable}"
    problems += _separate_options(values)
    settings, found = _validated(values)
    problems += found
    accounts: dict[str, AccountSetup] = {}
    if settings is not None:
        problems += _set_up(settings, accounts)
    if settings is None or problems:
        each = [one for problem in problems for one in (problem, *problem.others)]
        raise several([_with_origin(one, origins) for one in each])
    chosen, named_by = config_file(config, environment)
    file = chosen if named_by or chosen.exists() else None
    return Loaded(settings, accounts, origins, file, [(one, reader_of(one)) for one in settings.sources])


def _validated(values: dict[str, Any]) -> tuple[Settings | None, list[Misconfigured]]:
    old = [
        Misconfigured(name, f"is called `{new}` now; rename it")
        for name, new in RENAMED.items()
        if name in values
    ]
    for name in RENAMED:
        values.pop(name, None)
    try:
        return Settings.model_validate(values), old
    except ValidationError as error:
        return None, [*old, *_misconfigured(error)]


def _set_up(settings: Settings, accounts: dict[str, AccountSetup]) -> Iterator[Misconfigured]:
    """Fill `accounts`. Yields the mistakes of each account, and one for endpoints with the same id."""
    for name, account in settings.providers.items():
        try:
            accounts[name] = _account(name, account)
        except Misconfigured as error:
            yield error
    for source in settings.sources:
        try:
            reader_of(source)
        except Misconfigured as error:
            yield error
    ids = [endpoint.id for endpoint in settings.endpoints]
    if len(set(ids)) != len(ids):
        yield Misconfigured("endpoints", "two endpoints have the same id")


def config_file(config: Path | None, environment: Mapping[str, str]) -> tuple[Path, str | None]:
    """Return the settings file, and the option or variable that named it; None for the default file."""
    if config is not None:
        return config, "--config"
    named = environment.get("RINGBACK_CONFIG")
    return (Path(named), "RINGBACK_CONFIG") if named else (Path("ringback.toml"), None)


def _from_file(config: Path | None, environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    chosen, named_by = config_file(config, environment)
    if named_by is None and not chosen.exists():
        return {}, {}
    source = named_by or "--config"
    try:
        values = tomllib.loads(chosen.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise Misconfigured(source, missing(chosen)) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = no_file(error) if isinstance(error, OSError) else "it is not UTF-8; save it as UTF-8"
        raise Misconfigured(source, f"cannot read {chosen}: {reason}") from None
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(source, f"{chosen} is not valid TOML (texts stand in quotes): {error}") from None
    except RecursionError:
        raise Misconfigured(source, f"{chosen} is nested too deeply") from None
    return values, dict.fromkeys(_leaves(values, ()), f"file {chosen}")


def _leaves(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, name))
        else:
            yield ".".join((*path, name))


def _is_for_us(variable: str, text: str) -> bool:
    """Return whether a variable is meant as a setting, even if it is misspelled."""
    if not variable.startswith(PREFIX) or variable in NOT_SETTINGS or LINK.fullmatch(variable):
        return False
    return not (variable.endswith("_PORT") and LINK_VALUE.fullmatch(text))


def _from_variable(variable: str, text: str, values: Mapping[str, Any]) -> tuple[tuple[str, ...], Any]:
    """Return the path and the value of a setting in the environment."""
    name = variable
    # The name of a setting may itself end in `_FILE`, as that of `egress_ca_file` does.
    if variable.endswith("_FILE") and not _is_setting(variable):
        name = variable.removesuffix("_FILE")
        text = _content(variable, text)
    path = _path(name.removeprefix(PREFIX).lower().split("__"), values)
    return path, _value(text.removeprefix(BYTE_ORDER_MARK).rstrip("\r\n"), variable)


def _refuse_both(variable: str, environment: Mapping[str, str]) -> None:
    """Raise `Misconfigured` for a value that is given both in a variable and in the file of its `_FILE`."""
    plain = variable.removesuffix("_FILE")
    if plain != variable and not _is_setting(variable) and environment.get(plain) and environment[variable]:
        raise Misconfigured(variable, f"is set beside {plain}; set one of the two")


def _content(variable: str, path: str) -> str:
    try:
        return Path(path).read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = no_file(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise Misconfigured(variable, f"names a file that cannot be read: {reason}") from None


def _is_setting(variable: str) -> bool:
    return variable.removeprefix(PREFIX).lower() in Settings.model_fields


def _path(parts: list[str], values: Mapping[str, Any]) -> tuple[str, ...]:
    if parts[0] == "providers" and len(parts) > 1:
        # The name of a variable cannot contain `-`, so `_` also matches it.
        configured = values.get("providers")
        known = [*(configured if isinstance(configured, dict) else ()), *handlers.ALL]
        parts[1] = next((name for name in known if name.replace("-", "_") == parts[1]), parts[1])
    return tuple(parts)


def _value(text: str, variable: str) -> Any:
    if text.strip()[:1] not in {"[", "{"}:
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


def _separate_options(values: dict[str, Any]) -> list[Misconfigured]:
    """Move the handler's options of each account into `options`, apart from the keys of `AccountSettings`.

    Returns the mistakes, and removes the keys and accounts that are wrong.
    """
    providers = values.get("providers")
    if not isinstance(providers, dict):
        return []
    wrong = []
    known = AccountSettings.model_fields.keys() - {"options"}
    for name, account in list(providers.items()):
        if not isinstance(account, dict):
            wrong.append(Misconfigured(f"providers.{name}", "must be a table"))
            del providers[name]
            continue
        own = options_of(name, account)
        for key in sorted(account.keys() - known - set(own)):
            del account[key]
            said = "unknown setting; a handler's options stand beside `api_key`"
            wrong.append(
                Misconfigured(
                    f"providers.{name}.{key}", said if key == "options" else _unknown(key, [*known, *own])
                )
            )
        account["options"] = {key: account.pop(key) for key in list(account) if key in own}
    return wrong


def _account(name: str, settings: AccountSettings) -> AccountSetup:
    place = f"providers.{name}"
    if not re.fullmatch(ACCOUNT_NAME, name):
        raise Misconfigured(place, "an account's name is 1 to 40 of a-z, 0-9, - and _")
    provider = provider_of(name, {"handler": settings.handler, "description": settings.description})
    try:
        handler = provider.configure(provider.options.model_validate(settings.options))
    except ValidationError as error:
        raise several(_misconfigured(error, f"{place}.")) from None
    except BadDescription as error:
        raise Misconfigured(place, str(error)) from None
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    if not key.isascii() or any(character.isspace() for character in key):
        raise Misconfigured(f"{place}.api_key", "must be plain ASCII without blanks")
    base_url = settings.base_url or handler.base_url
    if key and not base_url:
        raise Misconfigured(
            f"{place}.base_url", "is needed: this provider does not publish its API's address"
        )
    return AccountSetup(name=name, handler=handler, settings=settings, base_url=base_url, on=bool(key))


def _misconfigured(error: ValidationError, prefix: str = "") -> list[Misconfigured]:
    # Without pydantic's input: it may be a secret.
    return [_one(found, prefix) for found in error.errors(include_url=False, include_input=False)]


def _one(found: ErrorDetails, prefix: str) -> Misconfigured:
    place = [str(part) for part in found["loc"] if not str(part).startswith(("function-", "constrained-"))]
    setting = prefix + ".".join(place)
    if found["type"] == "extra_forbidden":
        return Misconfigured(setting, _unknown(place[-1], _siblings(place)))
    if found["type"] in JSON_FORMS:
        form = JSON_FORMS[found["type"]]
        return Misconfigured(
            setting, f"must be {form}; in the environment as JSON, for example {SHAPES[form]}"
        )
    if found["type"] in NUMBERS:
        return Misconfigured(setting, f"must be {NUMBERS[found['type']]}")
    message = found["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return Misconfigured(setting, message[:1].lower() + message[1:])


def _with_origin(problem: Misconfigured, origins: Mapping[str, str]) -> Misconfigured:
    """Return the mistake with the variable or file that it is in, if that is known."""
    setting = problem.setting
    near = [name for name in origins if _inside(setting, name) or _inside(name, setting)]
    if not near:  # a missing setting: take the origin of others in the same table
        table = setting.rpartition(".")[0]
        near = [name for name in origins if table and _inside(name, table)]
    if not near:
        return problem
    origin = origins[max(near, key=lambda name: (_inside(setting, name), len(name)))]
    kind, _, name = origin.partition(" ")
    where = f"from environment {name}" if kind == "environment" else f"in {name}"
    return Misconfigured(setting, f"{problem.problem} ({where})")


def _inside(name: str, outer: str) -> bool:
    return name == outer or name.startswith(f"{outer}.")


def _siblings(place: list[str]) -> list[str]:
    tables: Mapping[str, type[BaseModel]] = {
        "endpoints": EndpointSettings,
        "sources": SourceSettings,
        "proof": ProofSettings,
        "challenge": ChallengeSettings,
    }
    inside = [tables[part] for part in place[:-1] if part in tables]
    model = inside[-1] if inside else Settings
    return [field.alias or name for name, field in model.model_fields.items()]


def _unknown(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    if near:
        return f"unknown setting; the nearest one is `{near}`"
    if name.startswith(("providers_", "endpoints_")):
        return (
            "unknown setting; write two underscores between its parts: RINGBACK_PROVIDERS__APIFRAME__API_KEY"
        )
    return "unknown setting; without it `ringback config` lists all"


def is_secret(option: str) -> bool:
    """Return whether a handler's option holds a secret, judged by its name."""
    return "secret" in option or "key" in option


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _secrets(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets(inner)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _password(url: str) -> str:
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:
        return ""
