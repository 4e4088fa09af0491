"""Settings: one TOML file, the environment over it, and an error that names the setting and the fix."""

import difflib
import ipaddress
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

import handlers
from handlers.contract import Handler
from receiver.addresses import BadUrl, split
from receiver.errors import Misconfigured
from receiver.filters import JOB_FINAL, unknown
from receiver.headers import header_problems
from receiver.keys import API_KEY_PREFIX, SHORTEST_MASTER
from receiver.signing import BadSecret, key_of

PREFIX = "RINGBACK_"
NOT_SETTINGS = frozenset({"RINGBACK_CONFIG", "RINGBACK_URL"})
RETRY_SCHEDULE = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
API_KEY = re.compile(re.escape(API_KEY_PREFIX) + r"[!-~]{32,500}", re.ASCII)
ACCOUNT_NAME = r"^[a-z0-9][a-z0-9_-]{0,39}$"


def _network(text: str) -> str:
    ipaddress.ip_network(text)
    return text


def _base_url(text: str) -> str:
    try:
        split(text)
    except BadUrl as error:
        raise ValueError(str(error)) from None
    if "?" in text:
        raise ValueError("a base URL has no query")
    return text.rstrip("/")


def _target_url(text: str) -> str:
    try:
        split(text)
    except BadUrl as error:
        raise ValueError(str(error)) from None
    return text


def _secret(value: SecretStr) -> SecretStr:
    try:
        key_of(value.get_secret_value())
    except BadSecret as error:
        raise ValueError(str(error)) from None
    return value


Network = Annotated[str, AfterValidator(_network)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
TargetUrl = Annotated[str, AfterValidator(_target_url)]
EndpointSecret = Annotated[SecretStr, AfterValidator(_secret)]
Seconds = Annotated[float, Field(gt=0, le=604800)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="wrap")
    @classmethod
    def _no_numbers_by_chance(cls, values: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        """`true` is no number, although it counts as one."""
        if isinstance(values, dict):
            for name, value in values.items():
                known = cls.model_fields.get(name)
                if isinstance(value, bool) and known is not None and known.annotation is not bool:
                    raise Misconfigured(name, "must not be true or false")
        return check(values)


class AccountSettings(_Section):
    """An account at a provider."""

    handler: str | None = Field(default=None, description="which provider; default: the account's name")
    api_key: SecretStr | None = Field(
        default=None, description="the provider's key; none: the account is off"
    )
    previous_api_keys: tuple[SecretStr, ...] = Field(
        default=(), description="older keys with which callbacks of jobs on their way may still be signed"
    )
    base_url: BaseUrl | None = Field(
        default=None, description="the provider's API; default: the handler's own"
    )
    poll_interval: Seconds | None = Field(default=None, description="seconds between polls of one job")
    backstop_after: Seconds | None = Field(
        default=None, description="seconds after which a job that expects a callback is polled all the same"
    )
    max_in_flight: int = Field(default=16, ge=1, le=1000, description="calls to the provider at once")
    rate_limit: Annotated[float, Field(gt=0, le=10000)] | None = Field(
        default=None, description="calls to the provider per second"
    )
    max_jobs: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="jobs running at the provider at once; the rest stay pending"
    )
    confirm: Literal["unproved", "always"] = Field(
        default="unproved", description="which callbacks are confirmed by a poll before they end a job"
    )
    options: dict[str, Any] = Field(default_factory=dict, exclude=True, repr=False)


class EndpointSettings(_Section):
    """An endpoint kept in the file."""

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="its id, stable over restarts")
    url: TargetUrl = Field(description="where events go")
    events: tuple[str, ...] = Field(default=JOB_FINAL, min_length=1, description="event types or patterns")
    description: str = Field(default="", max_length=500, description="a note for people")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="headers sent along")
    secret: EndpointSecret | None = Field(default=None, description="`whsec_...`; made once when missing")
    max_in_flight: int = Field(default=64, ge=1, le=1000, description="deliveries at once")
    include: tuple[Literal["result"], ...] = Field(default=(), description="what events carry on top")

    @field_validator("id")
    @classmethod
    def _not_ours(cls, name: str) -> str:
        if name == "callback":
            raise ValueError("is a word of our own; choose another")
        return name

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, why in header_problems({one: text.get_secret_value() for one, text in headers.items()}):
            raise ValueError(f"{name} {why}")
        return headers

    @field_validator("events")
    @classmethod
    def _known(cls, events: tuple[str, ...]) -> tuple[str, ...]:
        if unknown(events):
            raise ValueError("each must be an event type, `*`, or a prefix such as `job.*`")
        return events


class Settings(_Section):
    """Everything that can be set; `deploy/README.md` and `ringback config` show it."""

    database_url: str = Field(default="sqlite:///ringback.db", description="`sqlite:///path`")
    data_dir: Path | None = Field(
        default=None, description="where made keys lie; default: beside the database"
    )
    public_url: BaseUrl | None = Field(
        default=None, description="how providers and readers reach us; none: every job is polled"
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="where we listen")
    port: int = Field(default=8080, ge=0, le=65535, description="where we listen; 0 takes a free port")
    trusted_proxies: tuple[Network, ...] = Field(
        default=(), description="networks whose `x-forwarded-for` counts as the peer's address in logs"
    )
    secret_keys: tuple[SecretStr, ...] = Field(
        default=(), description="master keys, newest first; made once in `data_dir` when missing"
    )
    api_key: SecretStr | None = Field(
        default=None, description="a bootstrap admin key: `rb_` and 32 characters"
    )
    egress_allow: tuple[Network, ...] = Field(
        default=(), description="networks that outgoing requests may reach although they are not public"
    )
    egress_http: bool = Field(default=False, description="plain http to public addresses")
    egress_ca_file: Path | None = Field(
        default=None, description="certificates to trust instead of the system's, for outgoing TLS"
    )
    job_deadline: int = Field(default=7200, ge=1, le=604800, description="default of `deadline_seconds`")
    on_unconfirmed: Literal["hold", "fail", "resubmit"] = Field(
        default="hold", description="what to do with a job whose submit answer was lost"
    )
    unconfirmed_after: Annotated[float, Field(ge=0, le=604800)] = Field(
        default=600, description="seconds that the callback of an unconfirmed job gets"
    )
    retry_schedule: tuple[Annotated[float, Field(ge=0, le=604800)], ...] = Field(
        default=RETRY_SCHEDULE, max_length=50, description="seconds between attempts of one delivery"
    )
    delivery_timeout: Annotated[float, Field(gt=0, le=120)] = Field(
        default=15, description="seconds, total, for one attempt"
    )
    asset_link_days: Annotated[float, Field(gt=0, le=3650)] = Field(
        default=30, description="how long an asset link works"
    )
    retention_days: Annotated[float, Field(gt=0, le=3650)] = Field(
        default=30, description="how long final jobs, events and attempts are kept"
    )
    shutdown_grace: Annotated[float, Field(ge=0, le=600)] = Field(
        default=20, description="seconds for work in hand after SIGTERM"
    )
    migrate_on_start: bool = Field(default=True, description="bring the database up to date at start")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="how much is logged"
    )
    log_format: Literal["text", "json"] | None = Field(
        default=None, description="default: `text` on a terminal, else `json`"
    )
    providers: dict[str, AccountSettings] = Field(default_factory=dict, description="accounts by name")
    endpoints: tuple[EndpointSettings, ...] = Field(default=(), description="endpoints kept in the file")

    @field_validator("secret_keys")
    @classmethod
    def _long_enough(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        plain = [key.get_secret_value() for key in keys]
        if any(len(key.strip()) < SHORTEST_MASTER for key in plain):
            raise ValueError(f"each key must have at least {SHORTEST_MASTER} characters")
        if len(set(plain)) != len(plain):
            raise ValueError("a key is there twice")
        return keys

    @field_validator("api_key")
    @classmethod
    def _ours(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            text = key.get_secret_value()
            if not API_KEY.fullmatch(text):
                raise ValueError("must be `rb_` and at least 32 characters without blanks")
        return key


@dataclass(frozen=True, slots=True)
class AccountSetup:
    """An account as the service uses it."""

    name: str
    handler: Handler
    settings: AccountSettings = field(repr=False)
    base_url: str
    on: bool


@dataclass(frozen=True, slots=True)
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
    message = first["msg"].removeprefix("Value error, ")
    return Misconfigured(setting, message[:1].lower() + message[1:])


def _siblings(place: list[str]) -> list[str]:
    model: type[BaseModel] = EndpointSettings if place[0] == "endpoints" else Settings
    return list(model.model_fields if len(place) > 1 or model is Settings else ())


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"is no setting; the nearest one is `{close[0]}`" if close else "is no setting"
