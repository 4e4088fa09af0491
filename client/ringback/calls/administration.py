"""Calls about API keys, providers, sources, statistics and signing keys."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ringback.calls.common import PAGE_SIZE, get, listing, nothing, reader, send
from ringback.core import Call, path, query, some
from ringback.reading import Unreadable, read
from ringback.statistics import Statistic
from ringback.values import ApiKey, NewApiKey, Page, Provider, SigningKey, Source


def key_pages(*, page_size: int = PAGE_SIZE) -> Call[Page[ApiKey]]:
    """List API keys, newest first."""
    return listing("/v1/keys", reader(ApiKey), query(limit=page_size))


def key_create(name: str, scopes: Sequence[str], *, expires_at: datetime | None = None) -> Call[NewApiKey]:
    """Create an API key. Returns it with the key itself, which is shown this once."""
    given = some({"name": name, "scopes": list(scopes), "expires_at": expires_at})
    return send("POST", "/v1/keys", reader(NewApiKey), given)


def key_delete(key_id: str) -> Call[None]:
    """Revoke an API key."""
    return send("DELETE", path("keys", key_id), nothing)


def provider_pages(*, page_size: int = PAGE_SIZE) -> Call[Page[Provider]]:
    """List the configured accounts with their operations and health."""
    return listing("/v1/providers", reader(Provider), query(limit=page_size))


def source_pages(*, page_size: int = PAGE_SIZE) -> Call[Page[Source]]:
    """List the sources of the settings, with the URL that receives their messages."""
    return listing("/v1/sources", reader(Source), query(limit=page_size))


def statistics(
    metric: str,
    *,
    by: Sequence[str] = (),
    endpoint: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    step: int | None = None,
) -> Call[Statistic]:
    """Read a statistic, split by labels: the last hour, or from `since` in steps of `step` seconds.

    With `endpoint`, that of one endpoint.
    """
    labels = ",".join(by) or None
    wanted = query(metric=metric, by=labels, endpoint=endpoint, since=since, until=until, step=step)
    return get("/v1/stats", reader(Statistic), wanted)


def signing_keys() -> Call[tuple[SigningKey, ...]]:
    """Read the public keys that verify `v1a` signatures, newest first."""
    return get("/.well-known/ringback-keys.json", _key_set)


def _key_set(given: Any) -> tuple[SigningKey, ...]:
    if not isinstance(given, Mapping) or not isinstance(given.get("keys"), list):
        raise Unreadable("must be an object with `keys`")
    return tuple(read(SigningKey, one) for one in given["keys"])
