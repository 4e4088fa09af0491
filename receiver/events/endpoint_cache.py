"""Endpoints as the service holds them: read with their secrets opened, as of a generation."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

from handlers import json
from handlers.values import immutable
from receiver.domain.errors import Conflict
from receiver.domain.model import Endpoint, EndpointState
from receiver.security.signing import key_of
from receiver.security.tokens import BadToken, MasterKeys
from receiver.store.rows import endpoint_row, read_endpoint

LOGGER = logging.getLogger("ringback.endpoints")
UNREADABLE = "its secret is encrypted under a master key that is not configured"


@immutable
class _Held:
    """One endpoint: its row, its fields as read, and the bytes that sign for it."""

    row: tuple[Any, ...] = field(repr=False)
    endpoint: Endpoint
    keys: Sequence[bytes] = field(repr=False)


@immutable
class _Known:
    """The endpoints of one generation."""

    generation: str | None
    held: Mapping[str, _Held]
    listed: Sequence[Endpoint]


class EndpointCache:
    """The endpoints of one generation. `changed` is told of each that is new or that a newer generation has
    otherwise, perhaps on the writer's thread.

    An endpoint whose secret cannot be read has neither secrets nor headers: nothing is sent to it.
    """

    def __init__(self, masters: MasterKeys, changed: Callable[[Endpoint], None] = lambda _: None) -> None:
        self._masters = masters
        self._changed = changed
        self._known = _Known(None, {}, ())
        self._lock = threading.Lock()

    def are_of(self, generation: str) -> bool:
        """Whether ours are those of this generation."""
        return generation == self._known.generation

    def as_of(self, generation: str) -> Sequence[Endpoint] | None:
        """All of them, or None when ours are of another generation."""
        known = self._known
        return known.listed if known.generation == generation else None

    def adopt(self, generation: str, rows: Iterable[Any]) -> Sequence[Endpoint]:
        """Take these rows as the endpoints of `generation`; only those that are new or changed are opened."""
        with self._lock:
            before = self._known.held
            held = {row["id"]: self._take(before.get(row["id"]), row) for row in rows}
            listed = tuple(one.endpoint for one in held.values())
            self._known = _Known(generation, held, listed)
        for name, one in held.items():
            if before.get(name) is not one:
                self._tell(one.endpoint)
        return listed

    def all(self) -> Sequence[Endpoint]:
        """All of them."""
        return self._known.listed

    def get(self, endpoint_id: str) -> Endpoint | None:
        """One of them."""
        found = self._known.held.get(endpoint_id)
        return None if found is None else found.endpoint

    def keys(self, endpoint_id: str) -> Sequence[bytes]:
        """The bytes that sign for one of them, newest first."""
        found = self._known.held.get(endpoint_id)
        return () if found is None else found.keys

    def served(self, endpoint_id: str) -> bool:
        """Whether deliveries go to an endpoint: it is known here, active, and they can be signed."""
        found = self._known.held.get(endpoint_id)
        return found is not None and found.endpoint.state is EndpointState.ACTIVE and bool(found.keys)

    def open(self, row: Any) -> Endpoint:
        """A stored endpoint with its secrets; without any where they cannot be read."""
        try:
            headers, secrets = self.unsealed(row)
        except BadToken:
            headers, secrets = {}, ()
        return read_endpoint(row, headers, secrets)

    def resealed(self, endpoint: Endpoint, row: Any) -> tuple[Any, ...]:
        """Return a changed endpoint as its row. A sealed value stays as it is stored where it did not change;
        `Conflict` where it would have to be read for the change and cannot be."""
        stored = self.open(row)
        if (endpoint.headers, endpoint.secrets) == (stored.headers, stored.secrets):
            return endpoint_row(endpoint, row["headers"], row["secrets"])
        if not stored.secrets:
            raise Conflict(f"the endpoint's headers cannot be changed now: {UNREADABLE}")
        return self.sealed(endpoint)

    def _take(self, before: _Held | None, row: Any) -> _Held:
        values = tuple(row)
        if before is not None and before.row == values:
            return before
        endpoint = self.open(row)
        return _Held(values, endpoint, [key_of(secret) for secret in endpoint.secrets])

    def _tell(self, endpoint: Endpoint) -> None:
        if not endpoint.secrets:
            LOGGER.error(
                "endpoint %s is not served: %s", endpoint.id, UNREADABLE, extra={"endpoint": endpoint.id}
            )
        self._changed(endpoint)

    def unsealed(self, row: Any) -> tuple[dict[str, str], tuple[str, ...]]:
        """A row's headers and secrets; `BadToken` when their master key is not configured."""
        secrets = json.read(self._masters.unseal(row["secrets"], row["id"]).encode())
        sealed = row["headers"]
        headers = json.read_object(self._masters.unseal(sealed, row["id"]).encode()) if sealed else {}
        return headers, tuple(secrets)

    def sealed(self, endpoint: Endpoint) -> tuple[Any, ...]:
        """An endpoint as its row, secrets and headers encrypted."""
        return endpoint_row(endpoint, *self.seal(endpoint.id, endpoint.headers, endpoint.secrets))

    def seal(
        self, endpoint_id: str, headers: Mapping[str, str], secrets: Sequence[str]
    ) -> tuple[bytes | None, bytes]:
        """Headers and secrets encrypted for one endpoint."""
        sealed_headers = None
        if headers:
            sealed_headers = self._masters.seal(json.write(dict(headers)).decode(), endpoint_id)
        return sealed_headers, self._masters.seal(json.write(list(secrets)).decode(), endpoint_id)
