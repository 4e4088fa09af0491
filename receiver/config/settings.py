"""All settings, with their types, defaults and constraints."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from receiver.config.section import Section
from receiver.config.sources import MOST_SOURCES, SourceSettings
from receiver.config.values import (
    BaseUrl,
    EndpointSecret,
    FilePath,
    HostName,
    Network,
    ProxyUrl,
    Seconds,
    TargetUrl,
)
from receiver.domain.errors import pointer_to
from receiver.domain.event_types import JOB_FINAL, complaint, unknown, unknown_source
from receiver.domain.filter_reader import BadFilter, checked_filter
from receiver.domain.formats import TEMPLATE
from receiver.domain.model import (
    CALLBACK_TARGET,
    LONGEST_TIMEOUT,
    MAX_IN_FLIGHT,
    STANDARD,
    SYMMETRIC,
    Format,
)
from receiver.domain.templates import BadTemplate, check
from receiver.egress.address_guard import Origin
from receiver.security.custom_headers import header_problems
from receiver.security.tokens import API_KEY_PREFIX, SHORTEST_MASTER

RETRY_SCHEDULE = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
"""Seconds between the attempts of a delivery: from 5 s to a day, about three days in all."""
API_KEY = re.compile(re.escape(API_KEY_PREFIX) + r"[!-~]{32,500}", re.ASCII)
"""The form of an admin key."""


EVERYWHERE = {"0.0.0.0": "127.0.0.1", "0": "127.0.0.1", "::": "::1", "::0": "::1"}  # noqa: S104  # it is looked up
"""The addresses of a service that listens on all addresses, for calls from its own machine; none is bound."""


class AccountSettings(Section):
    """The settings of an account at a provider."""

    handler: str | None = Field(default=None, description="which provider; default: the account's name")
    description: FilePath | None = Field(
        default=None, description="a description of the provider, a TOML file, in place of a handler"
    )
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
    submit_timeout: Annotated[float, Field(gt=0, le=3600)] | None = Field(
        default=None, description="seconds that a submission may take; default: the operation's own"
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


class EndpointSettings(Section):
    """The settings of an endpoint that is kept in the file."""

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="its id, stable over restarts")
    url: TargetUrl = Field(description="where events go")
    events: tuple[str, ...] = Field(default=JOB_FINAL, min_length=1, description="event types or patterns")
    description: str = Field(default="", max_length=500, description="a note for people")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="headers sent along")
    secret: EndpointSecret | None = Field(default=None, description="`whsec_...`; made once when missing")
    max_in_flight: int = Field(default=MAX_IN_FLIGHT, ge=1, le=1000, description="deliveries at once")
    include: tuple[Literal["result"], ...] = Field(default=(), description="what events carry on top")
    filter: dict[str, Any] | None = Field(default=None, description="conditions on the event's data")
    signatures: tuple[Literal["v1", "v1a"], ...] = Field(
        default=(SYMMETRIC,), min_length=1, description="`v1` (HMAC), `v1a` (Ed25519) or both"
    )
    retry_schedule: tuple[Seconds, ...] | None = Field(
        default=None, max_length=20, description="seconds between attempts; default: the setting"
    )
    timeout: float | None = Field(
        default=None, ge=1, le=LONGEST_TIMEOUT, description="seconds for one attempt; default: the setting"
    )
    rate_limit: float | None = Field(default=None, ge=0.001, le=10000, description="deliveries per second")
    format: Format = Field(default=STANDARD, description="how its deliveries are written")
    template: str | None = Field(default=None, description="JSON with placeholders such as `{/data/id}`")

    @field_validator("signatures")
    @classmethod
    def _once(cls, signatures: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(signatures)) != len(signatures):
            raise ValueError("must name each scheme once")
        return signatures

    @model_validator(mode="after")
    def _written(self) -> "EndpointSettings":
        if (self.format == TEMPLATE) != (self.template is not None):
            raise ValueError("template goes with the format `template`, and only with it")
        if self.template is not None:
            try:
                check(self.template, self.events)
            except BadTemplate as error:
                raise ValueError(f"template {error}") from None
        return self

    @model_validator(mode="after")
    def _filtered(self) -> "EndpointSettings":
        if self.filter is not None:
            try:
                checked_filter(self.filter, self.events)
            except BadFilter as error:
                problem = error.problems[0]
                raise ValueError(f"filter{pointer_to(*problem.keys)} {problem.detail}") from None
        return self

    @field_validator("id")
    @classmethod
    def _not_ours(cls, name: str) -> str:
        # Deliveries to a job's own `callback_url` have this word in place of an endpoint's id.
        if name == CALLBACK_TARGET:
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
        for place in unknown(events):
            raise ValueError(f"each {complaint(events[place])}")
        return events


class Settings(Section):
    """All settings of the service; `deploy/README.md` and `ringback config` list them."""

    database_url: str = Field(
        repr=False,
        default="sqlite:///ringback.db",
        description="`sqlite:///path` or `postgresql://user@host/database`",
    )
    data_dir: FilePath | None = Field(
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
    admin_key: SecretStr | None = Field(
        default=None, description="a bootstrap admin key: `rb_` and at least 32 characters"
    )
    egress_allow: tuple[Network, ...] = Field(
        default=(), description="networks that outgoing requests may reach although they are not public"
    )
    egress_allow_hosts: tuple[HostName, ...] = Field(
        default=(), description="names that may lead to private addresses (metadata addresses never)"
    )
    egress_http: bool = Field(default=False, description="plain http to public addresses")
    egress_proxy: ProxyUrl | None = Field(
        default=None, description="a forward proxy, `http://host:port`: outgoing requests go through CONNECT"
    )
    egress_ca_file: FilePath | None = Field(
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
    endpoint_disable_after: Annotated[float, Field(ge=0, le=31536000)] = Field(
        default=432000, description="seconds of nothing but failure before an endpoint is disabled; 0: never"
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
    dashboard: bool = Field(default=True, description="the dashboard at `/`")
    otel_endpoint: TargetUrl | None = Field(
        default=None, description="where traces go over OTLP/HTTP, with the extra `ringback[otel]`"
    )
    otel_sample: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.01, description="the share of new traces that are recorded"
    )
    metrics_public: bool = Field(default=False, description="`/metrics` without an API key")
    migrate_on_start: bool = Field(default=True, description="bring the database up to date at start")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="how much is logged"
    )
    log_format: Literal["text", "json"] | None = Field(
        default=None, description="default: `text` on a terminal, else `json`"
    )
    providers: dict[str, AccountSettings] = Field(default_factory=dict, description="accounts by name")
    endpoints: tuple[EndpointSettings, ...] = Field(default=(), description="endpoints kept in the file")
    sources: tuple[SourceSettings, ...] = Field(
        default=(), max_length=MOST_SOURCES, description="senders of webhooks about jobs submitted elsewhere"
    )

    @field_validator("secret_keys")
    @classmethod
    def _long_enough(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        plain = [key.get_secret_value() for key in keys]
        if any(len(key.strip()) < SHORTEST_MASTER for key in plain):
            raise ValueError(f"each key must have at least {SHORTEST_MASTER} characters")
        if len(set(plain)) != len(plain):
            raise ValueError("a key is there twice")
        return keys

    @field_validator("admin_key")
    @classmethod
    def _ours(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            text = key.get_secret_value()
            if not API_KEY.fullmatch(text):
                raise ValueError("must be `rb_` and at least 32 characters without blanks")
        return key

    @field_validator("sources")
    @classmethod
    def _each_once(cls, sources: tuple[SourceSettings, ...]) -> tuple[SourceSettings, ...]:
        names = [source.name for source in sources]
        if len(set(names)) != len(names):
            raise ValueError("two sources have the same name")
        return sources

    @model_validator(mode="after")
    def _of_known_sources(self) -> "Settings":
        for endpoint in self.endpoints:
            for pattern in endpoint.events:
                if (complaint := unknown_source(pattern, self.source_names)) is not None:
                    raise ValueError(f"endpoints.{endpoint.id}.events: {pattern} {complaint}")
        return self

    @property
    def source_names(self) -> tuple[str, ...]:
        """Return the names of the sources."""
        return tuple(source.name for source in self.sources)

    @property
    def link_base(self) -> str:
        """Return the base of links that are made outside of a request; its host never means all addresses."""
        host = EVERYWHERE.get(self.host, self.host)
        return self.public_url or str(Origin("http", host, self.port))
