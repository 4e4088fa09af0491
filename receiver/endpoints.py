"""Endpoints as the service holds them: read with their secrets opened, as of a generation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from handlers import json
from receiver.keys import BadToken, Masters
from receiver.model import Endpoint
from receiver.signing import key_of
from receiver.store.rows import endpoint_row, read_endpoint


class Endpoints:
    """The endpoints of one generation. `changed` is told of each that a newer one has otherwise, perhaps on
    the writer's thread."""

    def __init__(self, masters: Masters, changed: Callable[[Endpoint], None] = lambda _: None) -> None:
        self._masters = masters
        self._changed = changed
        self._generation: str | None = None
        self._by_id: dict[str, Endpoint] = {}
        self._keys: dict[str, list[bytes]] = {}

    def are_of(self, generation: str) -> bool:
        """Whether ours are those of this generation."""
        return generation == self._generation

    def as_of(self, generation: str) -> Sequence[Endpoint] | None:
        """All of them, or None when ours are of another generation."""
        return self.all() if self.are_of(generation) else None

    def adopt(self, generation: str, rows: Iterable[Any]) -> Sequence[Endpoint]:
        """Take these rows as the endpoints of `generation`."""
        found = [self.open(row) for row in rows]
        before, self._by_id = self._by_id, {endpoint.id: endpoint for endpoint in found}
        self._keys = {one.id: [key_of(secret) for secret in one.secrets] for one in found}
        self._generation = generation
        for endpoint in found:
            if before.get(endpoint.id, endpoint) != endpoint:
                self._changed(endpoint)
        return found

    def all(self) -> Sequence[Endpoint]:
        """All of them."""
        return list(self._by_id.values())

    def get(self, endpoint_id: str) -> Endpoint | None:
        """One of them."""
        return self._by_id.get(endpoint_id)

    def keys(self, endpoint_id: str) -> Sequence[bytes]:
        """The bytes that sign for one of them, newest first."""
        return self._keys.get(endpoint_id, ())

    def open(self, row: Any) -> Endpoint:
        """A stored endpoint with its secrets."""
        try:
            headers, secrets = self.unsealed(row)
        except BadToken:
            headers, secrets = {}, ()
        return read_endpoint(row, headers, secrets)

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
