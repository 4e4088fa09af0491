"""The endpoints in memory: the rows of one generation, with their secrets decrypted."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any

from handlers.values import immutable
from receiver.domain.model import Endpoint, EndpointState
from receiver.security.signing import key_of
from receiver.store.sealing import UNREADABLE, EndpointSealer

LOGGER = logging.getLogger("ringback.endpoints")


@immutable
class _Held:
    """A cached endpoint: its row, its decrypted fields, and the keys that sign for it."""

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
    """A cache of the endpoints of one generation.

    An endpoint with a secret that cannot be decrypted has neither secrets nor headers: nothing is sent to it.
    """

    def __init__(self, sealer: EndpointSealer) -> None:
        self._sealer = sealer
        self._subscribers: list[Callable[[Endpoint], None]] = []
        self._known = _Known(None, {}, ())
        self._lock = threading.Lock()

    def subscribe(self, changed: Callable[[Endpoint], None]) -> None:
        """Call `changed` with each new or changed endpoint, possibly on the writer's thread."""
        self._subscribers.append(changed)

    def are_of(self, generation: str) -> bool:
        """Return whether the cached endpoints are those of `generation`."""
        return generation == self._known.generation

    def as_of(self, generation: str) -> Sequence[Endpoint] | None:
        """Return all endpoints, None when the cache holds another generation."""
        # Read once: the writer's thread may replace it between two reads.
        known = self._known
        return known.listed if known.generation == generation else None

    def adopt(self, generation: str, rows: Iterable[Any]) -> Sequence[Endpoint]:
        """Replace the cache by these rows of `generation`. Returns the endpoints.

        Only rows that are new or changed are decrypted.
        """
        with self._lock:
            before = self._known.held
            held = {row["id"]: self._take(before.get(row["id"]), row) for row in rows}
            listed = tuple(one.endpoint for one in held.values())
            self._known = _Known(generation, held, listed)
        # Outside the lock: a subscriber takes locks of its own.
        for name, one in held.items():
            if before.get(name) is not one:
                self._tell(one.endpoint)
        return listed

    def all(self) -> Sequence[Endpoint]:
        """Return all endpoints."""
        return self._known.listed

    def get(self, endpoint_id: str) -> Endpoint | None:
        """Return an endpoint, None when the cache does not have it."""
        found = self._known.held.get(endpoint_id)
        return None if found is None else found.endpoint

    def keys(self, endpoint_id: str, now: datetime) -> Sequence[bytes]:
        """Return the keys that sign for an endpoint, newest first, without those that are retired by now."""
        found = self._known.held.get(endpoint_id)
        if found is None or not found.endpoint.retire_at:
            return () if found is None else found.keys
        retired = [moment <= now for moment in found.endpoint.retire_at]
        return [key for key, is_over in zip(found.keys, [False, *retired], strict=False) if not is_over]

    def served(self, endpoint_id: str) -> bool:
        """Return whether deliveries go to an endpoint: it is cached, active, and has keys to sign with."""
        found = self._known.held.get(endpoint_id)
        return found is not None and found.endpoint.state is EndpointState.ACTIVE and bool(found.keys)

    def _take(self, before: _Held | None, row: Any) -> _Held:
        values = tuple(row)
        if before is not None and before.row == values:
            return before
        endpoint = self._sealer.open(row)
        return _Held(values, endpoint, [key_of(secret) for secret in endpoint.secrets])

    def _tell(self, endpoint: Endpoint) -> None:
        if not endpoint.secrets:
            LOGGER.error(
                "endpoint %s is not served: %s", endpoint.id, UNREADABLE, extra={"endpoint": endpoint.id}
            )
        for changed in self._subscribers:
            changed(endpoint)
